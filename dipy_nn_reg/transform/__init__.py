"""Transforms of tensors: sampling, warping, composition and integration of fields.

The functions that this package exports are public. Everything is in voxels, with the
batch first and the channels last. All backends of Keras are supported.
"""

from dipy_nn_reg.backend import keras_import  # noqa: F401
from dipy_nn_reg.transform.functions import (
    compose,
    identity_grid,
    integrate,
    sample,
    warp,
)

__all__ = ["compose", "identity_grid", "integrate", "sample", "warp"]
