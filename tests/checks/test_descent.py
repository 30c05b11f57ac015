import numpy as np
import pytest

from dipy_nn_reg.checks.descent import (
    MAX_SMOOTHNESS,
    check_level_iters,
    check_smoothness,
    choose_pairwise_transform,
)


@pytest.mark.parametrize(
    ("transform", "penalty", "expected"),
    [
        (None, None, "displacement"),
        (None, "tv", "velocity"),
        ("displacement", None, "displacement"),
        ("bspline_velocity", None, "bspline_velocity"),
        ("velocity", {"tv": 1.0}, "velocity"),
    ],
)
def test_a_penalty_alone_makes_a_velocity(transform, penalty, expected):
    assert choose_pairwise_transform(transform, penalty) == expected


@pytest.mark.parametrize(
    ("transform", "penalty", "message"),
    [
        ("tps", None, "Expected transform to be one of .* Received 'tps'"),
        ("displacement", "tv", "penalty=None .*Received penalty='tv'"),
    ],
)
def test_other_transforms_of_a_pair_are_refused(transform, penalty, message):
    with pytest.raises(ValueError, match=message):
        choose_pairwise_transform(transform, penalty)


def test_the_smoothness_of_a_displacement_is_limited():
    check_smoothness(None, "displacement")
    check_smoothness(MAX_SMOOTHNESS, "displacement")
    check_smoothness(10 * MAX_SMOOTHNESS, "velocity")
    with pytest.raises(ValueError, match="smoothness .*<= 100. Received 101"):
        check_smoothness(MAX_SMOOTHNESS + 1, "displacement")
    with pytest.raises(ValueError, match="smoothness .*>= 0. Received -1"):
        check_smoothness(-1, "velocity")


@pytest.mark.parametrize("level_iters", [[], 5, "5", [5, -1], [1.0]])
def test_invalid_iterations_are_refused(level_iters):
    with pytest.raises(ValueError, match="level_iters"):
        check_level_iters(level_iters)


@pytest.mark.parametrize("level_iters", [None, [0], (10, 5), [np.int64(3)]])
def test_lists_of_iterations_are_accepted(level_iters):
    check_level_iters(level_iters)
