"""Measures of images, fields, label maps and bundles of streamlines, for NumPy arrays.

The functions that this package exports are public. None of them needs Keras, so they
also measure the results of other programs.
"""

from dipy_nn_reg.metrics.bundles import (
    bundle_density,
    bundle_dice,
    bundle_distance,
    measure_bundles,
)
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
from dipy_nn_reg.metrics.pairs import measure_pair

__all__ = [
    "bundle_density",
    "bundle_dice",
    "bundle_distance",
    "dice",
    "dice_of_labels",
    "entropies",
    "folding",
    "hausdorff95_of_labels",
    "in_plane",
    "is_folded",
    "jacobian_determinant",
    "measure_bundles",
    "measure_pair",
    "ncc",
    "sd_log",
    "sd_log_jacobian",
    "summarise_labels",
    "target_registration_error",
    "to_unit_range",
]
