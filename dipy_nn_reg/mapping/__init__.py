"""Physical space: grids, maps between them, resampling and alignment, in mm.

The functions that this package exports are public. None of them needs Keras, so they
work on maps of DIPY's SyN as well.
"""

from dipy_nn_reg.mapping.inversion import invert_displacement
from dipy_nn_reg.mapping.maps import (
    displacement_to_mapping,
    flatten_mapping,
    invert_mapping,
    mapping_to_displacement,
)

__all__ = [
    "displacement_to_mapping",
    "flatten_mapping",
    "invert_displacement",
    "invert_mapping",
    "mapping_to_displacement",
]
