"""Profiles of images along their first axis, read between voxels.

A profile is linear between voxels, and fades to 0 over one voxel beyond its ends. An
array of positions has the shape of the image, and each position is on the line that it
has in the array.
"""

import numpy as np


def pad(image):
    """Return an image with the zeros around its lines that positions may lie in."""
    padded = np.zeros((len(image) + 3, *image.shape[1:]), image.dtype)
    padded[1:-2] = image
    return padded


def place(shape):
    """Return the position of each voxel on its line, for images of a shape."""
    return np.arange(shape[0], dtype=np.float32).reshape(-1, *[1] * (len(shape) - 1))


def locate(positions):
    """Return where a padded image is read: the indices of voxels, and fractions.

    Parameters
    ----------
    positions : ndarray, float32, shape (n, *others)

    Returns
    -------
    index : ndarray of int, shape (n, *others)
        Index into the flattened padded image of the voxel at a position or before it.
    fraction : ndarray, float32, shape (n, *others)
        Distance from that voxel.
    """
    n, *others = positions.shape
    positions = np.clip(positions + np.float32(1), 0, np.float32(n + 1))
    voxel = positions.astype(np.intp)
    lines = int(np.prod(others))
    index = voxel * lines + np.arange(lines).reshape(others)
    return index, positions - voxel.astype(np.float32)


def read(padded, index, fraction):
    """Return the values of a padded image where :func:`locate` says."""
    start, step = _read_cells(padded, index)
    return start + fraction * step


def _read_cells(padded, index):
    """Return the value at the start of each cell, and the difference to its end."""
    lines = int(np.prod(padded.shape[1:]))
    start = padded.ravel().take(index)
    return start, padded.ravel().take(index + lines) - start


class Profiles:
    """Profiles of an image, with their integrals.

    Parameters
    ----------
    image : ndarray, float32, shape (n, *others)
    """

    def __init__(self, image):
        self._padded = pad(image)
        self._sums = np.zeros_like(self._padded)
        means = (self._padded[1:] + self._padded[:-1]) / 2
        np.cumsum(means, axis=0, out=self._sums[1:])

    def read(self, positions):
        """Return the integrals of profiles up to positions, and the values there."""
        index, fraction = locate(positions)
        start, step = _read_cells(self._padded, index)
        values = start + fraction * step
        integrals = self._sums.ravel().take(index) + fraction * (start + values) / 2
        return integrals, values
