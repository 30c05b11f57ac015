"""Defaults in help texts, compared with those of the code."""

import inspect
import re

from dipy_nn_reg.pairwise import optimized_parts
from dipy_nn_reg.pairwise.levels import iterations_for
from dipy_nn_reg.pairwise.options import LOSS
from dipy_nn_reg.training import optimizers
from dipy_nn_reg.transform import kinds
from dipy_nn_reg.workflows import mnist
from dipy_nn_reg.workflows.fit import FitFlow
from dipy_nn_reg.workflows.mnist import MnistFlow
from dipy_nn_reg.workflows.register import RegisterFlow


def help_of(flow, option):
    """Return the description of an option, in one line."""
    text = inspect.getdoc(flow.run)
    result = re.search(rf"^{option} : .*\n((?:    .*\n?)+)", text, re.MULTILINE)
    return " ".join(result[1].split())


def test_default_level_iters():
    text = help_of(RegisterFlow, "level_iters")
    numbers = [list(map(int, n.split())) for n in re.findall(r"\d+(?: \d+)+", text)]
    assert numbers == [
        iterations_for((64, 64)),
        iterations_for((64, 64), stride=1),
        list(optimized_parts.VELOCITY_ITERS),
        list(optimized_parts.VELOCITY_ITERS_AFTER_MODEL),
    ]


def test_default_window_of_the_loss():
    text = help_of(RegisterFlow, "loss")
    (window,) = re.findall(r"windows of (\d+) voxels", text)
    assert int(window) == LOSS.keywords["window"]


def test_default_learning_rate_and_field_stride():
    rates = re.findall(r"([\d.]+) in (\d)D", help_of(FitFlow, "learning_rate"))
    assert {int(ndim): float(r) for r, ndim in rates} == optimizers.LEARNING_RATES
    strides = re.findall(r"(\d) in (\d)D", help_of(FitFlow, "field_stride"))
    for stride, ndim in strides:
        options = {"network": "unet", "field_stride": None}
        result = kinds.choose_field_stride("velocity", ndim=int(ndim), **options)
        assert result == int(stride)


def test_default_epochs_of_mnist():
    text = help_of(MnistFlow, "epochs")
    numbers = [int(n.replace(",", "")) for n in re.findall(r"\d[\d,]*(?= )", text)]
    assert numbers == [mnist.TRAINING_STEPS, mnist.BATCH_SIZE, mnist.MAX_EPOCHS]
