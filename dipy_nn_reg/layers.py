"""Keras layers over the functions of :mod:`dipy_nn_reg.transform`."""

import keras
from keras import ops

from dipy_nn_reg.transform import integrate, warp

_register = keras.saving.register_keras_serializable(package="dipy_nn_reg")


@_register
class RescaleIntensity(keras.layers.Layer):
    """Bring each image and channel to the range from 0 to 1.

    Input and output: shape (batch, *spatial, channels). A constant channel
    becomes 0.
    """

    def call(self, images):
        axes = tuple(range(1, len(images.shape) - 1))
        lowest = ops.min(images, axis=axes, keepdims=True)
        span = ops.max(images, axis=axes, keepdims=True) - lowest
        return (images - lowest) / ops.where(span > 0, span, ops.ones_like(span))

    def compute_output_shape(self, input_shape):
        return input_shape


@_register
class UpsampleLike(keras.layers.Layer):
    """Double the grid of features and cut it to the size of a reference.

    A strided convolution takes n voxels to ceil(n / 2); this is the way back for
    any n, odd ones included, so that no image needs padding.

    Inputs: features with ceil(n / 2) voxels for each n of the reference, and the
    reference, shape (batch, *spatial, any). Output: shape (batch, *spatial, channels).
    """

    def call(self, features, reference):
        spatial = ops.shape(reference)[1:-1]
        for axis in range(1, len(spatial) + 1):
            features = ops.repeat(features, 2, axis=axis)
        return features[(slice(None), *[slice(0, size) for size in spatial])]

    def compute_output_shape(self, features_shape, reference_shape):
        return (*reference_shape[:-1], features_shape[-1])


@_register
class Warp(keras.layers.Layer):
    """Warp images by displacements, see :func:`~dipy_nn_reg.transform.warp`.

    Inputs: images, shape (batch, *spatial, channels), and displacements in voxels,
    shape (batch, *spatial, ndim). Output: shape (batch, *spatial, channels).

    Parameters
    ----------
    interpolation : {"linear", "nearest"}, optional
    """

    def __init__(self, *, interpolation="linear", **kwargs):
        super().__init__(**kwargs)
        self.interpolation = interpolation

    def call(self, images, displacement):
        return warp(images, displacement, interpolation=self.interpolation)

    def compute_output_shape(self, images_shape, displacement_shape):
        return (*displacement_shape[:-1], images_shape[-1])

    def get_config(self):
        return {**super().get_config(), "interpolation": self.interpolation}


@_register
class IntegrateVelocity(keras.layers.Layer):
    """Turn velocities into displacements, see
    :func:`~dipy_nn_reg.transform.integrate`.

    Input and output: shape (batch, *spatial, ndim), in voxels.

    Parameters
    ----------
    steps : int, optional
        Number of squarings.
    """

    def __init__(self, *, steps=5, **kwargs):
        super().__init__(**kwargs)
        self.steps = steps

    def call(self, velocity):
        return integrate(velocity, steps=self.steps)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "steps": self.steps}
