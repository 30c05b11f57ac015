"""Layers of features: cropping, local correlation, and summary by moments."""

from itertools import product

import keras
from keras import ops

from dipy_nn_reg.backend import compiled
from dipy_nn_reg.transform.sampling import voxel_grid

_register = keras.saving.register_keras_serializable(package="dipy_nn_reg")


@_register
class CutLike(keras.layers.Layer):
    """Crop features to the size of a reference.

    A strided convolution reduces n voxels to ceil(n / 2). Features that are doubled and
    cropped have their original size again, also an odd one, so that no image needs
    padding.

    Inputs: features, and a reference of shape (batch, *spatial, any), which is larger
    along no axis. Output: shape (batch, *spatial, channels).
    """

    def call(self, features, reference):
        sizes = ops.shape(reference)[1:-1]
        return features[(slice(None), *[slice(0, size) for size in sizes])]

    def compute_output_shape(self, features_shape, reference_shape):
        return (*reference_shape[:-1], features_shape[-1])


@_register
class Correlate(keras.layers.Layer):
    """Correlate features with those of the neighbours of each voxel.

    Inputs: two features of one shape (batch, *spatial, channels). Output: shape
    (batch, *spatial, 3**ndim): for each offset of -1, 0 or 1 voxels along each axis,
    the mean over the channels of the products of the first features and the second
    ones at that offset, which are 0 outside of the image.
    """

    def call(self, features, others):
        return _correlate(features, others)

    def compute_output_shape(self, features_shape, others_shape):
        return (*features_shape[:-1], 3 ** (len(features_shape) - 2))


@compiled
def _correlate(features, others):
    sizes = ops.shape(features)[1:-1]
    padded = ops.pad(others, [(0, 0), *[(1, 1)] * len(sizes), (0, 0)])
    products = []
    for offsets in product(range(3), repeat=len(sizes)):
        near = [slice(offset, offset + size) for offset, size in zip(offsets, sizes)]
        products.append(ops.mean(features * padded[(slice(None), *near)], axis=-1))
    return ops.stack(products, axis=-1)


@_register
class Moments(keras.layers.Layer):
    """Summarise features of any size by their means and first moments.

    Input: shape (batch, *spatial, channels). Output: shape
    (batch, (1 + ndim) * channels): the mean of each channel, and the mean of its
    product with the position along each axis. Positions are 0 at the centre, and the
    longest axis is 2 units long.
    """

    def call(self, features):
        sizes = ops.shape(features)[1:-1]
        axes = tuple(range(1, len(sizes) + 1))
        grid = voxel_grid(sizes)
        sizes = ops.cast(ops.convert_to_tensor(sizes), "float32")
        positions = (2 * grid - (sizes - 1)) / ops.max(sizes)
        weights = [1.0, *(positions[..., axis, None] for axis in range(len(axes)))]
        moments = [ops.mean(features * weight, axis=axes) for weight in weights]
        return ops.concatenate(moments, axis=-1)

    def compute_output_shape(self, input_shape):
        ndim = len(input_shape) - 2
        return (input_shape[0], (1 + ndim) * input_shape[-1])
