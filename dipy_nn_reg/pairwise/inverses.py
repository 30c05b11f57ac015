"""Inverses of displacements, from a start near them."""

from functools import partial

from keras import ops

from dipy_nn_reg.backend import as_one_graph, compiled, recomputed
from dipy_nn_reg.determinant import solve
from dipy_nn_reg.mapping.inversion import TOLERANCE, invert_displacement
from dipy_nn_reg.transform.functions import compose
from dipy_nn_reg.transform.sampling import displaced, locate, read_with_slopes

# Fractions of the distance of points from where they were that are taken off the
# inverse, one after the other. Where a map stretches more than twice, whole steps alone
# would not converge.
_PARTS = 3 * (0.5, 0.7, 1.0)
# Number of steps of Newton's method, and the largest length of one in voxels: slopes
# hold within a voxel.
_STEPS, _LONGEST_STEP = 4, 1.0
# Length of a step from which it is not made at all.
_FAR = 1e3


@as_one_graph
def nearly_inverted(displacement, start):
    """Return nearly the inverse of a displacement, even of one that folds.

    Parameters
    ----------
    displacement : tensor, shape (1, *spatial, ndim)
        In voxels.
    start : tensor, shape (1, *spatial, ndim)
        Something near the inverse.

    Returns
    -------
    inverse : tensor, shape (1, *spatial, ndim)
    """
    inverse = start
    for part in _PARTS:
        inverse = inverse - part * compose(displacement, inverse)
    return inverse


def inverted(displacement, start):
    """Return the inverse of a displacement, exact at the voxels of its grid.

    Parameters
    ----------
    displacement : tensor, shape (1, *spatial, ndim)
        In voxels, without folds.
    start : tensor, shape (1, *spatial, ndim)
        Something near the inverse.

    Returns
    -------
    inverse : ndarray, shape (*spatial, ndim)
        In voxels. Each point comes back within 0.0005 voxels.
    """
    inverse, missed = _by_newton(displacement, start)
    fields = (ops.convert_to_numpy(field)[0] for field in (displacement, inverse))
    return invert_displacement(*fields, missed=ops.convert_to_numpy(missed)[0])


@as_one_graph
def _by_newton(displacement, start):
    """Return the inverse, and the few points that it does not bring back."""
    inverse = start
    for _ in range(_STEPS):
        inverse = _nearer(displacement, inverse, _located(displacement, inverse))
    off = ops.sum(ops.square(compose(displacement, inverse)), axis=-1)
    return inverse, ops.logical_not(off <= TOLERANCE**2)  # NaN is not back


@compiled
def _located(displacement, inverse):
    return locate(displacement, displaced(inverse), "repeat")


@partial(recomputed, constants=1)
def _nearer(displacement, inverse, offsets):
    """Return the inverse after a step of Newton's method."""
    there = displaced(inverse)
    values, slopes = read_with_slopes(displacement, there, "repeat", offsets)
    off, axes = inverse + values, range(len(slopes))
    rows = [[slopes[a][..., d] + float(a == d) for a in axes] for d in axes]
    step = ops.stack(solve(rows, [off[..., d] for d in axes]), axis=-1)
    length = ops.sqrt(ops.sum(ops.square(step), axis=-1, keepdims=True))
    step = step * (_LONGEST_STEP / ops.maximum(length, _LONGEST_STEP))
    # Where the displacement folds, there may be no finite step.
    return inverse - ops.where(length < _FAR, step, 0.0)
