"""Checks of arguments, made before anything is computed."""

from dipy_nn_reg.checks.arrays import as_array, check_real
from dipy_nn_reg.checks.images import (
    check_contrast,
    check_images,
    check_pairs,
    check_training_pairs,
)
from dipy_nn_reg.checks.options import (
    check_fill,
    check_input_shape,
    check_integer,
    check_name,
    check_number,
    check_path,
    check_shape,
)

__all__ = [
    "as_array",
    "check_contrast",
    "check_fill",
    "check_images",
    "check_input_shape",
    "check_integer",
    "check_name",
    "check_number",
    "check_pairs",
    "check_path",
    "check_real",
    "check_shape",
    "check_training_pairs",
]
