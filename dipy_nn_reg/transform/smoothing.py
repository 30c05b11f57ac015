"""Smoothing of fields by a Gaussian of fixed width."""

from keras import ops
import numpy as np

from dipy_nn_reg.backend import compiled
from dipy_nn_reg.transform.sampling import repeat_border

# Gaussian along each axis, of a standard deviation of 1.3 voxels.
_GAUSSIAN = np.exp(-((np.arange(-4, 5) / 1.3) ** 2) / 2)
_GAUSSIAN = tuple((_GAUSSIAN / _GAUSSIAN.sum()).tolist())


def smooth(field):
    """Smooth a field by a Gaussian, beyond the border of which it is repeated."""
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
