import keras
import numpy as np
import pytest

from dipy_nn_reg.networks import NETWORKS


@pytest.fixture
def build():
    """Return a function that builds a network of a name."""

    def build(name, *, ndim, channels=1, values=2, spacing=1, seed=0):
        rng = np.random.default_rng(seed)
        inputs = [keras.Input((*[None] * ndim, channels)) for _ in range(2)]
        outputs = NETWORKS[name](
            *inputs,
            values=values,
            spacing=spacing,
            seed=lambda: int(rng.integers(2**31)),
        )
        return keras.Model(inputs, outputs)

    return build


@pytest.fixture
def predict(build, rng):
    """Return a function that predicts from random images by a new network."""

    def predict(name, shape, *, values=3, **options):
        network = build(name, ndim=len(shape), channels=2, values=values, **options)
        return network.predict_on_batch(list(rng.random((2, 1, *shape, 2), "float32")))

    return predict


@pytest.fixture
def count_parameters(build):
    """Return a function that counts the trainable parameters of a network."""

    def count(name, *, ndim, spacing=1):
        network = build(name, ndim=ndim, values=ndim, spacing=spacing)
        return sum(np.prod(w.shape) for w in network.trainable_weights)

    return count
