"""Prediction by the pretrained pyramid, from which a descent can start."""

from functools import lru_cache
from math import prod

import keras
from keras import ops

from dipy_nn_reg.backend import JIT_COMPILE, layers_in
from dipy_nn_reg.mapping.parts import Parts, Prediction
from dipy_nn_reg.networks.pretrained import pretrained_weights
from dipy_nn_reg.networks.pyramid import pyramid
from dipy_nn_reg.transform.functions import integrate
from dipy_nn_reg.transform.kinds import choose_field_stride
from dipy_nn_reg.transform.layers import INTEGRATION_STEPS, RescaleIntensity
from dipy_nn_reg.transform.pyramid import enlarge, shrink

# The model has learned from images of 32 to 96 voxels along an axis. Those with more
# voxels than a square or a cube of the first size, by rank, are shrunk, unless an axis
# became shorter than the second one.
_LARGEST, _SHORTEST = {2: 256, 3: 128}, 32


def predict_pretrained(pair):
    """Predict the field between two images on one grid.

    Parameters
    ----------
    pair : dipy_nn_reg.mapping.pair_on_grid.PairOnGrid
        Images of one channel.

    Returns
    -------
    prediction : Prediction
    """
    *shape, _ = pair.static.shape
    factor = _factor(shape)
    images = {
        name: ops.convert_to_numpy(shrink(getattr(pair, name)[None], factor))
        for name in ("moving", "static")
    }
    velocity = _network(len(shape)).predict_on_batch(images)
    stride = factor * _stride(len(shape))

    def displace(velocity):
        displacement = integrate(velocity, steps=INTEGRATION_STEPS)
        enlarged = enlarge(displacement, pair.static[None], stride)
        return ops.convert_to_numpy(enlarged)[0]

    parts = Parts(displace(velocity), lambda: displace(-velocity))
    return Prediction(parts, velocity, stride)


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
def _network(ndim):
    """Return the network from two images to the velocity."""
    weights = pretrained_weights(ndim)
    shape = (*[None] * ndim, 1)
    with layers_in("float32"):
        images = {n: keras.Input(shape, name=n) for n in ("moving", "static")}
        rescaled = (RescaleIntensity()(image) for image in images.values())
        velocity = pyramid(
            *rescaled, values=ndim, spacing=_stride(ndim), seed=lambda: 0
        )
        network = keras.Model(images, velocity)
        network.compile(jit_compile=JIT_COMPILE)
    network.set_weights(weights)
    return network
