from functools import partial

import keras
from keras import ops
import pytest

from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.losses.choice_checks import (
    check_choice,
    check_loss,
    check_mask_is_taken,
    check_penalty,
    check_penalty_option,
    default_smoothness,
    join_losses,
)
from dipy_nn_reg.losses.choices import (
    LOSSES,
    PENALTIES,
    ChannelLosses,
)
from dipy_nn_reg.losses.images import lncc, mi


def absolute(static, warped):
    return ops.mean(ops.abs(static - warped), axis=(1, 2, 3))


def test_each_loss_and_penalty_has_a_default_weight():
    for loss, (function, *_) in LOSSES.items():
        for penalty in PENALTIES:
            weight = default_smoothness(loss, penalty, "velocity")
            assert weight > 0
            assert default_smoothness(function, penalty, "velocity") == weight
    window = partial(lncc, window=5)
    assert default_smoothness(window, "tv", "tps") == default_smoothness(
        "lncc", "tv", "tps"
    )
    assert default_smoothness(absolute, absolute, "velocity") == 1
    assert default_smoothness("ncc", "gradient", "affine") == 0


def test_one_loss_of_equal_weights_serves_all_channels():
    assert join_losses("ncc", None, 3) == "ncc"
    assert join_losses(["mi", "mi"], None, 2) == "mi"


def test_losses_and_weights_are_joined():
    assert join_losses("ncc", [1, 2], 2) == ChannelLosses(("ncc", "ncc"), (1.0, 2.0))
    found = join_losses(["ncc", "mi"], None, 2)
    assert found == ChannelLosses(("ncc", "mi"), (1.0, 1.0))
    assert hash(found) == hash(join_losses(("ncc", "mi"), (1, 1), 2))


@pytest.mark.parametrize("shape", [(1, 9, 9, 1), (2, 9, 10, 11, 3)])
@pytest.mark.parametrize(
    "loss", [*LOSSES, partial(lncc, window=5), keras.losses.mean_squared_error]
)
def test_losses_of_two_and_three_dimensions_are_accepted(loss, shape):
    check_loss(loss, shape)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (partial(lncc, window=99), "window to be odd.*window=99"),
        (partial(lncc, window=4), "odd.*window=4"),
        (partial(mi, bins=1), "bins.*>= 2.*1"),
        (partial(lncc, size=5), "function of 2 tensors.*fails.*size"),
        (lambda static: static, "function of 2 tensors.*fails"),
    ],
)
def test_invalid_losses_are_refused(loss, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        check_loss(loss, (1, 8, 9, 1))


def test_valid_penalties_are_accepted():
    for penalty in (*PENALTIES, {"gradient": 0.5, "folding": 3}, absolute):
        check_penalty_option(penalty, None)


@pytest.mark.parametrize(
    ("penalty", "smoothness", "message"),
    [
        ("ridge", None, r"penalty.*'bending'.*'ridge'"),
        (None, 1.0, "penalty.*None"),
        ({"ridge": 1.0}, None, "each name in penalty.*'ridge'"),
        ({"tv": -1}, None, "weight of the penalty 'tv'.*-1"),
        ({"tv": 1}, 0.5, "smoothness=None.*0.5"),
        ("tv", -0.5, "smoothness.*-0.5"),
        ("tv", float("nan"), "smoothness.*nan"),
    ],
)
def test_invalid_penalties_are_refused(penalty, smoothness, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        check_penalty_option(penalty, smoothness)


def test_penalties_that_cannot_be_computed_are_refused():
    for penalty, shape, message in [
        ("bending", (1, 2, 9, 2), "three voxels"),
        (
            lambda field: field,
            (1, 8, 9, 2),
            r"returns an array of shape \(1, 8, 9, 2\)",
        ),
        (lambda: 0, (1, 8, 9, 2), "fails"),
    ]:
        with pytest.raises(ValueError, match=f"Expected .*{message}"):
            check_penalty(penalty, shape)


def test_a_partial_with_options_by_position_is_refused():
    with pytest.raises(ValueError, match="loss to be a partial with options by name"):
        check_choice("loss", partial(absolute, 5), LOSSES)


def test_a_loss_without_a_mask_refuses_one():
    annotations = Annotations(moving_mask=1)
    check_mask_is_taken("ncc", annotations)
    check_mask_is_taken(lambda static, warped: 0, Annotations())
    with pytest.raises(ValueError, match="Expected a loss that takes a mask"):
        check_mask_is_taken(lambda static, warped: 0, annotations)
