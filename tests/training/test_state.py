"""State of a training, from which it is resumed."""

import json

import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import DeformableRegistration
from dipy_nn_reg.training.optimizers import CosineRate
from dipy_nn_reg.training.state import (
    ResumeError,
    check_state,
    finished_state,
    get_seeds,
    make_generator,
)


class InterruptAfter(keras.callbacks.Callback):
    """Save after each epoch, as a command does, and interrupt after some."""

    def __init__(self, registration, path, epoch=None, step=None):
        super().__init__()
        self.registration, self.path = registration, path
        self.last, self.step, self.epoch = epoch, step, 0

    def on_epoch_end(self, epoch, logs=None):
        self.epoch = epoch + 1
        self.registration.save(self.path)
        if self.step is None and self.epoch == self.last:
            raise KeyboardInterrupt

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (self.last, self.step):
            raise KeyboardInterrupt


def assert_same_training(a, b):
    """Compare, bit for bit, everything that a further epoch depends on."""
    for one, other in zip(a.model.weights, b.model.weights, strict=True):
        npt.assert_array_equal(one.numpy(), other.numpy(), one.path)
    ours, theirs = a.model.optimizer.variables, b.model.optimizer.variables
    for one, other in zip(ours, theirs, strict=True):
        npt.assert_array_equal(one.numpy(), other.numpy(), one.path)
    assert a.model.state == b.model.state
    assert get_seeds(a.model) == get_seeds(b.model)


def many_labels(images):
    """Return label maps of 15 values; each batch draws eight of them."""
    return np.floor(images * 15).astype(np.uint8)


def drops_out():
    images = keras.Input((None, None, 2))
    x = keras.layers.Conv2D(8, 3, padding="same")(images)
    x = keras.layers.BatchNormalization()(keras.layers.Dropout(0.3, seed=1)(x))
    return keras.Model(images, keras.layers.Conv2D(2, 3, padding="same")(x))


SETUPS = [
    pytest.param(
        (16, 17),
        {"moving_labels": many_labels},
        {"augment": True, "warm_up": 1},
        None,
        marks=pytest.mark.slow,
    ),
    ((16, 17), {}, {"mirror": 1, "network": drops_out}, None),
    pytest.param(
        (9, 10, 8),
        {"moving_labels": many_labels},
        {"augment": 0.5, "mirror": 0},
        1,
        marks=pytest.mark.slow,
    ),
]


@pytest.mark.parametrize(("shape", "annotations", "options", "step"), SETUPS)
def test_resumed_training_equals_an_uninterrupted_one(
    shape, annotations, options, step, rng, blobs, tmp_path
):
    """Interrupted between two epochs, or in the middle of the third."""
    images = blobs(rng, 5, shape)
    arguments = {name: make(images) for name, make in annotations.items()}
    arguments |= {"epochs": 4, "batch_size": 2, "verbose": 0, **options}
    network = arguments.pop("network", lambda: "voxelmorph1")

    def start():
        keras.utils.set_random_seed(0)  # for layers of the user
        return DeformableRegistration(input_shape=shape, network=network(), seed=0)

    whole = start()
    expected = whole.fit(images, **arguments).history
    path = tmp_path / "model.keras"
    cut = start()
    callback = InterruptAfter(cut, path, epoch=2, step=step)
    with pytest.raises(KeyboardInterrupt):
        cut.fit(images, callbacks=callback, **arguments)
    resumed = DeformableRegistration.load(path)
    history = resumed.fit(images, resume=True, **arguments)
    assert history.epoch == [2, 3]
    assert history.history["loss"] == expected["loss"][2:]
    assert_same_training(resumed, whole)


@pytest.mark.slow
def test_model_saved_within_an_epoch_is_not_resumed(rng, blobs, tmp_path):
    images = blobs(rng, 5, (16, 17))
    registration = DeformableRegistration(input_shape=(16, 17), seed=0)
    callback = InterruptAfter(registration, tmp_path / "a.keras", epoch=1, step=0)
    options = {"epochs": 3, "batch_size": 2, "verbose": 0}
    with pytest.raises(KeyboardInterrupt):
        registration.fit(images, callbacks=callback, **options)
    registration.save(tmp_path / "b.keras")
    with pytest.raises(ResumeError, match="end of an epoch.*resume=True"):
        DeformableRegistration.load(tmp_path / "b.keras").fit(
            images, resume=True, **options
        )


