"""Parts of a map between two images on one grid: a displacement and an affine."""

from collections.abc import Callable
from typing import Any, NamedTuple

from nibabel.affines import apply_affine
import numpy as np


class Parts(NamedTuple):
    """Displacement and affine between two images on one grid, in voxels.

    Attributes
    ----------
    displacement : ndarray, shape (*spatial, ndim)
    invert : callable
        Function without arguments that returns the inverse displacement. It is called
        for the final result alone, since the inverse takes time.
    matrix : ndarray, shape (ndim + 1, ndim + 1), optional
        Affine in voxels that follows the displacement.
    """

    displacement: np.ndarray
    invert: Callable
    matrix: np.ndarray | None = None

    def whole_displacement(self):
        """Return the displacement including the affine, shape (*spatial, ndim)."""
        if self.matrix is None:
            return self.displacement
        shape = self.displacement.shape[:-1]
        grid = np.moveaxis(np.indices(shape, np.float32), 0, -1)
        with np.errstate(invalid="ignore"):  # a prediction may not be finite
            moved = apply_affine(self.matrix, grid + self.displacement) - grid
        return moved.astype(np.float32)


class Prediction(NamedTuple):
    """Prediction of one pair of images on one grid.

    Attributes
    ----------
    parts : Parts
    velocity : ndarray, shape (1, *coarse, ndim), or None
        The velocity of the displacement, if the transform has one; of several passes
        the sum, which is that of their composition to first order.
    stride : int
        Distance in voxels of the values of the velocity.
    """

    parts: Parts
    velocity: Any
    stride: int
