"""Losses of images: dissimilarity of a static and a warped image.

A loss takes ``(static, warped)``, tensors of shape (batch, *spatial, channels) in the
range from 0 to 1, and an optional mask of shape (batch, *spatial, 1) with the weight of
each voxel. It returns one value for each item of the batch. Arrays and tensors of other
types are converted to float32. The options of a loss are set by
``functools.partial(lncc, window=5)``, which is a loss as well.
"""

from math import prod

import keras
from keras import ops

from dipy_nn_reg.backend import compiled, recomputed, self_adjoint
from dipy_nn_reg.checks import check_integer, check_number
from dipy_nn_reg.losses.averages import EPSILON, masked_mean, moving_average
from dipy_nn_reg.transform.sampling import surround_by_zeros
from dipy_nn_reg.transform.tensors import check_image_pair

# Largest number of bins of mutual information; more would not fit into memory.
MAX_BINS = 2**16

_register = keras.saving.register_keras_serializable(package="dipy_nn_reg")


@_register
def mse(static, warped, *, mask=None):
    """Return the mean squared difference.

    Parameters
    ----------
    static, warped : tensor, shape (batch, *spatial, channels)
    mask : tensor, shape (batch, *spatial, 1), optional

    Returns
    -------
    loss : tensor, shape (batch,)
        Mean over all voxels and channels.
    """
    static, warped, mask = check_image_pair(static, warped, mask)
    return masked_mean(ops.square(static - warped), mask)


@_register
def ncc(static, warped, *, mask=None):
    """Return one minus the normalised cross-correlation.

    Parameters
    ----------
    static, warped : tensor, shape (batch, *spatial, channels)
    mask : tensor, shape (batch, *spatial, 1), optional

    Returns
    -------
    loss : tensor, shape (batch,)
        From 0 (equal up to a positive scale and an offset) to 2, over all voxels and
        channels together. It is 1 if an image is constant; in the range from 0 to 1, an
        image with a standard deviation near 1e-5 counts as constant.
    """
    static, warped, mask = check_image_pair(static, warped, mask)
    static = static - masked_mean(static, mask, keepdims=True)
    warped = warped - masked_mean(warped, mask, keepdims=True)
    variances = (masked_mean(ops.square(static), mask) + EPSILON) * (
        masked_mean(ops.square(warped), mask) + EPSILON
    )
    return 1 - masked_mean(static * warped, mask) / ops.sqrt(variances)


@_register
def lncc(static, warped, *, mask=None, window=9, floor=0.0):
    r"""Return one minus the squared normalised cross-correlation of small windows.

    It is insensitive to contrast that varies slowly over the image.

    Parameters
    ----------
    static, warped : tensor, shape (batch, *spatial, channels)
    mask : tensor, shape (batch, *spatial, 1), optional
        Voxels outside of the mask are treated like those beyond the border.
    window : int, optional
        Width of the windows in voxels along each axis, an odd number. Along an axis
        with fewer voxels it is reduced to the largest odd number that fits.
    floor : float, optional
        Number that is added to the variance of each window, as a fraction of the mean
        variance of all windows of the image. Where there is little but noise, the
        correlation is then low, and changes little.

    Returns
    -------
    loss : tensor, shape (batch,)
        From 0 to 1, averaged over the windows around all voxels and over channels.

    Raises
    ------
    ValueError
        If the window is not odd, or larger than the longest axis, or if ``floor`` is
        negative.

    Notes
    -----
    As in VoxelMorph :footcite:p:`Balakrishnan2018`: voxels beyond the border are 0, and
    :math:`10^{-5}` is added to the product of the two sums of squares.

    References
    ----------
    .. footbibliography::
    """
    static, warped, mask = check_image_pair(static, warped, mask)
    check_number("floor", floor, or_zero=True)
    means, epsilon = local_means(static, warped, mask, window)
    floors = [epsilon * 0] * 2
    if floor:
        a, b, aa, bb, _ = means
        floors = [
            _floor(m, squares, mask, float(floor)) for m, squares in ((a, aa), (b, bb))
        ]
    return 1 - masked_mean(correlation_of_means(*means, *floors, epsilon), mask)


