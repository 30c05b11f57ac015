import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import transform
from dipy_nn_reg.layers import (
    IntegrateVelocity,
    RescaleIntensity,
    UpsampleLike,
    Warp,
)

CASES = {
    "rescale": (RescaleIntensity(), [3]),
    "upsample": (UpsampleLike(), [3, 2]),
    "warp": (Warp(), [1, None]),
    "warp nearest": (Warp(interpolation="nearest"), [3, None]),
    "integrate": (IntegrateVelocity(steps=3), [None]),
}


def make_inputs(name, ndim, rng):
    """Return arrays for a case; None in its channels stands for a field's."""
    shape = (7, 8, 5)[:ndim]
    arrays = [
        rng.normal(size=(2, *shape, c or ndim)).astype(np.float32)
        for c in CASES[name][1]
    ]
    if name == "upsample":
        arrays[0] = arrays[0][(slice(None), *[slice((n + 1) // 2) for n in shape])]
    return arrays


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("name", CASES)
def test_layer_contract(name, ndim, rng):
    """Same result in a graph of any size, and from the configuration alone."""
    layer = CASES[name][0]
    arrays = make_inputs(name, ndim, rng)
    inputs = [keras.Input((*[None] * ndim, a.shape[-1])) for a in arrays]
    copy = type(layer).from_config(layer.get_config())
    model = keras.Model(inputs, copy(*inputs))
    direct = keras.ops.convert_to_numpy(layer(*arrays))
    npt.assert_allclose(model.predict_on_batch(arrays), direct, atol=1e-6)
    assert direct.shape == copy.compute_output_shape(*[a.shape for a in arrays])


@pytest.mark.parametrize("ndim", [2, 3])
def test_layers_do_as_the_functions(ndim, rng):
    image, field = make_inputs("warp", ndim, rng)
    for interpolation in ("linear", "nearest"):
        found = keras.ops.convert_to_numpy(
            Warp(interpolation=interpolation)(image, field)
        )
        expected = transform.warp(image, field, interpolation=interpolation)
        npt.assert_array_equal(found, expected)
    found = keras.ops.convert_to_numpy(IntegrateVelocity(steps=4)(field))
    npt.assert_array_equal(found, transform.integrate(field, steps=4))


def test_rescale_each_image_and_channel():
    images = np.zeros((2, 2, 2, 2), np.float32)
    images[0, ..., 0] = [[-5, 0], [5, 15]]
    images[1, ..., 1] = 7
    rescaled = keras.ops.convert_to_numpy(RescaleIntensity()(images))
    npt.assert_allclose(rescaled[0, ..., 0], [[0, 0.25], [0.5, 1]])
    npt.assert_array_equal(rescaled[1], 0)


@pytest.mark.parametrize("size", [4, 5])
def test_upsample_repeats_and_cuts(size):
    features = np.arange((size + 1) // 2, dtype=np.float32)[None, :, None, None]
    reference = np.zeros((1, size, 1, 1), np.float32)
    upsampled = keras.ops.convert_to_numpy(UpsampleLike()(features, reference))
    npt.assert_array_equal(upsampled[0, :, 0, 0], np.arange(size) // 2)
