"""Prediction by the pretrained pyramid, from which a descent can start."""

from functools import lru_cache
from math import prod

import keras
from keras import ops

from dipy_nn_reg.backend import JIT_COMPILE, layers_in
from dipy_nn_reg.mapping.inversion import invert_displacement
from dipy_nn_reg.mapping.parts import Parts, Prediction
from dipy_nn_reg.networks.pretrained import PASSES, pretrained_weights
from dipy_nn_reg.networks.pyramid import pyramid
from dipy_nn_reg.transform.functions import compose, integrate, warp
from dipy_nn_reg.transform.kinds import choose_field_stride
from dipy_nn_reg.transform.layers import (
    INTEGRATION_STEPS,
    Background,
    RescaleIntensity,
)
from dipy_nn_reg.transform.pyramid import enlarge, shrink

# The model has learned from images of 32 to 96 voxels along an axis. Those with more
# voxels than a square or a cube of the first size, by rank, are shrunk, unless an axis
# became shorter than the second one.
_LARGEST, _SHORTEST = {2: 256, 3: 128}, 32


def predict_pretrained(options, pair):
    """Predict the field between two images on one grid.

    Parameters
    ----------
    options : dipy_nn_reg.checks.Pretrained
    pair : dipy_nn_reg.mapping.pair_on_grid.PairOnGrid
        Images of one channel.

    Returns
    -------
    prediction : Prediction
    """
    *shape, _ = pair.static.shape
    factor, ndim = _factor(shape), len(shape)
    passes = PASSES[ndim] if options.passes is None else options.passes
    moving, static = (
        RescaleIntensity()(shrink(image[None], factor))
        for image in (pair.moving, pair.static)
    )

    def in_full(displacement):
        enlarged = enlarge(displacement, pair.static[None], factor)
        return ops.convert_to_numpy(enlarged)[0]

    def invert():
        if passes > 1:
            return invert_displacement(displacement)
        return in_full(_displace(-velocity, static))

    network = _network(ndim, options.smoothness)
    velocity, displacement = _predict_in_passes(network, moving, static, passes)
    displacement = in_full(displacement)
    return Prediction(Parts(displacement, invert), velocity, factor * _stride(ndim))


def _predict_in_passes(network, moving, static, passes):
    """Return the sum of the velocities and the displacement of all passes."""
    fill = Background()(moving)

    def predict(moving):
        images = {"moving": moving, "static": static}
        velocity = network.predict_on_batch(images)
        return velocity, _displace(velocity, static)

    velocity, displacement = predict(moving)
    for _ in range(passes - 1):
        more, step = predict(warp(moving, displacement, fill=fill))
        velocity, displacement = velocity + more, compose(displacement, step)
    return velocity, displacement


def _displace(velocity, static):
    """Integrate a velocity, and interpolate the displacement on the grid of images."""
    displacement = integrate(velocity, steps=INTEGRATION_STEPS)
    return enlarge(displacement, static, _stride(velocity.shape[-1]))


def _factor(shape):
    """Return the power of two by which images are shrunk for the network."""
    factor = 1
    while (
        prod(n / factor for n in shape) > _LARGEST[len(shape)] ** len(shape)
        and min(shape) // (2 * factor) >= _SHORTEST
    ):
        factor *= 2
    return factor


def _stride(ndim):
    return choose_field_stride("velocity", "pyramid", ndim)


@lru_cache(maxsize=2)
def _network(ndim, smoothness):
    """Return the network from two images between 0 and 1 to the velocity."""
    weights = pretrained_weights(ndim, smoothness)
    shape = (*[None] * ndim, 1)
    with layers_in("float32"):
        images = {n: keras.Input(shape, name=n) for n in ("moving", "static")}
        velocity = pyramid(
            *images.values(), values=ndim, spacing=_stride(ndim), seed=lambda: 0
        )
        network = keras.Model(images, velocity)
        network.compile(jit_compile=JIT_COMPILE)
    network.set_weights(weights)
    return network
