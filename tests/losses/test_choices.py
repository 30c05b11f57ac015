from functools import partial

import keras
from keras import ops
import pytest

from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.losses import penalties
from dipy_nn_reg.losses.choices import (
    LOSSES,
    PENALTIES,
    check_choice,
    check_loss,
    check_mask_is_taken,
    check_penalty,
    check_penalty_option,
    default_smoothness,
    evaluate_loss,
    get_loss,
    get_penalty,
    takes_mask,
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


def test_a_loss_with_a_value_for_each_voxel_is_averaged(rng):
    static, warped = rng.random((2, 3, 5, 6, 1), dtype="float32")
    actual = evaluate_loss(keras.losses.mean_absolute_error, static, warped)
    actual = ops.convert_to_numpy(actual)
    assert actual.shape == (3,)
    assert actual == pytest.approx(abs(static - warped).mean(axis=(1, 2, 3)), abs=1e-6)


def test_which_losses_take_a_mask():
    assert all(takes_mask(loss) for loss in LOSSES)
    assert takes_mask(partial(lncc, window=5))
    assert not takes_mask(absolute)
    assert not takes_mask(keras.losses.MeanSquaredError())


def test_a_loss_with_options_has_the_weights_of_its_name():
    window = partial(partial(mi, bins=8), mask=None)
    assert get_loss(window) == LOSSES["mi"]._replace(function=window)
    assert get_loss(absolute).values_per_voxel < LOSSES["mi"].values_per_voxel


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


@pytest.mark.parametrize("name", PENALTIES)
def test_a_function_of_the_package_has_the_weight_of_its_name(name):
    assert get_penalty(getattr(penalties, name)) == PENALTIES[name]


def test_a_function_of_a_user_penalises_the_field():
    function = lambda field: ops.mean(field)  # noqa: E731
    assert get_penalty(function) == (function, 1.0, "field")


def test_a_loss_without_a_mask_refuses_one():
    annotations = Annotations(moving_mask=1)
    check_mask_is_taken("ncc", annotations)
    check_mask_is_taken(lambda static, warped: 0, Annotations())
    with pytest.raises(ValueError, match="Expected a loss that takes a mask"):
        check_mask_is_taken(lambda static, warped: 0, annotations)
