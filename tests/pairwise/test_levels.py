import pytest

from dipy_nn_reg.pairwise.levels import (
    best_end,
    iterations_for,
    levels_of,
)


def test_levels_on_which_images_are_too_small_are_left_out():
    assert levels_of((100, 200), (1, 2, 3, 4)) == [(8, 1), (4, 2), (2, 3), (1, 4)]
    assert levels_of((30, 200), (1, 2, 3, 4)) == [(2, 3), (1, 4)]
    assert levels_of((5, 5, 5), (1, 2)) == [(1, 2)]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((160, 192, 160), [25, 25, 9, 5]),
        ((80, 96, 80), [25, 25, 25, 9]),
        ((128, 128), [25, 25, 25, 25]),
        ((1000, 1000, 1000), [5, 5, 5, 5]),
    ],
)
def test_large_images_take_fewer_iterations(shape, expected):
    """Six million voxels are updated on each level, 5 to 25 times each."""
    assert iterations_for(shape) == expected


@pytest.mark.parametrize(
    ("shape", "stride", "expected"),
    [
        ((80, 96, 80), 1, [20, 5]),
        ((80, 96, 80), 2, [20, 5]),
        ((160, 192, 160), 4, [20, 5, 5]),
        ((48, 64, 48), 2, [20, 20]),
        ((512, 512), 8, [20, 20, 20, 11]),
    ],
)
def test_a_model_leaves_few_iterations(shape, stride, expected):
    assert iterations_for(shape, stride) == expected


@pytest.mark.parametrize("diverged", [float("nan"), float("-inf")])
def test_an_end_that_diverged_is_not_the_best(diverged):
    assert best_end([("a", diverged), ("b", 0.9), ("c", 0.5)]) == "c"
    assert best_end([("a", 0.5), ("b", diverged)]) == "a"
    assert best_end([("a", diverged), ("b", diverged)]) == "a"
