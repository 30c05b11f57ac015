"""Parts of a map between two images on one grid."""

from collections.abc import Callable
from typing import NamedTuple

from nibabel.affines import apply_affine
import numpy as np


class Parts(NamedTuple):
    """Result of the registration of two images on one grid, in voxels.

    Attributes
    ----------
    displacement : ndarray, shape (*spatial, ndim)
    invert : callable
        Makes the inverse displacement, which is needed of the result alone.
    matrix : ndarray, shape (ndim + 1, ndim + 1), optional
        An affine that follows the displacement.
    """

    displacement: np.ndarray
    invert: Callable
    matrix: np.ndarray | None = None

    def whole_displacement(self):
        """Return the displacement in voxels with the affine: (*spatial, ndim)."""
        if self.matrix is None:
            return self.displacement
        shape = self.displacement.shape[:-1]
        grid = np.moveaxis(np.indices(shape, np.float32), 0, -1)
        moved = apply_affine(self.matrix, grid + self.displacement) - grid
        return moved.astype(np.float32)
