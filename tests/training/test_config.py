"""Configurations of a model, as a file holds them."""

from functools import partial

from keras import ops
import pytest

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
