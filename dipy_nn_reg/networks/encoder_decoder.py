"""Encoder and decoder without skip connections: the proof of concept of 2020."""

from keras import initializers, layers

from dipy_nn_reg.networks.blocks import MOMENTUM, convolve, ranked, read_off
from dipy_nn_reg.transform.layers import CutLike


def encoder_decoder(moving, static, *, values, spacing, seed):
    """Connect an encoder and a decoder without skip connections.

    Parameters
    ----------
    moving, static, values, spacing, seed
        See :mod:`dipy_nn_reg.networks`.

    Returns
    -------
    values : KerasTensor

    Notes
    -----
    As in https://github.com/dipy/dipy/pull/2137 (2020), with 231,650 trainable
    parameters in 2D. There are two differences. The values are in voxels and the
    weights of the last layer start at zero; in the original the values were in units of
    half the image, and the weights started at random. Images may have any size; in the
    original they were resized to 32 x 32.
    """
    x = layers.Concatenate()([moving, static])
    full = x
    x = half = _convolve_relu_norm(x, 32, seed=seed, strides=2)
    x = _convolve_relu_norm(x, 32, seed=seed)
    x = quarter = ranked(x, "MaxPooling")(2, padding="same")(x)
    x = _convolve_relu_norm(_convolve_relu_norm(x, 64, seed=seed), 64, seed=seed)
    x = ranked(x, "MaxPooling")(2, padding="same")(x)
    x = _convolve_relu_norm(x, 128, seed=seed)
    for filters, like in ((64, quarter), (32, half), (16, full)):
        x = _double(x, filters, like, seed=seed)
        x = _convolve_relu_norm(x, filters, seed=seed)
    return read_off(x, values, spacing=spacing, seed=seed, kernel_size=1)


def _convolve_relu_norm(x, filters, *, seed, strides=1):
    kernel = initializers.GlorotUniform(seed=seed())
    x = layers.ReLU()(convolve(x, filters, initializer=kernel, strides=strides))
    return layers.BatchNormalization(momentum=MOMENTUM)(x)


def _double(x, filters, like, *, seed):
    kernel = initializers.GlorotUniform(seed=seed())
    convolution = ranked(x, "Conv{}Transpose")(
        filters, 2, strides=2, kernel_initializer=kernel
    )
    return CutLike()(convolution(x), like)
