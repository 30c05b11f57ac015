"""Snapshots of a model and its optimizer."""

import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import DeformableRegistration
from dipy_nn_reg.training.snapshot import Snapshot


@pytest.fixture
def registration():
    return DeformableRegistration(input_shape=(16, 17), network="voxelmorph1", seed=0)


def numbers(model):
    """Return copies of all variables of a model and of its optimizer."""
    variables = [*model.variables, *model.optimizer.variables]
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


def test_restored_model_and_optimizer_are_as_before(registration, rng, blobs):
    model, images = registration.model, blobs(rng, 4, (16, 17))
    options = {"epochs": 1, "batch_size": 2, "verbose": 0}
    registration.fit(images, **options)
    before, state = numbers(model), model.state
    snapshot = Snapshot(model)
    registration.fit(images, **options)
    changed = numbers(model)
    assert any(np.any(one != other) for one, other in zip(before, changed))
    assert model.state != state
    snapshot.restore()
    for value, expected in zip(numbers(model), before, strict=True):
        npt.assert_array_equal(value, expected)
    assert model.state == state


def test_snapshot_holds_copies(registration):
    """Restored values do not change with the variables of the model."""
    model = registration.model
    before = numbers(model)
    snapshot = Snapshot(model)
    for variable in model.trainable_variables:
        variable.assign(np.full(variable.shape, np.nan))
    snapshot.restore()
    for value, expected in zip(numbers(model), before, strict=True):
        npt.assert_array_equal(value, expected)
