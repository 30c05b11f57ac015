"""Inverses of displacements, from a start near them."""

from keras import ops

from dipy_nn_reg.backend import as_one_graph
from dipy_nn_reg.mapping.inversion import TOLERANCE, invert_displacement
from dipy_nn_reg.transform.functions import compose

# Fractions of what is missing that are added, one after the other. Where a map
# stretches more than twice, whole steps alone would not converge.
_STEPS = 3 * (0.5, 0.7, 1.0)


@as_one_graph
def nearly_inverted(displacement, start):
    """Return nearly the inverse of a displacement, after a few steps.

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
    for part in _STEPS:
        inverse = inverse - part * compose(displacement, inverse)
    return inverse


def inverted(displacement, start):
    """Return the inverse of a displacement, exact up to interpolation.

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
    inverse, missed = _nearly_inverted(displacement, start)
    fields = (ops.convert_to_numpy(field)[0] for field in (displacement, inverse))
    return invert_displacement(*fields, missed=ops.convert_to_numpy(missed)[0])


@as_one_graph
def _nearly_inverted(displacement, start):
    """Return nearly the inverse, and the points that do not come back."""
    inverse = nearly_inverted(displacement, start)
    off = ops.sum(ops.square(compose(displacement, inverse)), axis=-1)
    return inverse, ops.logical_not(off <= TOLERANCE**2)
