"""Layers of intensities: rescaling to a common range, estimate of the background."""

import keras
from keras import ops

from dipy_nn_reg.backend import compiled

# Largest number of voxels per axis that are sampled for percentiles and medians, in 2D
# and in 3D.
MAX_VOXELS_PER_AXIS = {2: 256, 3: 48}
# Fraction of voxels below the percentile that becomes 0, and above the one that becomes
# 1.
_OUTLIERS = 0.001

_register = keras.saving.register_keras_serializable(package="dipy_nn_reg")


@_register
class RescaleIntensity(keras.layers.Layer):
    """Rescale each image and channel to the range from 0 to 1, and clip outliers.

    Input and output: shape (batch, *spatial, channels). The 0.1 and 99.9 percentiles
    become 0 and 1, and values beyond them are clipped. The percentiles of large images
    are those of voxels spread evenly over them. If the percentiles are equal, the
    lowest and the highest value are used instead. A constant channel becomes 0.
    """

    def call(self, images):
        return rescale(images, *intensity_range(images))

    def compute_output_shape(self, input_shape):
        return input_shape


@_register
class Background(keras.layers.Layer):
    """Estimate the background of images.

    Input: shape (batch, *spatial, channels). Output: shape (batch, channels): the
    median of the medians of the faces of each image, as of
    :func:`~dipy_nn_reg.intensities.estimate_background`. The medians of large faces are
    those of voxels spread evenly over them.
    """

    def call(self, images):
        max_size = MAX_VOXELS_PER_AXIS[len(images.shape) - 2]
        every = [slice(None, None, -(-n // max_size)) for n in ops.shape(images)[1:-1]]
        medians = []
        for axis in range(len(every)):
            for end in (slice(None, 1), slice(-1, None)):
                face = [*every[:axis], end, *every[axis + 1 :]]
                values = images[(slice(None), *face)]
                shape = (ops.shape(images)[0], -1, images.shape[-1])
                medians.append(_lower_median(ops.reshape(values, shape)))
        return _lower_median(ops.stack(medians, axis=1))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1])


def intensity_range(images):
    """Return the range of images that :class:`RescaleIntensity` maps to [0, 1].

    Parameters
    ----------
    images : tensor, shape (batch, *spatial, channels)

    Returns
    -------
    low, high : tensor, shape (batch, 1, ..., channels)
        The 0.1 and 99.9 percentiles; the lowest and the highest value where these are
        equal.
    """
    channels = images.shape[-1]
    max_size = MAX_VOXELS_PER_AXIS[len(images.shape) - 2]
    sizes = ops.shape(images)[1:-1]
    every = [slice(None, None, -(-size // max_size)) for size in sizes]
    sample = images[(slice(None), *every)]
    sample = ops.reshape(sample, (ops.shape(images)[0], -1, channels))
    sample = ops.moveaxis(sample, 1, -1)
    shape = (-1, *[1] * len(sizes), channels)
    low, high = (ops.reshape(end, shape) for end in (-_high(-sample), _high(sample)))
    narrow = high <= low
    return ops.cond(
        ops.any(narrow),
        lambda: _extremes_where(narrow, images, low, high),
        lambda: (low, high),
    )


@compiled
def rescale(images, low, high):
    """Rescale the range from ``low`` to ``high`` to [0, 1], and clip other values."""
    span = ops.where(high > low, high - low, ops.ones_like(low))
    return ops.clip((images - low) / span, 0, 1)


def _high(values):
    """Return the 99.9th percentile along the last axis.

    It is interpolated as by ``ops.quantile``, which sorts all values and takes 15 times
    as long.
    """
    n = ops.shape(values)[-1]
    rank = _OUTLIERS * ops.cast(n - 1, "float32")
    max_values = max(size**ndim for ndim, size in MAX_VOXELS_PER_AXIS.items())
    max_k = int(_OUTLIERS * max_values) + 2
    k = min(n, max_k) if isinstance(n, int) else ops.minimum(n, max_k)
    highest, _ = ops.top_k(values, k)
    weights = ops.maximum(1 - ops.abs(ops.arange(0, k, dtype="float32") - rank), 0)
    return ops.sum(highest * weights, axis=-1)


def _lower_median(values):
    """Return the median along the second axis: of an even number, the lower one."""
    middle = (ops.shape(values)[1] - 1) // 2
    return ops.take(ops.sort(values, axis=1), middle, axis=1)


def _extremes_where(narrow, images, low, high):
    """Replace percentiles that are equal by the lowest and the highest value."""
    axes = tuple(range(1, len(images.shape) - 1))
    lowest, highest = (f(images, axis=axes, keepdims=True) for f in (ops.min, ops.max))
    return ops.where(narrow, lowest, low), ops.where(narrow, highest, high)
