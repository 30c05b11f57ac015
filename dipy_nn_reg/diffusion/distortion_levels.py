"""Levels of resolution, from coarse to fine, for the estimate of a distortion."""

from typing import NamedTuple

import numpy as np

# Smallest size of an axis after it is halved.
_SMALLEST = 8


class Level(NamedTuple):
    """Two images at one resolution.

    Attributes
    ----------
    up, down : ndarray, float32, shape (n, *others)
    factors : tuple of int
        Size of a voxel along each axis, in voxels of the finest level.
    """

    up: np.ndarray
    down: np.ndarray
    factors: tuple

    def weights(self, weight):
        """Return the weight of squared slopes along each axis.

        The field is in voxels along the first axis. Where an axis is not halved with
        it, its slopes per voxel are those over another distance.
        """
        return [weight * (self.factors[0] / factor) ** 2 for factor in self.factors]

    @property
    def to_finest(self):
        """Matrix from voxels of this level to those of the finest one."""
        matrix = np.diag([*map(float, self.factors), 1.0])
        matrix[:-1, -1] = (np.array(self.factors) - 1) / 2
        return matrix


def make_levels(up, down):
    """Return the levels of two images, from coarse to fine.

    Parameters
    ----------
    up, down : ndarray, float32, shape (n, *others)

    Returns
    -------
    levels : list of Level
        An axis is halved while it keeps 8 voxels or more.
    """
    levels = [Level(up, down, (1,) * up.ndim)]
    while True:
        up, down, factors = levels[0]
        halved = [size >= 2 * _SMALLEST for size in up.shape]
        if not halved[0]:
            return levels
        factors = tuple(f * (1 + half) for f, half in zip(factors, halved))
        levels.insert(0, Level(_shrink(up, halved), _shrink(down, halved), factors))


def bring_to(level, field, factors):
    """Return a field of a coarser level on the grid of the next one.

    Parameters
    ----------
    level : Level
    field : ndarray, float32, shape (n, *others)
        In voxels of its own level along the first axis.
    factors : tuple of int
        Those of its level.

    Returns
    -------
    field : ndarray, float32, shape of the images of the level
        Linear between voxels, so that slopes are not steeper than before.
    """
    for axis, size in enumerate(level.up.shape):
        if factors[axis] > level.factors[axis]:
            field = _grow(field, axis, size)
    return field * np.float32(factors[0] / level.factors[0])


def _shrink(image, halved):
    """Return the means of pairs of voxels along axes that are halved."""
    for axis, half in enumerate(halved):
        if half:
            lines = np.moveaxis(image, axis, 0)
            if len(lines) % 2:
                lines = np.concatenate([lines, lines[-1:]])
            image = np.moveaxis((lines[::2] + lines[1::2]) / 2, 0, axis)
    return np.ascontiguousarray(image)


def _grow(field, axis, size):
    """Return a field with twice the voxels along an axis, linear between them."""
    position = np.clip((np.arange(size) - 0.5) / 2, 0, field.shape[axis] - 1)
    lower = position.astype(int)
    upper = np.minimum(lower + 1, field.shape[axis] - 1)
    fraction = (position - lower).astype(np.float32)
    fraction = fraction.reshape(-1, *[1] * (field.ndim - 1 - axis))
    start, end = np.take(field, lower, axis), np.take(field, upper, axis)
    return start + fraction * (end - start)
