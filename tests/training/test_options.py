"""Options of a model, checked together."""

import json

import numpy as np
import pytest

from dipy_nn_reg import AffineRegistration, DeformableRegistration
from dipy_nn_reg.losses.choices import ChannelLosses
from dipy_nn_reg.training.options import (
    MAX_CHANNELS,
    MAX_PASSES,
    OPTIONS,
    as_plain,
    check_image_options,
    check_options,
)

VALID = {
    "affine": None,
    "field_stride": 1,
    "input_shape": [12, 13],
    "label_weight": 1.0,
    "landmark_weight": 1.0,
    "learning_rate": None,
    "loss": "mse",
    "network": "unet",
    "num_channels": 1,
    "passes": 1,
    "penalty": "gradient",
    "precision": "float32",
    "seed": 0,
    "smoothness": 0.5,
    "spacing": 1,
    "symmetric": False,
    "transform": "velocity",
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"penalty": {"tv": 0.1, "folding": 1.0}, "smoothness": None},
        {"transform": "affine", "spacing": None},
        {"network": "dirnet", "transform": "tps", "spacing": 5},
        {"learning_rate": 0.01, "precision": "bfloat16", "seed": None},
        {"num_channels": MAX_CHANNELS, "passes": MAX_PASSES},
        {"loss": ChannelLosses(("ncc", "mi"), (1.0, 2.0)), "num_channels": 2},
        {"symmetric": True},
        {"symmetric": True, "network": "dirnet", "transform": "bspline_velocity"}
        | {"spacing": 4},
    ],
    ids=str,
)
def test_valid_options_are_accepted(changes):
    check_options(VALID | changes)


@pytest.mark.parametrize("model", [DeformableRegistration, AffineRegistration])
def test_options_of_models_are_accepted(model):
    options = model(input_shape=(16, 17), network="voxelmorph1").options
    assert set(options) == OPTIONS
    check_options(options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"other": 1}, r"the options .*Received .*\['other'\]"),
        ({"input_shape": [12]}, "input_shape"),
        (
            {"input_shape": [10**6] * 3},
            "voxels of input_shape to be at most 2147483647",
        ),
        ({"num_channels": 0}, "num_channels to be an integer >= 1"),
        ({"num_channels": MAX_CHANNELS + 1}, "num_channels to be at most 4096.*4097"),
        ({"transform": "rigid"}, "transform.*'rigid'"),
        ({"network": "vnet"}, "network.*'vnet'"),
        ({"network": "fcn", "transform": "affine"}, "transform to be one of.*'fcn'"),
        ({"spacing": 2}, "spacing=1 with transform='velocity'. Received 2"),
        ({"field_stride": None}, "field_stride to be a number. Received None"),
        ({"field_stride": 3}, "field_stride.*3"),
        ({"loss": "ssd"}, "loss.*'ssd'"),
        ({"penalty": "ridge"}, "penalty.*'ridge'"),
        ({"smoothness": None}, "smoothness to be a number. Received None"),
        ({"smoothness": -1}, "smoothness.*-1"),
        ({"label_weight": -1}, "label_weight.*-1"),
        ({"landmark_weight": None}, "landmark_weight.*None"),
        ({"affine": "first"}, "an AffineRegistration. Received a str"),
        ({"passes": 0}, "passes to be an integer >= 1"),
        ({"passes": MAX_PASSES + 1}, "passes to be at most 100. Received 101"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"precision": "float8"}, "precision.*'float8'"),
        ({"symmetric": 1}, "symmetric to be True or False. Received 1"),
        (
            {"symmetric": True, "transform": "displacement"},
            r"\['bspline_velocity', 'velocity'\].*symmetric=True.*'displacement'",
        ),
        (
            {"loss": ChannelLosses(("ncc", "mi"), (1.0, 2.0)), "num_channels": 3},
            "a loss for each of 3 channels. Received 2",
        ),
        ({"seed": -1}, "seed to be an integer >= 0"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_invalid_options_are_refused(changes, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        check_options(VALID | changes)


def test_missing_option_is_refused():
    options = {name: value for name, value in VALID.items() if name != "seed"}
    with pytest.raises(ValueError, match=r"the options .*Received .*\['seed'\]"):
        check_options(options)


def test_first_stage_is_affine_and_of_the_same_images():
    affine = AffineRegistration(input_shape=(16, 17), network="voxelmorph1").model
    other = DeformableRegistration(input_shape=(16, 17), network="voxelmorph1").model
    check_options(VALID | {"affine": affine})
    with pytest.raises(ValueError, match="no affine first stage and passes=1"):
        check_options(VALID | {"affine": affine, "symmetric": True})
    for changes, message in [
        ({"affine": other}, "an affine first stage.*'velocity'"),
        ({"affine": affine, "num_channels": 2}, "2 axes and 2 channels.*2 axes and 1"),
        (
            {"affine": affine, "input_shape": [8, 8, 8]},
            "3 axes and 1 chan.*2 axes and 1",
        ),
    ]:
        with pytest.raises(ValueError, match=f"Expected .*{message}"):
            check_options(VALID | changes)


def test_images_are_those_that_a_tensor_can_hold():
    check_image_options((4, 5), 1)
    check_image_options((4, 5, 6), MAX_CHANNELS)
    for shape, channels in [((4,), 1), ((2**16, 2**16), 1), ((4, 5), 0)]:
        with pytest.raises(ValueError, match="Expected .*Received"):
            check_image_options(shape, channels)


def test_plain_options_can_be_stored_as_json():
    options = VALID | {
        "input_shape": (np.int64(12), np.int32(13)),
        "num_channels": np.int8(1),
        "passes": np.uint8(1),
        "seed": None,
        "smoothness": np.float32(0.5),
        "label_weight": np.float64(1),
        "landmark_weight": 1,
    }
    plain = as_plain(options)
    assert json.loads(json.dumps(plain)) == VALID | {"seed": None}
    assert isinstance(options["input_shape"], tuple)  # the argument is not changed
    assert as_plain(VALID | {"smoothness": None})["smoothness"] is None
