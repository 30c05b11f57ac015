"""Prediction by the pretrained pyramid, from which a descent can start."""

from functools import lru_cache

import keras
from keras import ops

from dipy_nn_reg.backend import JIT_COMPILE, layers_in
from dipy_nn_reg.mapping.parts import Parts, Prediction
from dipy_nn_reg.networks.pretrained import pretrained_weights
from dipy_nn_reg.networks.pyramid import pyramid
from dipy_nn_reg.transform.functions import integrate
from dipy_nn_reg.transform.kinds import choose_field_stride
from dipy_nn_reg.transform.layers import INTEGRATION_STEPS, RescaleIntensity
from dipy_nn_reg.transform.pyramid import enlarge


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
    images = {n: getattr(pair, n)[None] for n in ("moving", "static")}
    ndim = pair.static.ndim - 1
    velocity = _network(ndim).predict_on_batch(images)

    def displace(velocity):
        displacement = integrate(velocity, steps=INTEGRATION_STEPS)
        enlarged = enlarge(displacement, images["static"], _stride(ndim))
        return ops.convert_to_numpy(enlarged)[0]

    parts = Parts(displace(velocity), lambda: displace(-velocity))
    return Prediction(parts, velocity, _stride(ndim))


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
