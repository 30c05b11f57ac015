"""Penalties of fields: roughness, folding, and inconsistency of two directions.

A penalty takes a field, a tensor of shape (batch, *spatial, ndim) in voxels, and
returns one value for each item of the batch. Differences along an axis of one voxel are
0. Arrays and tensors of other types are converted to float32.
"""

from itertools import combinations, product

import keras
from keras import ops

from dipy_nn_reg.determinant import determinant
from dipy_nn_reg.transform.functions import compose
from dipy_nn_reg.transform.smoothing import shifted
from dipy_nn_reg.transform.tensors import check_field

_register = keras.saving.register_keras_serializable(package="dipy_nn_reg")


@_register
def gradient(field):
    """Return the mean squared gradient (diffusion penalty).

    Parameters
    ----------
    field : tensor, shape (batch, *spatial, ndim)
        Velocity or displacement in voxels.

    Returns
    -------
    penalty : tensor, shape (batch,)
        Squared forward differences, averaged over voxels, components and axes.

    Notes
    -----
    As in VoxelMorph :footcite:p:`Balakrishnan2018`.

    References
    ----------
    .. footbibliography::
    """
    field = check_field("field", field)
    ndim = field.shape[-1]
    squares = [_mean(ops.square(_difference(field, axis))) for axis in range(ndim)]
    return sum(squares) / ndim


@_register
def tv(field):
    r"""Return the total variation, which allows abrupt changes of a field.

    Parameters
    ----------
    field : tensor, shape (batch, *spatial, ndim)
        Velocity or displacement in voxels.

    Returns
    -------
    penalty : tensor, shape (batch,)
        Length of the gradient of a component, by forward differences, averaged over
        voxels and components.

    Notes
    -----
    Used by :footcite:t:`Li2017`. The length is :math:`\sqrt{g^2 + \epsilon^2} -
    \epsilon` with :math:`\epsilon = 10^{-3}`, which has a derivative at 0.

    References
    ----------
    .. footbibliography::
    """
    epsilon = 1e-3
    field = check_field("field", field)
    thick = _thick_axes(field)
    # Lengths are defined at voxels that have a next voxel along each axis.
    squares = [] if thick else [0.0 * field]
    for axis in thick:
        others = [other for other in thick if other != axis]
        difference = _cut(_difference(field, axis), others, slice(None, -1))
        squares.append(ops.square(difference))
    return _mean(ops.sqrt(sum(squares) + epsilon**2) - epsilon)


@_register
def bending(field):
    """Return the bending energy, which is 0 for affine motion.

    Parameters
    ----------
    field : tensor, shape (batch, *spatial, ndim)
        Velocity or displacement in voxels. Each axis has one voxel, or three or more.

    Returns
    -------
    penalty : tensor, shape (batch,)
        Squared second derivatives, averaged over voxels and components. Each mixed
        derivative counts twice.

    Raises
    ------
    ValueError
        If an axis has two voxels, too few for a second derivative.

    Notes
    -----
    As in :footcite:t:`deVos2019`.

    References
    ----------
    .. footbibliography::
    """
    field = check_field("field", field)
    if any(size == 2 for size in field.shape[1:-1]):
        raise ValueError(
            f"Expected three voxels or more along each axis for the bending energy. "
            f"Received field.shape={tuple(field.shape)}."
        )
    axes = range(field.shape[-1])
    first = [_difference(field, axis) for axis in axes]
    pure = [_mean(ops.square(_difference(first[axis], axis))) for axis in axes]
    mixed = [
        _mean(ops.square(_difference(first[one], other)))
        for one, other in combinations(axes, 2)
    ]
    return sum(pure) + 2 * sum(mixed)


@_register
def folding(displacement):
    """Return the negative part of the Jacobian determinant.

    Parameters
    ----------
    displacement : tensor, shape (batch, *spatial, ndim)
        In voxels.

    Returns
    -------
    penalty : tensor, shape (batch,)
        The negative part of the determinant, averaged over voxels and over all
        combinations of forward and backward differences along the axes. It is 0 if no
        combination shows a fold.
    """
    displacement = check_field("displacement", displacement)
    differences = [
        _difference(displacement, axis) for axis in range(displacement.shape[-1])
    ]
    axes = _thick_axes(displacement)
    # Each combination is a corner of the cell between neighbouring voxels.
    corners = list(product((slice(None, -1), slice(1, None)), repeat=len(axes)))
    negative_parts = []
    for corner in corners:
        derivatives = differences
        for axis, window in zip(axes, corner):
            derivatives = [
                d if axis == along else _cut(d, [axis], window)
                for along, d in enumerate(derivatives)
            ]
        negative_parts.append(_mean(ops.relu(-_determinant(derivatives))))
    return sum(negative_parts) / len(corners)


