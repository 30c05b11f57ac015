"""Alignment of two images by an affine, searched in all directions.

It is used before deformation. It needs neither Keras nor DIPY.
"""

from dipy_nn_reg.mapping.prealign.estimate import (
    KINDS,
    Alignment,
    check_prealign,
    estimate_prealign,
)
from dipy_nn_reg.mapping.prealign.rating import rate_affine

__all__ = ["KINDS", "Alignment", "check_prealign", "estimate_prealign", "rate_affine"]
