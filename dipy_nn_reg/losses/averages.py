"""Averages of tensors: over a mask, and over a window around each voxel."""

from keras import ops

from dipy_nn_reg.backend import compiled

# Added to variances and to the size of a mask: keeps the correlation of a constant
# image finite, and at 0.
EPSILON = 1e-10


def masked_mean(x, mask, *, keepdims=False):
    """Average over all but the batch, and over the mask if there is one."""
    axes = tuple(range(1, len(x.shape)))
    if mask is None:
        return ops.mean(x, axis=axes, keepdims=keepdims)
    weights = ops.broadcast_to(mask, ops.shape(x))
    total = ops.sum(weights, axis=axes, keepdims=keepdims)
    # A mask that misses the image after a warp weighs nothing: 0, not NaN.
    total = ops.maximum(total, EPSILON)
    return ops.sum(x * weights, axis=axes, keepdims=keepdims) / total


def moving_average(x, windows):
    """Average over a window; it shortens each axis by its width less one."""
    for axis, window in enumerate(windows):
        x = _average_along(x, axis, window)
    return x


# Each axis is compiled by itself: XLA would merge them, and average anew what
# neighbours have in common.
@compiled
def _average_along(x, axis, window):
    pool = tuple(window if a == axis else 1 for a in range(len(x.shape) - 2))
    return ops.average_pool(x, pool, strides=1, data_format="channels_last")
