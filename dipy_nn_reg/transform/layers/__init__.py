"""Keras layers over the functions of :mod:`dipy_nn_reg.transform`."""

from dipy_nn_reg.transform.layers.affine import AffineMatrix, ApplyAffine, ComposeAffine
from dipy_nn_reg.transform.layers.features import Correlate, CutLike, Moments
from dipy_nn_reg.transform.layers.fields import (
    INTEGRATION_STEPS,
    ComposeDisplacements,
    ControlPoints,
    EnlargeDisplacement,
    IntegrateVelocity,
    Warp,
)
from dipy_nn_reg.transform.layers.intensities import (
    Background,
    RescaleIntensity,
    intensity_range,
    rescale,
)

__all__ = [
    "INTEGRATION_STEPS",
    "AffineMatrix",
    "ApplyAffine",
    "Background",
    "ComposeAffine",
    "ComposeDisplacements",
    "ControlPoints",
    "Correlate",
    "CutLike",
    "EnlargeDisplacement",
    "IntegrateVelocity",
    "Moments",
    "RescaleIntensity",
    "Warp",
    "intensity_range",
    "rescale",
]