@pytest.mark.slow
def test_finished_training_continues_as_in_one_process(rng, blobs, tmp_path):
    """The weights are saved, and the state of the random numbers."""
    images = blobs(rng, 6, (16, 17))
    options = {"epochs": 2, "batch_size": 4, "verbose": 0}
    registration = DeformableRegistration(input_shape=(16, 17), seed=0)
    registration.fit(images, **options)
    registration.save(tmp_path / "model.keras")
    loaded = DeformableRegistration.load(tmp_path / "model.keras")
    for one in (registration, loaded):
        one.fit(images, **options)
    assert_same_training(registration, loaded)
    with pytest.raises(ResumeError, match="resume=True"):
        loaded.fit(images, resume=True, **options)


@pytest.mark.slow
def test_training_that_a_callback_ended_is_not_resumed(rng, blobs):
    images = blobs(rng, 4, (16, 17))
    registration = DeformableRegistration(input_shape=(16, 17), seed=0)
    stop = keras.callbacks.EarlyStopping("loss", patience=0, baseline=-1)
    history = registration.fit(images, epochs=9, callbacks=stop, verbose=0)
    assert len(history.epoch) < 9
    with pytest.raises(ResumeError, match="resume=True"):
        registration.fit(images, epochs=9, resume=True, verbose=0)


def test_another_training_is_not_resumed(rng, blobs, tmp_path):
    images = blobs(rng, 6, (16, 17))
    registration = DeformableRegistration(
        input_shape=(16, 17), network="voxelmorph1", seed=0
    )
    callback = InterruptAfter(registration, tmp_path / "model.keras", epoch=1)
    options = {"epochs": 3, "batch_size": 2, "verbose": 0}
    with pytest.raises(KeyboardInterrupt):
        registration.fit(images, callbacks=callback, **options)
    before = registration.model.get_weights(), registration.model.state
    options |= {"moving": images}
    for change in (
        {"batch_size": 3},
        {"moving": images[:5]},
        {"epochs": 4},
        {"mirror": 0},
        {"augment": True},
    ):
        with pytest.raises(
            ResumeError, match="Expected the data and options.*Received"
        ):
            registration.fit(resume=True, **options | change)
        for weights, found in zip(before[0], registration.model.get_weights()):
            npt.assert_array_equal(weights, found)
        assert registration.model.state == before[1]


def test_learning_rate_continues_where_it_was():
    whole, resumed = CosineRate(1.0), CosineRate(1.0, epochs_done=3)
    rates = []
    for rate in (whole, resumed):
        rate.set_params({"epochs": 5, "steps": 4})
        rate.set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
        rate.model.compile("sgd", "mse")
        rate.on_train_begin()
        for batch in range(4 * 5 - rate.step):
            rate.on_train_batch_begin(batch)
            rates.append(float(rate.model.optimizer.learning_rate))
    assert rates[20:] == rates[12:20]


def test_state_is_stored_as_json(rng):
    state = json.loads(json.dumps(finished_state(rng)))
    check_state(state)
    npt.assert_array_equal(make_generator(state).random(5), rng.random(5))


@pytest.mark.parametrize(
    "state",
    [
        {},
        3,
        {"random": {}, "trained": 0, "unfinished": None},
        {"trained": -1},
        {"random": {"bit_generator": "PCG64", "state": {"state": -1, "inc": "x"}}},
        {"random": None, "unfinished": {}},
        {"unfinished": {"done": 0, "epochs": 3}},
        {"unfinished": {"done": "1", "epochs": 3}},
        {"unfinished": [1]},
    ],
)
def test_invalid_state_is_refused(state, rng):
    if isinstance(state, dict) and "random" not in state and state:
        state = finished_state(rng) | state
    with pytest.raises(ValueError, match="Expected the state of a training"):
        check_state(state)
