"""Smoothing of fields by a Gaussian of fixed width."""

from keras import ops
import numpy as np

from dipy_nn_reg.backend import compiled
from dipy_nn_reg.transform.sampling import repeat_border

# Weights of a Gaussian with a standard deviation of 1.3 voxels, for offsets from -4 to
# 4 voxels.
_GAUSSIAN = np.exp(-((np.arange(-4, 5) / 1.3) ** 2) / 2)
_GAUSSIAN = tuple((_GAUSSIAN / _GAUSSIAN.sum()).tolist())


def smooth(field):
    """Smooth a field by a Gaussian with a standard deviation of 1.3 voxels.

    Parameters
    ----------
    field : tensor, shape (batch, *spatial, ndim)
        Outside of the grid its border is repeated.

    Returns
    -------
    field : tensor, shape (batch, *spatial, ndim)
    """
    field = _repeat_border(field, len(_GAUSSIAN) // 2)
    for axis in range(1, len(field.shape) - 1):
        field = _smooth_along(field, axis)
    return field


_repeat_border = compiled(repeat_border)


@compiled
def _smooth_along(field, axis):
    size = ops.shape(field)[axis] - len(_GAUSSIAN) + 1
    before = (slice(None),) * axis
    return sum(
        weight * field[(*before, slice(i, i + size))]
        for i, weight in enumerate(_GAUSSIAN)
    )
