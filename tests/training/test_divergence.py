"""Trainings whose loss or weights are no longer finite."""

import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import DeformableRegistration
from dipy_nn_reg.training.divergence import DivergenceError


class Spoil(keras.callbacks.Callback):
    """Make a weight NaN, as far too long a step does."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.when, self.epoch, self.seen = (epoch, batch), None, []

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.when:
            self.model.trainable_weights[0].assign_add(
                np.full(self.model.trainable_weights[0].shape, np.nan)
            )

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append((epoch, [w.numpy() for w in self._variables()]))

    def _variables(self):
        return [*self.model.weights, *self.model.optimizer.variables]


@pytest.fixture(
    params=[
        pytest.param((16, 17), id="2D"),
        pytest.param((9, 10, 8), id="3D", marks=pytest.mark.slow),
    ]
)
def training(request, rng, blobs):
    shape = request.param
    registration = DeformableRegistration(
        input_shape=shape, network="voxelmorph1", seed=0
    )
    return registration, blobs(rng, 6, shape), {"batch_size": 2, "verbose": 0}


def test_training_stops_at_the_first_loss_that_is_not_finite(training):
    registration, images, options = training
    spoil = Spoil(epoch=2, batch=1)
    with pytest.raises(DivergenceError, match="Expected .*loss=nan in epoch 3, step 2"):
        registration.fit(images, epochs=5, callbacks=spoil, **options)
    assert [epoch for epoch, _ in spoil.seen] == [0, 1]
    # Weights and optimizer are those of the end of the second epoch.
    for variable, expected in zip(spoil._variables(), spoil.seen[-1][1], strict=True):
        npt.assert_array_equal(variable.numpy(), expected, variable.path)
    history = registration.fit(images, epochs=2, **options).history
    assert np.isfinite(history["loss"]).all()


def test_divergence_in_the_first_epoch_restores_the_model(training):
    registration, images, options = training
    before = registration.model.get_weights()
    with pytest.raises(DivergenceError, match="epoch 1, step 1.*before the training"):
        registration.fit(images, callbacks=Spoil(0, 0), **options)
    for weights, found in zip(before, registration.model.get_weights()):
        npt.assert_array_equal(weights, found)


@pytest.mark.slow
def test_far_too_high_a_learning_rate_is_reported(rng, blobs):
    registration = DeformableRegistration(input_shape=(16, 17), learning_rate=1e30)
    with pytest.raises(ValueError, match="lower learning_rate"):
        registration.fit(blobs(rng, 6, (16, 17)), epochs=20, batch_size=2, verbose=0)
    assert all(np.isfinite(w).all() for w in registration.model.get_weights())


def test_weights_that_are_not_finite_are_reported_after_the_last_step(training):
    registration, images, options = training

    class SpoilAtTheEnd(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == self.params["steps"] - 1:
                weight = self.model.trainable_weights[0]
                weight.assign(np.full(weight.shape, np.inf))

    with pytest.raises(DivergenceError, match="not finite in the weight.*epoch 1"):
        registration.fit(images, epochs=2, callbacks=SpoilAtTheEnd(), **options)
    assert all(np.isfinite(w).all() for w in registration.model.get_weights())


def test_validation_loss_that_is_not_finite_is_reported(training):
    registration, images, options = training

    def infinite_where_black(static, warped):
        axes = tuple(range(1, len(static.shape)))
        mean = keras.ops.mean((static - warped) ** 2, axis=axes)
        return mean / keras.ops.sign(keras.ops.max(static, axis=axes))

    registration = DeformableRegistration(
        input_shape=images.shape[1:],
        network="voxelmorph1",
        loss=infinite_where_black,
        smoothness=0.1,
    )
    validation = images[:2], np.zeros(images.shape[1:])
    with pytest.raises(DivergenceError, match="val_loss=(nan|inf) in epoch 1"):
        registration.fit(images, validation_data=validation, **options)
    registration.fit(images, validation_data=(images[:2], None), **options)


@pytest.mark.slow
def test_divergence_of_a_warm_up_is_reported(rng, blobs):
    images = blobs(rng, 4, (16, 17))
    registration = DeformableRegistration(
        input_shape=(16, 17), network="voxelmorph1", learning_rate=1e30
    )
    before = registration.model.get_weights()
    with pytest.raises(DivergenceError, match="warm-up epoch 1"):
        registration.fit(images, warm_up=9, epochs=1, batch_size=1, verbose=0)
    for weights, found in zip(before, registration.model.get_weights()):
        npt.assert_array_equal(weights, found)
