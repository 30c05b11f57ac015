"""Measures of images, fields and label maps, for NumPy arrays.

The functions that this package exports are public. None of them needs Keras: results
of other programs are measured with the same functions.
"""

from dipy_nn_reg.metrics.fields import (
    folding,
    in_plane,
    is_folded,
    jacobian_determinant,
    sd_log,
    sd_log_jacobian,
    target_registration_error,
)
from dipy_nn_reg.metrics.images import dice, entropies, ncc, to_unit_range
from dipy_nn_reg.metrics.labels import (
    dice_of_labels,
    hausdorff95_of_labels,
    summarise_labels,
)

__all__ = [
    "dice",
    "dice_of_labels",
    "entropies",
    "folding",
    "hausdorff95_of_labels",
    "in_plane",
    "is_folded",
    "jacobian_determinant",
    "ncc",
    "sd_log",
    "sd_log_jacobian",
    "summarise_labels",
    "target_registration_error",
    "to_unit_range",
]
