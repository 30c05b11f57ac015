"""Repair of fields that fold."""

from keras import ops
import numpy as np

from dipy_nn_reg.backend import compiled
from dipy_nn_reg.losses.penalties import folded, least_volume_factor
from dipy_nn_reg.transform.smoothing import smooth

# Largest number of times that a velocity and a displacement are smoothed.
_MAX_REPAIRS, _MAX_SMOOTHINGS = 10, 40
# Determinant at or below which a displacement is smoothed, so that it keeps a distance
# from folding.
_LEAST_VOLUME = 0.02


def unfold(velocity, displace):
    """Smooth a velocity where its displacement folds.

    Parameters
    ----------
    velocity : tensor, shape (1, *coarse, ndim)
    displace : callable
        Function that returns the displacement of a velocity in voxels, a tensor of
        shape (1, *spatial, ndim).

    Returns
    -------
    velocity : tensor, shape (1, *coarse, ndim)
        The same tensor if nothing folds. After the last repair it may still fold.
    displacement : ndarray, shape (*spatial, ndim)
        Displacement of the velocity that is returned.
    """
    for repairs in range(_MAX_REPAIRS + 1):
        displacement = ops.convert_to_numpy(displace(velocity))[0]
        where = where_folded(displacement)
        if not where.any() or repairs == _MAX_REPAIRS:
            break
        passed = _voxels_passed(where, displacement, velocity.shape[1:-1])
        velocity = _smoothed_near(velocity, ops.convert_to_tensor(passed))
    return velocity, displacement


def unfold_displacement(displacement):
    """Smooth a displacement where it folds between neighbouring voxels.

    Parameters
    ----------
    displacement : tensor, shape (1, *spatial, ndim)
        In voxels.

    Returns
    -------
    displacement : tensor, shape (1, *spatial, ndim)
        The same tensor if nothing folds: no combination of forward and backward
        differences has a determinant of 0.02 or less. After the last repair it may
        still fold.
    """
    for _ in range(_MAX_SMOOTHINGS):
        where = _least_volume(displacement) <= _LEAST_VOLUME
        if not ops.convert_to_numpy(ops.any(where)):
            break
        where = ops.cast(where, "float32")[..., None]
        displacement = _smoothed_near(displacement, where)
    return displacement


def _smoothed_near(field, where):
    """Smooth a field within two voxels of some voxels, and less around these."""
    near = ops.clip(40 * smooth(smooth(where)), 0, 1)
    return field + near * (smooth(field) - field)


def where_folded(displacement):
    """Return where a displacement folds.

    Parameters
    ----------
    displacement : ndarray, shape (*spatial, ndim)

    Returns
    -------
    folded : ndarray of bool, shape (*spatial,)
        The voxels that :func:`~dipy_nn_reg.metrics.folding` counts, found in a third
        of the time.
    """
    return ops.convert_to_numpy(_folded(ops.convert_to_tensor(displacement[None])))[0]


_folded, _least_volume = compiled(folded), compiled(least_volume_factor)


def _voxels_passed(folded, displacement, shape):
    """Mark the voxels of a coarse grid on the straight paths of folded voxels.

    A fold may be caused by the velocity anywhere on the path, not only at its start.
    """
    starts, steps = np.argwhere(folded), np.nan_to_num(displacement[folded])
    passed = np.zeros((1, *shape, 1), np.float32)
    for fraction in np.linspace(0, 1, 5):
        points = (starts + fraction * steps + 0.5) * np.divide(shape, folded.shape)
        points = np.clip(points, 0, np.array(shape) - 1).astype(int)
        passed[(0, *points.T)] = 1
    return passed
