"""Estimates of memory of training and prediction."""

import logging
from math import prod

import keras
import numpy as np
import pytest

from dipy_nn_reg import AffineRegistration, DeformableRegistration, memory
from dipy_nn_reg.losses.choices import LOSSES
from dipy_nn_reg.training.memory import memory_to_predict, memory_to_train


@pytest.fixture
def simple():
    """Return a model of two convolutions, of 8 and of 2 channels."""
    image = keras.Input((None, None, 1), name="image")
    x = keras.layers.Conv2D(8, 3, padding="same")(image)
    return keras.Model({"image": image}, {"field": keras.layers.Conv2D(2, 1)(x)})


def test_prediction_holds_tensors_that_are_still_read(simple):
    # The image and 8 channels, or 8 and 2 channels: the image is no longer read.
    expected = 2 * 4 * 20 * 30 * max(1 + 8, 8 + 2)
    assert memory_to_predict(simple, (1, 20, 30, 1)) == expected


def test_training_step_holds_all_tensors(simple):
    simple.options = {"loss": "mse"}
    voxels, weights = 2 * 20 * 30, 9 * 8 + 8 + 8 * 2 + 2
    layers = 4 * voxels * (1 + 8 + 2) + 2 * 4 * voxels * 8
    expected = layers + 28 * weights + 4 * voxels * LOSSES["mse"].values_per_voxel
    assert memory_to_train(simple, (2, 20, 30, 1)) == expected


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("bool", 1), ("int8", 1), ("float16", 2), ("int32", 4), ("float64", 8)]
    + [("bfloat16", 2), ("uint16", 2), ("int64", 8), ("float8_e4m3fn", 1)],
)
def test_layers_of_any_type_have_a_size(dtype, size):
    image = keras.Input((None, None, 1), name="image")
    other = keras.ops.cast(image, dtype)
    model = keras.Model({"image": image}, {"field": other})
    # The image and its copy of another type.
    assert memory_to_predict(model, (1, 20, 30, 1)) == 2 * 20 * 30 * (4 + size)


def test_network_with_conditions_and_float16_trains(rng):
    """Comparisons, as in many activations, make boolean tensors."""
    images = keras.Input((None, None, 2))
    x = keras.layers.Conv2D(4, 3, padding="same", dtype="mixed_float16")(images)
    x = keras.ops.where(x > 0, x, 0.1 * x)
    x = keras.layers.Conv2D(2, 3, padding="same", dtype="float32")(x)
    registration = DeformableRegistration(
        input_shape=(12, 12), network=keras.Model(images, x)
    )
    images = rng.random((2, 12, 12), dtype=np.float32)
    registration.fit(images, epochs=1, verbose=0)
    assert registration.predict(images, images).shape == images.shape


def test_keras_without_a_list_of_nodes_is_reported(simple, monkeypatch, caplog):
    monkeypatch.delattr(keras.Model, "_nodes_by_depth", raising=False)
    monkeypatch.delattr(simple, "_nodes_by_depth")
    monkeypatch.setattr(logging.getLogger("dipy"), "propagate", True)
    simple.options = {"loss": "mse"}
    assert memory_to_predict(simple, (1, 20, 30, 1)) == 0
    assert memory_to_train(simple, (1, 20, 30, 1)) > 0
    assert "cannot be estimated with Keras" in caplog.text


@pytest.mark.parametrize("estimate", [memory_to_train, memory_to_predict])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"network": "fcn"},
        {"transform": "tps"},
        {"penalty": "inverse_consistency"},
        {"precision": "bfloat16"},
        {"loss": lambda static, warped: (static - warped) ** 2},
    ],
)
def test_estimates_grow_with_the_images(options, estimate):
    registration = DeformableRegistration(input_shape=(16, 16), **options)
    model = registration.model
    small, large = (estimate(model, (2, *shape, 1)) for shape in [(32, 40), (64, 80)])
    # Weights do not grow, and splines need memory for each pair of point and voxel.
    assert 1.5 < large / small < 20
    assert small > 4 * prod((2, 32, 40, 2))


def test_nested_models_are_counted():
    model = AffineRegistration(input_shape=(16, 16)).model
    once = AffineRegistration(input_shape=(16, 16), passes=1).model
    batch = (1, 512, 512, 1)  # so large that the weights hardly count
    assert memory_to_train(model, batch) > 1.5 * memory_to_train(once, batch)
    assert memory_to_predict(model, batch) < 1.5 * memory_to_predict(once, batch)


@pytest.mark.slow
def test_training_and_prediction_are_refused_without_memory(monkeypatch, rng):
    registration = DeformableRegistration(input_shape=(12, 12), seed=0)
    before = registration.model.get_weights()
    images = rng.random((3, 12, 12), dtype=np.float32)
    monkeypatch.setattr(memory, "memory_there", lambda: 1000)
    with pytest.raises(MemoryError, match="Training on 2 pairs.*smaller batch_size"):
        registration.fit(images, epochs=1, batch_size=2, verbose=0)
    needed = memory_to_train(registration.model, (2, 12, 12, 1))
    labels = {"moving_labels": rng.integers(1, 2000, (3, 12, 12))}
    options = {"epochs": 1, "batch_size": 2, "verbose": 0}
    # The eight labels of a training batch, and all labels in validation.
    validation = {"validation_data": {"moving": images, **labels}}
    for spare, more in ((10**4, {}), (10**5, validation)):
        monkeypatch.setattr(memory, "memory_there", lambda spare=spare: needed + spare)
        with pytest.raises(MemoryError, match="Training on 2 pairs"):
            registration.fit(images, **labels, **more, **options)
    monkeypatch.setattr(memory, "memory_there", lambda: 1000)
    for weights, found in zip(before, registration.model.get_weights()):
        np.testing.assert_array_equal(weights, found)
    with pytest.raises(MemoryError, match="Registering 3 pairs"):
        registration.predict(images, images)
    # Memory for eight labels is enough to train with any number of them.
    monkeypatch.setattr(memory, "memory_there", lambda: needed + 10**5)
    registration.fit(images, **labels, **options)
