"""Checks of arguments, made before anything is computed."""

from dipy_nn_reg.checks.arrays import as_array, check_real, check_where
from dipy_nn_reg.checks.descent import (
    ORIENTATION_WEIGHT,
    check_level_iters,
    check_smoothness,
    choose_pairwise_transform,
)
from dipy_nn_reg.checks.dial import (
    ANY,
    DIALLED,
    MIDDLE,
    check_dial,
    check_takes_dial,
    is_any,
    parse_smoothness,
)
from dipy_nn_reg.checks.images import (
    check_contrast,
    check_images,
    check_pairs,
    check_training_pairs,
)
from dipy_nn_reg.checks.options import (
    check_both,
    check_defaults,
    check_fill,
    check_flag,
    check_input_shape,
    check_integer,
    check_name,
    check_number,
    check_path,
    check_shape,
    fill_of_type,
)
from dipy_nn_reg.checks.pretrained import (
    PRETRAINED,
    SMOOTHNESS,
    Pretrained,
    as_pretrained,
)

__all__ = [
    "ANY",
    "DIALLED",
    "MIDDLE",
    "ORIENTATION_WEIGHT",
    "PRETRAINED",
    "Pretrained",
    "SMOOTHNESS",
    "as_array",
    "as_pretrained",
    "check_both",
    "check_contrast",
    "check_defaults",
    "check_dial",
    "check_fill",
    "check_flag",
    "check_images",
    "check_input_shape",
    "check_integer",
    "check_level_iters",
    "check_name",
    "check_number",
    "check_pairs",
    "check_path",
    "check_real",
    "check_shape",
    "check_smoothness",
    "check_takes_dial",
    "check_training_pairs",
    "check_where",
    "choose_pairwise_transform",
    "fill_of_type",
    "is_any",
    "parse_smoothness",
]
