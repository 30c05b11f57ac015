"""What training minimises: dissimilarity of images and roughness of fields.

A dissimilarity takes ``(static, warped)`` and a penalty takes ``(field)``, as
tensors with batch and channels. Both return one value for each item of the batch.
"""

from keras import ops

# Added to a variance: keeps the correlation of a constant image finite, and at 0.
_EPSILON = 1e-10


def mse(static, warped):
    """Return the mean squared difference.

    Parameters
    ----------
    static, warped : tensor, shape (batch, *spatial, channels)

    Returns
    -------
    loss : tensor, shape (batch,)
        Over all voxels and channels.
    """
    return _mean(ops.square(static - warped))


def ncc(static, warped):
    """Return one minus the normalised cross-correlation.

    Parameters
    ----------
    static, warped : tensor, shape (batch, *spatial, channels)

    Returns
    -------
    loss : tensor, shape (batch,)
        From 0 (equal up to a positive scale and an offset) to 2. Over all voxels
        and channels together; 1 if an image is constant. For images in the range
        from 0 to 1: a standard deviation near 1e-5 counts as none.
    """
    axes = tuple(range(1, len(static.shape)))
    static = static - ops.mean(static, axes, keepdims=True)
    warped = warped - ops.mean(warped, axes, keepdims=True)
    variances = (_mean(ops.square(static)) + _EPSILON) * (
        _mean(ops.square(warped)) + _EPSILON
    )
    return 1 - _mean(static * warped) / ops.sqrt(variances)


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
    ndim = field.shape[-1]
    squares = [_mean(ops.square(_difference(field, axis))) for axis in range(ndim)]
    return sum(squares) / ndim


LOSSES = {"mse": mse, "ncc": ncc}
PENALTIES = {"gradient": gradient}


def _mean(x):
    return ops.mean(x, axis=tuple(range(1, len(x.shape))))


def _difference(field, axis):
    """Subtract each voxel from the next one along a spatial axis."""
    before, after = [slice(None)] * (axis + 1), [slice(None)] * (axis + 1)
    return field[(*after, slice(1, None))] - field[(*before, slice(None, -1))]
