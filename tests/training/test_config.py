"""Configurations of a model, as a file holds them."""

from functools import partial

from keras import ops
import pytest

from dipy_nn_reg.losses.choices import ChannelLosses
from dipy_nn_reg.losses.images import lncc
from dipy_nn_reg.training.config import from_config, to_config


def absolute(static, warped):
    return ops.mean(ops.abs(static - warped), axis=(1, 2, 3))


@pytest.mark.parametrize(
    "choice", ["lncc", lncc, partial(lncc, window=5), None, {"tv": 1.0}, [3, 4], 0.5]
)
def test_choices_are_restored_from_a_configuration(choice):
    config = to_config({"choice": choice})
    back = from_config(config)["choice"]
    if isinstance(choice, partial):
        assert (back.func, back.keywords) == (choice.func, choice.keywords)
    else:
        assert back == choice


def test_functions_of_a_user_are_restored_by_name():
    config = to_config({"loss": absolute})
    assert from_config(config, {"absolute": absolute})["loss"] is absolute


def test_a_loss_for_each_channel_is_restored():
    losses = ChannelLosses(("ncc", partial(lncc, window=5)), (1.0, 0.5))
    back = from_config(to_config({"loss": losses}))["loss"]
    assert back.weights == losses.weights and back.losses[0] == "ncc"
    window = back.losses[1]
    assert (window.func, window.keywords) == (lncc, {"window": 5})


@pytest.mark.parametrize(
    ("losses", "weights", "message"),
    [
        (["ncc", "dice"], [1.0, 1.0], "loss to be one of.*dice"),
        (["ncc", "mi"], [1.0], "channel_weights for each of 2 channels"),
        (["ncc", "mi"], [1.0, "x"], "each of channel_weights.*'x'"),
    ],
)
def test_losses_of_channels_in_a_file_are_checked(losses, weights, message):
    with pytest.raises(ValueError, match=message):
        from_config({"loss": {"losses": losses, "weights": weights}})
