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
        # A margin in which the image fades to the fill, and one without a derivative.
        self._values = np.pad(values, 2, constant_values=fill)
        self._to_voxels = np.linalg.inv(affine)
        self._to_voxels[:-1, -1] += 2
        self._last = np.array(self._values.shape, np.float32)[:, None] - 1
        strides = np.array(self._values.strides[:ndim]) // 4
        # Exact up to 2**24 voxels, and many times faster than a product of integers.
        self._strides = strides.astype(np.float32)
        # Offsets of the corners of a cell, the last axis varying fastest.
        corners = np.indices((2,) * ndim).reshape(ndim, -1)
        self._corners = strides @ corners

    def sample(self, points, affine, *, derivatives=True):
        """Return the image at points that an affine moves.

        Parameters
        ----------
        points : ndarray, shape (ndim, n)
            In mm. In float32, this takes half of the time.
        affine : ndarray, shape (ndim + 1, ndim + 1)
            From the points to world coordinates of the image.
        derivatives : bool, optional

        Returns
        -------
        values : ndarray, float32, shape (n,)
        gradient : ndarray, float32, shape (ndim, n), or None
            Derivative of the values by the world coordinates in the image.
        """
        to_voxels = self._to_voxels @ affine
        linear, shift = to_voxels[:-1, :-1], to_voxels[:-1, -1:].astype(np.float32)
        positions = np.float32(linear.astype(points.dtype) @ points) + shift
        np.clip(positions, 0, self._last, out=positions)
        cells = np.minimum(np.floor(positions), self._last - 1)
        weights = positions - cells
        first = (self._strides @ cells).astype(np.intp)
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
            return values[0], None
        gradient = np.stack([one[0] for one in gradient[::-1]])
        return values[0], np.float32(self._to_voxels[:-1, :-1].T) @ gradient


def _between(values, weight):
    """Return values halved in number by interpolation of neighbours."""
    return [a + (b - a) * weight for a, b in zip(values[::2], values[1::2])]
