import numpy as np
import pytest

from dipy_nn_reg.checks import check_dial, check_takes_dial, is_any, parse_smoothness


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, None), ("any", "any"), ("0.3", 0.3), (0.3, 0.3), ("0", 0.0), (2, 2.0)],
)
def test_a_smoothness_is_a_weight_or_any(text, expected):
    assert parse_smoothness(text) == expected


@pytest.mark.parametrize("text", ["some", "", "-1", "nan", "inf", -0.5, [1]])
def test_other_words_and_weights_are_refused(text):
    with pytest.raises(ValueError, match="Expected smoothness to be a"):
        parse_smoothness(text)


@pytest.mark.parametrize("smoothness", [0, 0.5, 1, 1.0])
def test_a_dial_is_from_0_to_1(smoothness):
    check_dial(smoothness)


@pytest.mark.parametrize("smoothness", [-0.1, 1.01, True, "any", None, float("nan")])
def test_another_dial_is_refused(smoothness):
    with pytest.raises(ValueError, match="smoothness.*>= 0 and <= 1"):
        check_dial(smoothness)


@pytest.mark.parametrize("network", ["unet", "fcn", len, None])
def test_networks_without_a_dial_are_trained_for_one_smoothness(network):
    check_takes_dial(network, 0.5)
    check_takes_dial("pyramid", "any")
    with pytest.raises(ValueError, match="network.*'pyramid'.*smoothness='any'"):
        check_takes_dial(network, "any")


def test_only_the_word_is_any():
    assert is_any("any")
    for other in (np.ones(3), np.array(["any", "any"]), 1.0, None):
        assert not is_any(other)