def folded(displacement):
    """Return the voxels at which a field folds.

    Parameters
    ----------
    displacement : tensor, shape (batch, *spatial, ndim)
        In voxels.

    Returns
    -------
    folded : tensor of bool, shape (batch, *spatial)
        Voxels that :func:`dipy_nn_reg.metrics.folding` counts, including NaN.
    """
    displacement = check_field("displacement", displacement)
    thick = _thick_axes(displacement)
    derivatives = []
    for axis in range(displacement.shape[-1]):
        one_sided = _difference(displacement, axis)
        if axis not in thick:
            derivatives.append(one_sided)
            continue
        first, last = (_cut(one_sided, [axis], w) for w in (slice(1), slice(-1, None)))
        before, after = (
            _cut(displacement, [axis], w) for w in (slice(None, -2), slice(2, None))
        )
        central = (after - before) / 2
        derivatives.append(ops.concatenate([first, central, last], axis=axis + 1))
    return ops.logical_not(_determinant(derivatives) > 0)


def volume_factor(displacement):
    """Return the Jacobian determinant by differences to the next voxels.

    Parameters
    ----------
    displacement : tensor, shape (batch, *spatial, ndim)
        In voxels.

    Returns
    -------
    determinant : tensor, shape (batch, *spatial)
        Beyond the border, the displacement does not change.
    """
    axes = range(1, displacement.shape[-1] + 1)
    return _determinant([_one_sided(displacement, axis, 1) for axis in axes])


def least_volume_factor(displacement):
    """Return the least Jacobian determinant of any one-sided differences.

    Arguments and values are those of :func:`volume_factor`.
    """
    ndim = displacement.shape[-1]
    # Both sides of each axis along an axis of its own, so that all combinations meet.
    derivatives = [
        ops.expand_dims(
            ops.stack([_one_sided(displacement, k + 1, side) for side in (-1, 1)]),
            axis=[other for other in range(ndim) if other != k],
        )
        for k in range(ndim)
    ]
    return ops.min(_determinant(derivatives), axis=tuple(range(ndim)))


def _one_sided(field, axis, side):
    """Return differences along an axis from the previous voxel, or to the next one."""
    return side * (shifted(field, axis, side) - field)


@_register
def inverse_consistency(forward, backward):
    """Return how far two displacements are from being inverse to each other.

    Parameters
    ----------
    forward, backward : tensor, shape (batch, *spatial, ndim)
        Displacements from the static to the moving image and from the moving to the
        static image, in voxels.

    Returns
    -------
    penalty : tensor, shape (batch,)
        Squared distance in voxels of a point from its start after both displacements,
        averaged over voxels and over both orders.

    Notes
    -----
    As in :footcite:t:`Greer2021`, who use points between the voxels.

    References
    ----------
    .. footbibliography::
    """
    forward = check_field("forward", forward)
    backward = check_field("backward", backward)
    ndim = forward.shape[-1]
    one, other = compose(backward, forward), compose(forward, backward)
    return ndim * (_mean(ops.square(one)) + _mean(ops.square(other))) / 2


def _mean(x):
    return ops.mean(x, axis=tuple(range(1, len(x.shape))))


def _difference(field, axis):
    """Return forward differences along a spatial axis; 0 along an axis of one voxel."""
    if field.shape[axis + 1] == 1:
        return 0.0 * field
    return _cut(field, [axis], slice(1, None)) - _cut(field, [axis], slice(None, -1))


def _cut(field, axes, window):
    """Keep a window along some of the spatial axes."""
    windows = [slice(None)] * len(field.shape)
    for axis in axes:
        windows[axis + 1] = window
    return field[tuple(windows)]


def _thick_axes(field):
    """Return the spatial axes of more than one voxel."""
    return [axis for axis, size in enumerate(field.shape[1:-1]) if size != 1]


def _determinant(derivatives):
    """Return ``det(1 + du/dx)`` from the derivatives along each axis."""
    rows = [
        [
            d[..., component] + (axis == component)
            for component in range(len(derivatives))
        ]
        for axis, d in enumerate(derivatives)
    ]
    return determinant(rows)
