"""Optimizers and the course of the learning rate."""

import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.training.optimizers import (
    LEARNING_RATES,
    OPTIMIZERS,
    CosineRate,
    add_cosine_rate,
    get_optimizer,
)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_are_chosen_by_name(name):
    optimizer, rate = get_optimizer(name, None, 2)
    assert type(optimizer).__name__.lower() == name
    assert rate == LEARNING_RATES[2]
    assert get_optimizer(name, None, 3)[1] == LEARNING_RATES[3] < rate
    assert get_optimizer(name, 0.1, 3)[1] == 0.1


def test_optimizer_of_the_user_keeps_its_rate():
    mine = keras.optimizers.Adam(1e-4)
    assert get_optimizer(mine, None, 2) == (mine, None)
    with pytest.raises(ValueError, match="learning_rate=None.*Received.*0.1"):
        get_optimizer(mine, 0.1, 2)
    mine.build([keras.Variable(np.zeros(2))])
    with pytest.raises(ValueError, match="optimizer of its own.*Received a Adam"):
        get_optimizer(mine, None, 2)


@pytest.mark.parametrize("options", [("adams", None), ("adam", 0), ("adam", -1)])
def test_invalid_options_are_refused(options):
    with pytest.raises(ValueError, match="Expected"):
        get_optimizer(*options, 2)


def test_rate_rises_then_falls_to_zero():
    rates = np.array([CosineRate(2.0).rate(x) for x in np.linspace(0, 1, 101)])
    npt.assert_allclose(rates[[0, 10, 55, 100]], [0.2, 2, 1, 0], atol=1e-12)
    assert np.all(np.diff(rates[:11]) > 0)
    assert np.all(np.diff(rates[10:]) < 0)


def test_callbacks_of_the_user_are_kept():
    stop = keras.callbacks.EarlyStopping()
    ours, theirs = add_cosine_rate(stop, 0.1)
    assert isinstance(ours, CosineRate)
    assert theirs is stop
    assert add_cosine_rate([stop], None) == [stop]
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)
    assert add_cosine_rate([scheduler], 0.1) == [scheduler]
    assert add_cosine_rate(None, None) == []


@pytest.mark.parametrize("callbacks", ["text", [None], [object()], dict, [len]])
def test_other_objects_than_callbacks_are_refused(callbacks):
    with pytest.raises(ValueError, match="Expected callbacks of Keras"):
        add_cosine_rate(callbacks, 0.1)
