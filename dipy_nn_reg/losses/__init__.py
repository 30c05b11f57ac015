"""Losses: dissimilarity of images, penalties of fields, supervision by annotations.

The functions that this package exports are public. They take tensors and return one
value for each item of the batch.
"""

from dipy_nn_reg.backend import keras_import  # noqa: F401
from dipy_nn_reg.losses.images import lncc, mi, mse, ncc
from dipy_nn_reg.losses.penalties import (
    bending,
    folding,
    gradient,
    inverse_consistency,
    tv,
)
from dipy_nn_reg.losses.robust import robust_lncc
from dipy_nn_reg.losses.self_similarity import mind
from dipy_nn_reg.losses.supervision import label_overlap, landmark_error

__all__ = [
    "bending",
    "folding",
    "gradient",
    "inverse_consistency",
    "label_overlap",
    "landmark_error",
    "lncc",
    "mi",
    "mind",
    "mse",
    "ncc",
    "robust_lncc",
    "tv",
]
