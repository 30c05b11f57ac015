from functools import partial

import keras
from keras import ops
import pytest

from dipy_nn_reg.losses.choices import (
    check_choice,
    check_loss,
    check_penalties,
    check_penalty,
    default_smoothness,
    from_config,
    get_loss,
    get_penalties,
    takes_mask,
    to_config,
)
from dipy_nn_reg.losses.images import LOSSES, lncc, mi
from dipy_nn_reg.losses.penalties import PENALTIES


def absolute(static, warped):
    return ops.mean(ops.abs(static - warped), axis=(1, 2, 3))


def test_each_loss_and_penalty_has_a_default_weight():
    for loss, function in LOSSES.items():
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
def test_losses_that_fit(loss, shape):
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
def test_losses_that_do_not_fit(loss, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        check_loss(loss, (1, 8, 9, 1))


def test_a_loss_with_a_value_for_each_voxel_is_averaged(rng):
    static, warped = rng.random((2, 3, 5, 6, 1), dtype="float32")
    found = ops.convert_to_numpy(
        get_loss(keras.losses.mean_absolute_error)(static, warped)
    )
    assert found.shape == (3,)
    assert found == pytest.approx(abs(static - warped).mean(axis=(1, 2, 3)), abs=1e-6)


def test_which_losses_take_a_mask():
    assert all(takes_mask(loss) for loss in LOSSES)
    assert takes_mask(partial(lncc, window=5))
    assert not takes_mask(absolute)
    assert not takes_mask(keras.losses.MeanSquaredError())


def test_penalties_and_their_weights():
    both = {"gradient": 0.5, "folding": 3}
    assert get_penalties({"penalty": both, "smoothness": None}) == both
    assert get_penalties({"penalty": "tv", "smoothness": 2.0}) == {"tv": 2.0}
    for penalty in (*PENALTIES, both, absolute):
        check_penalty(penalty, None)


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
def test_bad_penalties(penalty, smoothness, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        check_penalty(penalty, smoothness)


def test_penalties_that_do_not_fit_the_field():
    for penalty, shape, message in [
        ("bending", (1, 2, 9, 2), "three voxels"),
        (
            lambda field: field,
            (1, 8, 9, 2),
            r"returns an array of shape \(1, 8, 9, 2\)",
        ),
        (lambda: 0, (1, 8, 9, 2), "fails"),
    ]:
        options = {"penalty": penalty, "smoothness": 1.0}
        with pytest.raises(ValueError, match=f"Expected .*{message}"):
            check_penalties(options, shape)


@pytest.mark.parametrize(
    "choice", ["lncc", lncc, partial(lncc, window=5), None, {"tv": 1.0}, [3, 4], 0.5]
)
def test_choices_come_back_from_a_configuration(choice):
    config = to_config({"choice": choice})
    back = from_config(config)["choice"]
    if isinstance(choice, partial):
        assert (back.func, back.keywords) == (choice.func, choice.keywords)
    else:
        assert back == choice


def test_functions_of_a_user_come_back_where_python_finds_them():
    config = to_config({"loss": absolute})
    assert from_config(config, {"absolute": absolute})["loss"] is absolute
    with pytest.raises(ValueError, match="loss to be a partial with options by name"):
        check_choice("loss", partial(absolute, 5), LOSSES)
