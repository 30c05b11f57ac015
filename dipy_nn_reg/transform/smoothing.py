"""Smoothing of fields by a Gaussian, and by diffusion."""

from functools import lru_cache
from math import ceil

from keras import ops
import numpy as np

from dipy_nn_reg.backend import compiled
from dipy_nn_reg.transform.sampling import repeat_border


def smooth(field, sigma=1.3):
    """Smooth a field by a Gaussian.

    Parameters
    ----------
    field : tensor, shape (batch, *spatial, ndim)
        Outside of the grid its border is repeated.
    sigma : float, optional
        Standard deviation in voxels. The Gaussian is cut off at three times this
        length, rounded up to a voxel.

    Returns
    -------
    field : tensor, shape (batch, *spatial, ndim)
    """
    weights = _gaussian(sigma)
    field = _repeat_border(field, len(weights) // 2)
    for axis in range(1, len(field.shape) - 1):
        field = _smooth_along(field, axis, weights)
    return field


@compiled
def relax(field, amount):
    """Add a fraction of its Laplacian to a field, which smooths it a little.

    Parameters
    ----------
    field : tensor, shape (batch, *spatial, ndim)
        Outside of the grid its border is repeated.
    amount : tensor
        The fraction, from 0 to 0.5 / ndim. It smooths as a Gaussian with a variance of
        twice this number does.

    Returns
    -------
    field : tensor, shape (batch, *spatial, ndim)
    """
    axes = range(1, len(field.shape) - 1)
    neighbours = [shifted(field, axis, step) for axis in axes for step in (-1, 1)]
    return field + amount * (sum(neighbours) - len(neighbours) * field)


def shifted(field, axis, step):
    """Return the next or the previous voxel along an axis, with the border repeated.

    Parameters
    ----------
    field : tensor, shape (batch, *spatial, ...)
    axis : int
    step : {-1, 1}

    Returns
    -------
    field : tensor
        Of the same shape.
    """
    before = (slice(None),) * axis
    first, last = field[(*before, slice(0, 1))], field[(*before, slice(-1, None))]
    if step > 0:
        return ops.concatenate([field[(*before, slice(1, None))], last], axis=axis)
    return ops.concatenate([first, field[(*before, slice(0, -1))]], axis=axis)


@lru_cache
def _gaussian(sigma):
    radius = ceil(3 * sigma)
    weights = np.exp(-((np.arange(-radius, radius + 1) / sigma) ** 2) / 2)
    return tuple((weights / weights.sum()).tolist())


_repeat_border = compiled(repeat_border)


@compiled
def _smooth_along(field, axis, weights):
    size = ops.shape(field)[axis] - len(weights) + 1
    before = (slice(None),) * axis
    return sum(
        weight * field[(*before, slice(i, i + size))]
        for i, weight in enumerate(weights)
    )
