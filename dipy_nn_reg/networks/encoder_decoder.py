"""The network of the proof of concept."""

from keras import initializers, layers

from dipy_nn_reg.networks.blocks import MOMENTUM, ranked, read_off
from dipy_nn_reg.transform.layers import CutLike


def encoder_decoder(moving, static, *, values, spacing, seed):
    """Connect the encoder and decoder of the proof of concept, without skips.

    Parameters
    ----------
    moving, static, values, spacing, seed
        See :mod:`dipy_nn_reg.networks`.

    Returns
    -------
    values : KerasTensor

    Notes
    -----
    As in https://github.com/dipy/dipy/pull/2137 (2020): 231,650 trainable parameters in
    2D. It differs in two ways. The values are in voxels and the last layer starts at
    zero, there they were in units of half the image and started at random; and images
    of any size are taken, there they were brought to 32 x 32.
    """
    x = layers.Concatenate()([moving, static])
    full = x
    x = half = _convolve(x, 32, seed=seed, strides=2)
    x = _convolve(x, 32, seed=seed)
    x = quarter = ranked(x, "MaxPooling")(2, padding="same")(x)
    x = _convolve(_convolve(x, 64, seed=seed), 64, seed=seed)
    x = ranked(x, "MaxPooling")(2, padding="same")(x)
    x = _convolve(x, 128, seed=seed)
    for filters, like in ((64, quarter), (32, half), (16, full)):
        x = _double(x, filters, like, seed=seed)
        x = _convolve(x, filters, seed=seed)
    return read_off(x, values, spacing=spacing, seed=seed, kernel_size=1)


def _convolve(x, filters, *, seed, strides=1):
    kernel = initializers.GlorotUniform(seed=seed())
    convolution = ranked(x, "Conv")(
        filters, 3, strides=strides, padding="same", kernel_initializer=kernel
    )
    return layers.BatchNormalization(momentum=MOMENTUM)(layers.ReLU()(convolution(x)))


def _double(x, filters, like, *, seed):
    kernel = initializers.GlorotUniform(seed=seed())
    convolution = ranked(x, "Conv{}Transpose")(
        filters, 2, strides=2, kernel_initializer=kernel
    )
    return CutLike()(convolution(x), like)
