"""Self-similarity descriptors (MIND-SSC), and a loss that compares them."""

from itertools import combinations

import keras
from keras import ops

from dipy_nn_reg.backend import compiled
from dipy_nn_reg.checks import check_integer
from dipy_nn_reg.losses.averages import masked_mean, moving_average
from dipy_nn_reg.transform.sampling import repeat_border
from dipy_nn_reg.transform.tensors import check_image_pair


@keras.saving.register_keras_serializable(package="dipy_nn_reg")
def mind(static, warped, *, mask=None, radius=1, dilation=2):
    """Return the mean squared difference of self-similarity descriptors (MIND-SSC).

    A descriptor measures the similarity between the neighbours of a voxel, which images
    of different contrast have in common.

    Parameters
    ----------
    static, warped : tensor, shape (batch, *spatial, channels)
    mask : tensor, shape (batch, *spatial, 1), optional
        Voxels at which the descriptors are compared. The neighbourhoods of these voxels
        may reach beyond the mask.
    radius : int, optional
        Radius of the patches that are compared, of ``2 * radius + 1`` voxels along each
        axis.
    dilation : int, optional
        Distance of the neighbours from the voxel, in voxels.

    Returns
    -------
    loss : tensor, shape (batch,)
        From 0 to 1.

    Notes
    -----
    See :footcite:t:`Heinrich2013`. The neighbours lie at a distance of ``dilation``
    along each axis. Pairs of them are compared that are not opposite each other: 4
    pairs in 2D, 12 in 3D.

    References
    ----------
    .. footbibliography::
    """
    static, warped, mask = check_image_pair(static, warped, mask)
    check_integer("radius", radius, lowest=1)
    check_integer("dilation", dilation, lowest=1)
    radius, dilation = int(radius), int(dilation)
    difference = descriptors(static, radius, dilation) - descriptors(
        warped, radius, dilation
    )
    return masked_mean(ops.square(difference), mask)


@compiled
def descriptors(image, radius, dilation):
    """Return the MIND-SSC descriptor of each voxel, see :func:`mind`.

    Parameters
    ----------
    image : tensor, shape (batch, *spatial, channels)
    radius, dilation : int

    Returns
    -------
    descriptors : tensor, shape (batch, *spatial, pairs * channels)
        From 0 to 1: all channels of the first pair, then of the second, and so on.
    """
    ndim = len(image.shape) - 2
    padded = repeat_border(image, dilation)
    neighbours = {
        (axis, sign): _shifted(padded, image, axis, sign * dilation, margin=dilation)
        for axis in range(ndim)
        for sign in (-1, 1)
    }
    differences = [
        ops.square(neighbours[one] - neighbours[other])
        for one, other in combinations(neighbours, 2)
        if one[0] != other[0]
    ]
    pairs = len(differences)
    distances = moving_average(
        repeat_border(ops.concatenate(differences, axis=-1), radius),
        (2 * radius + 1,) * ndim,
    )
    distances = ops.stack(ops.split(distances, pairs, axis=-1), axis=-1)
    distances = distances - ops.min(distances, axis=-1, keepdims=True)
    variance = ops.mean(distances, axis=-1, keepdims=True)
    usual = ops.mean(variance, axis=tuple(range(1, ndim + 1)), keepdims=True)
    variance = ops.clip(variance, 1e-3 * usual, 1e3 * usual)
    values = ops.exp(-distances / ops.maximum(variance, 1e-8))
    return ops.concatenate([values[..., i] for i in range(pairs)], axis=-1)


def _shifted(padded, image, axis, offset, *, margin):
    """Return the voxels of a padded image at an offset along one axis."""
    window = [slice(None)]
    for a, size in enumerate(ops.shape(image)[1:-1]):
        start = margin + (offset if a == axis else 0)
        window.append(slice(start, start + size))
    return padded[tuple(window)]
