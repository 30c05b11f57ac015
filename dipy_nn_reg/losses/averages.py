"""Averages of tensors: over a mask, and over a window around each voxel."""

from keras import ops

from dipy_nn_reg.backend import compiled

# Number added to variances, and smallest size of a mask: the correlation of a constant
# image is then 0 and not NaN.
EPSILON = 1e-10


def masked_mean(x, mask, *, keepdims=False):
    """Return the mean of each item of a batch, weighted by a mask.

    Parameters
    ----------
    x : tensor, shape (batch, ..., channels)
    mask : tensor or None
        Weights; broadcasts to ``x``.
    keepdims : bool, optional
        Keep the axes with size 1.

    Returns
    -------
    mean : tensor, shape (batch,) or (batch, 1, ...)
    """
    axes = tuple(range(1, len(x.shape)))
    if mask is None:
        return ops.mean(x, axis=axes, keepdims=keepdims)
    weights = ops.broadcast_to(mask, ops.shape(x))
    total = ops.sum(weights, axis=axes, keepdims=keepdims)
    # A warped mask can be 0 everywhere. The mean is then 0, not NaN.
    total = ops.maximum(total, EPSILON)
    return ops.sum(x * weights, axis=axes, keepdims=keepdims) / total


def moving_average(x, windows):
    """Return averages over all windows inside of an image.

    Parameters
    ----------
    x : tensor, shape (batch, *spatial, channels)
    windows : sequence of int
        Width of the window along each axis, in voxels.

    Returns
    -------
    averages : tensor, shape (batch, *spatial, channels)
        Each axis is shorter by the width of the window minus one.
    """
    for axis, window in enumerate(windows):
        x = _average_along(x, axis, window)
    return x


# Each axis is compiled by itself. XLA would fuse them, and compute again the sums that
# neighbouring windows share.
@compiled
def _average_along(x, axis, window):
    pool = tuple(window if a == axis else 1 for a in range(len(x.shape) - 2))
    return ops.average_pool(x, pool, strides=1, data_format="channels_last")
