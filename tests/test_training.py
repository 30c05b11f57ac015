import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import metrics
from dipy_nn_reg.training import TRANSFORMS, RegistrationModel
from dipy_nn_reg.transform import integrate, warp

OPTIONS = {
    "input_shape": [12, 13],
    "num_channels": 1,
    "network": "unet",
    "transform": "velocity",
    "loss": "mse",
    "penalty": "gradient",
    "smoothness": 0.5,
    "learning_rate": None,
    "seed": 0,
}


def random_pair(rng, shape=(12, 13)):
    images = rng.random((2, 3, *shape, 1), dtype=np.float32)
    return dict(zip(("moving", "static"), images))


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("shape", [(12, 13), (7, 8, 9)])
def test_outputs_belong_together(transform, shape, rng):
    model = RegistrationModel(
        **OPTIONS | {"transform": transform, "input_shape": list(shape)}
    )
    kernel = model.layers[-3 if transform == "velocity" else -2]
    assert "conv" in kernel.name
    kernel.set_weights([rng.normal(0, 0.1, w.shape) for w in kernel.get_weights()])
    pair = random_pair(rng, shape)
    outputs = model.predict_on_batch(pair)
    low, high = (
        f(pair["moving"], axis=(1, 2, 3)[: len(shape)], keepdims=True)
        for f in (np.min, np.max)
    )
    moving = (pair["moving"] - low) / (high - low)
    assert np.abs(outputs["field"]).max() > 0.1
    expected = outputs["field"]
    if transform == "velocity":
        expected = integrate(expected, steps=5)
    npt.assert_allclose(outputs["displacement"], expected, atol=1e-4)
    expected = warp(moving, outputs["displacement"])
    npt.assert_allclose(outputs["warped"], expected, atol=1e-4)


def test_the_loss_and_what_is_tracked(rng):
    model = RegistrationModel(**OPTIONS)
    static, warped = rng.random((2, 3, 12, 13, 1), dtype=np.float32)
    field = rng.normal(size=(3, 12, 13, 2)).astype(np.float32)
    outputs = {"static": static, "warped": warped, "field": field}
    loss = float(model.compute_loss(y_pred=outputs))
    mse = np.mean((static - warped) ** 2)
    squares = [np.mean(np.diff(field, axis=axis) ** 2) for axis in (1, 2)]
    npt.assert_allclose(loss, mse + 0.5 * np.mean(squares), rtol=1e-5)
    npt.assert_allclose(float(model.penalty.result()), np.mean(squares), rtol=1e-5)
    similarity = np.mean([metrics.ncc(s, w) for s, w in zip(static, warped)])
    npt.assert_allclose(float(model.similarity.result()), similarity, atol=1e-5)


def test_the_configuration_makes_the_same_model(rng):
    model = RegistrationModel(**OPTIONS)
    config = keras.saving.serialize_keras_object(model)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == model.get_config()
    for a, b in zip(model.get_weights(), copy.get_weights()):
        npt.assert_array_equal(a, b)
