"""Pyramid of the features of each image, which are compared from coarse to fine."""

import keras
from keras import initializers, layers

from dipy_nn_reg.networks.blocks import FLOAT, convolve, read_off
from dipy_nn_reg.transform.layers import (
    Correlate,
    EnlargeDisplacement,
    IntegrateVelocity,
    Warp,
)

# Numbers of filters of each level, the finest one first. Each level has half the
# resolution of the one before it.
ENCODER = (16, 32, 64, 64, 64)
DECODER = (32, 64, 64, 64, 64)
# Finest voxels by which a prediction of 1 moves. With a larger gain, the first steps of
# a training would throw an image out of its frame: features are normalised, not small.
GAIN = 0.1
# Number of features of the smoothness, from which each block is scaled and shifted.
STYLE = 16


def pyramid(moving, static, *, values, spacing, seed, dial=None):
    """Connect a pyramid that refines a velocity from coarse to fine.

    One encoder, whose weights are shared, computes features of each image at five
    resolutions. From the coarsest one on, the features of the moving image are warped
    by the velocity that was found so far, and compared with those of the static image:
    by their correlation within one voxel, and by convolutions. What these predict is
    added to the velocity. The layers that predict it start at zero, so an untrained
    network predicts no motion.

    Parameters
    ----------
    moving, static, values, spacing, seed
        See :mod:`dipy_nn_reg.networks`. The images have full resolution; there are as
        many values as spatial axes.
    dial : KerasTensor, shape (batch, 1), optional
        Smoothness from 0 to 1. Each block scales and shifts its features by it, in
        place of weights of its own.

    Returns
    -------
    values : KerasTensor
        Velocity in voxels of its own grid.

    Notes
    -----
    Two streams, local correlation and the warping of features are those of the
    networks that https://github.com/HengjieLiu/Unsupervised-DL-DIR-Revisited compares.
    """
    style = None
    if dial is not None:
        kernel = initializers.HeNormal(seed=seed())
        style = layers.Dense(STYLE, "relu", kernel_initializer=kernel, dtype=FLOAT)
        style = style(dial)
    encode = _encoder(moving, spacing, seed=seed, style=style)
    rest = [] if style is None else [style]
    levels = zip(encode([moving, *rest]), encode([static, *rest]), DECODER)
    velocity = None
    for level, (moving, static, filters) in reversed(list(enumerate(levels))):
        found = []
        if velocity is not None:
            velocity = EnlargeDisplacement(stride=2, dtype=FLOAT)(velocity, static)
            displacement = IntegrateVelocity(dtype=FLOAT)(velocity)
            moving = Warp(dtype=FLOAT)(moving, displacement)
            found = [velocity]
        x = layers.Concatenate()([static, moving, Correlate()(static, moving), *found])
        x = _block(x, filters, seed=seed, style=style)
        x = layers.Add()([x, _block(x, filters, seed=seed, style=style)])
        step = read_off(x, values, spacing=1, seed=seed)
        step = layers.Rescaling(GAIN / 2**level, dtype=FLOAT)(step)
        velocity = layers.Add(dtype=FLOAT)([step, *found]) if found else step
    return velocity


def _encoder(image, spacing, *, seed, style):
    """Return a model from an image, and the style, to its features at each level."""
    x = keras.Input(image.shape[1:])
    inputs, levels = [x], []
    if style is not None:
        style = keras.Input(style.shape[1:])
        inputs.append(style)
    for filters, strides in zip(ENCODER, (spacing, 2, 2, 2, 2)):
        x = _block(x, filters, seed=seed, style=style, strides=strides)
        x = _block(x, filters, seed=seed, style=style)
        levels.append(x)
    return keras.Model(inputs, levels)


def _block(x, filters, *, seed, style, strides=1):
    """Convolve; normalise each image and channel; scale, shift; apply a leaky ReLU."""
    kernel = initializers.HeNormal(seed=seed())
    x = convolve(x, filters, initializer=kernel, strides=strides, use_bias=False)
    own = style is None
    x = layers.GroupNormalization(groups=-1, epsilon=1e-5, center=own, scale=own)(x)
    if style is not None:
        change = [layers.Dense(filters, kernel_initializer="zeros") for _ in range(2)]
        one = (1,) * (len(x.shape) - 2)
        scale, shift = (layers.Reshape((*one, filters))(c(style)) for c in change)
        x = layers.Add()([x, layers.Multiply()([x, scale]), shift])
    return layers.LeakyReLU(negative_slope=0.2)(x)