@_register
def mi(static, warped, *, mask=None, bins=16):
    r"""Return the negative mutual information.

    It requires only that the intensities of one image predict those of the other, and
    is therefore suited to images of different contrast.

    Parameters
    ----------
    static, warped : tensor, shape (batch, *spatial, channels)
        In the range from 0 to 1.
    mask : tensor, shape (batch, *spatial, 1), optional
    bins : int, optional
        Number of bins, evenly spaced from 0 to 1; from 2 to 65536.

    Returns
    -------
    loss : tensor, shape (batch,)
        Mean over the channels, in nats, from -log(bins) to 0.

    Notes
    -----
    Parzen windows as in :footcite:t:`Guo2019`: each voxel is distributed over the bins
    in proportion to a Gaussian with a standard deviation of half the width of a bin.
    This takes memory for ``bins`` values per voxel and image.

    References
    ----------
    .. footbibliography::
    """
    static, warped, mask = check_image_pair(static, warped, mask)
    check_integer("bins", bins, lowest=2, highest=MAX_BINS)
    return _negative_mutual_information(static, warped, mask, int(bins))


def local_means(static, warped, mask, window):
    """Return what the correlation of the windows around each voxel needs.

    Parameters
    ----------
    static, warped, mask, window
        As for :func:`lncc`; the first three are tensors of float32.

    Returns
    -------
    means : list of tensor, shape (batch, *spatial, channels)
        Means over windows of both images, of both squares, and of the product.
    epsilon : tensor
        Number that is added to the product of the variances.
    """
    check_integer("window", window, lowest=3)
    sizes = [size or window for size in static.shape[1:-1]]
    if window % 2 == 0 or window > max(sizes):
        raise ValueError(
            f"Expected window to be odd and no larger than the image, whose longest "
            f"axis has {max(sizes)} voxels. Received window={window}."
        )
    windows = tuple(min(int(window), size - 1 + size % 2) for size in sizes)
    if mask is not None:
        static, warped = static * mask, warped * mask
    # Each product is averaged by itself: its memory is small and can be reused.
    means = [
        _box_mean(x, windows)
        for x in (static, warped, static * static, warped * warped, static * warped)
    ]
    return means, ops.convert_to_tensor(1e-5 / prod(windows) ** 2, dtype="float32")


@self_adjoint
def _box_mean(x, windows):
    """Average over a window around each voxel, with zeros beyond the border."""
    margins = tuple(window // 2 for window in windows)
    return moving_average(_surround_by_zeros(x, margins), windows)


_surround_by_zeros = compiled(surround_by_zeros)


@compiled
def _floor(mean, squares, mask, fraction):
    """Return a fraction of the mean variance of windows, (batch, 1, ..., channels)."""
    variance = ops.stop_gradient(ops.maximum(squares - mean * mean, 0))
    axes = tuple(range(1, len(mean.shape) - 1))
    if mask is None:
        return fraction * ops.mean(variance, axis=axes, keepdims=True)
    total = ops.sum(variance * mask, axis=axes, keepdims=True)
    number = ops.sum(mask, axis=axes, keepdims=True)
    return fraction * total / ops.maximum(number, EPSILON)


def _correlation(a, b, aa, bb, ab, a_floor, b_floor, epsilon):
    variances = (
        ops.maximum(aa - a * a, 0) + a_floor,
        ops.maximum(bb - b * b, 0) + b_floor,
    )
    return ops.square(ab - a * b) / (variances[0] * variances[1] + epsilon)


correlation_of_means = recomputed(_correlation, constants=3)


@compiled
def _negative_mutual_information(static, warped, mask, bins):
    a, b = _fractions_of_bins(static, bins), _fractions_of_bins(warped, bins)
    if mask is None:
        weights = ops.ones_like(static[..., :1])
    else:
        weights = ops.cast(mask, "float32")
    weights = ops.reshape(weights, (ops.shape(weights)[0], -1, 1, 1))
    weights = weights / ops.maximum(ops.sum(weights, 1, keepdims=True), EPSILON)
    # A batch of one is repeated, which a product of matrices would not do.
    a = a * weights * ops.ones_like(b[:, :1, :1, :1])
    b = b * ops.ones_like(a[:, :1, :1, :1])
    joint = ops.einsum("bnci,bncj->bcij", a, b)
    independent = ops.sum(joint, 3, keepdims=True) * ops.sum(joint, 2, keepdims=True)
    epsilon = 1e-7
    information = joint * ops.log(joint / (independent + epsilon) + epsilon)
    return -ops.mean(ops.sum(information, axis=(2, 3)), axis=1)


def _fractions_of_bins(image, bins):
    """Return the fractions of voxels in bins, shape (batch, voxels, channels, bins)."""
    centers = ops.linspace(0.0, 1.0, bins, dtype="float32")
    sigma = 0.5 / (bins - 1)
    image = ops.cast(image, "float32")
    image = ops.reshape(image, (ops.shape(image)[0], -1, image.shape[-1], 1))
    return ops.softmax(-ops.square((image - centers) / sigma) / 2, axis=-1)
