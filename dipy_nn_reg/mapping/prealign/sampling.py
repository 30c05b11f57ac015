"""Samples of two images at the same points, with derivatives by position."""

import numpy as np


class MovingImage:
    """An image that is interpolated linearly between its voxels, with derivatives.

    Parameters
    ----------
    values : ndarray, shape (*spatial,)
    affine : ndarray, shape (ndim + 1, ndim + 1)
        From voxels to world coordinates in mm.
    fill : float
        Value outside of the image.
    """

    def __init__(self, values, affine, fill):
        ndim = values.ndim
        # In NumPy's order of memory, which images of files are not in.
        values = np.ascontiguousarray(values, np.float32)
        # A margin of one voxel, in which the image fades to the fill.
        self._values = np.pad(values, 1, constant_values=fill)
        self._to_voxels = np.linalg.inv(affine)
        self._to_voxels[:-1, -1] += 1
        self._last = np.array(self._values.shape, np.float32)[:, None] - 1
        self._strides = np.array(self._values.strides[:ndim]) // 4
        # Offsets of the corners of a cell, the last axis varying fastest.
        corners = np.indices((2,) * ndim).reshape(ndim, -1)
        self._corners = self._strides @ corners

    def sample(self, points, affine, *, derivatives=True):
        """Return the image at points that an affine moves.

        Parameters
        ----------
        points : ndarray, shape (ndim, n)
            World coordinates.
        affine : ndarray, shape (ndim + 1, ndim + 1)
            From the points to world coordinates of the image.
        derivatives : bool, optional

        Returns
        -------
        values : ndarray, float32, shape (n,)
        gradient : ndarray, shape (ndim, n), or None
            Derivative of the values by the world coordinates in the image.
        inside : ndarray of bool, shape (n,)
            Whether the point lies between voxels of the image.
        """
        to_voxels = self._to_voxels @ affine
        positions = to_voxels[:-1, :-1] @ points + to_voxels[:-1, -1:]
        positions = positions.astype(np.float32)
        inside = np.all((positions >= 0.5) & (positions <= self._last - 0.5), axis=0)
        np.clip(positions, 0, self._last, out=positions)
        cells = np.minimum(positions.astype(np.int32), self._last.astype(np.int32) - 1)
        weights = positions - cells
        first = self._strides @ cells
        flat = self._values.ravel()
        values = [flat.take(first + corner) for corner in self._corners]
        gradient = []
        # Each axis halves the number of corners, beginning with the last axis.
        for weight in weights[::-1]:
            steps = [b - a for a, b in zip(values[::2], values[1::2])]
            if derivatives:
                gradient = [_between(one, weight) for one in gradient]
                gradient.append(steps)
            values = [a + s * weight for a, s in zip(values[::2], steps)]
        if not derivatives:
            return values[0], None, inside
        gradient = np.stack([one[0] for one in gradient[::-1]])
        return values[0], self._to_voxels[:-1, :-1].T @ gradient, inside


def _between(values, weight):
    """Return values halved in number by interpolation of neighbours."""
    return [a + (b - a) * weight for a, b in zip(values[::2], values[1::2])]
