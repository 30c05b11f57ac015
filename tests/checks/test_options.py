from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dipy_nn_reg.checks.options import (
    check_fill,
    check_flag,
    check_input_shape,
    check_integer,
    check_name,
    check_number,
    check_path,
    check_shape,
)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check_name("loss", "x", {"b": 0, "a": 0}), r"\['a', 'b'\].*'x'"),
        (lambda: check_name("loss", ["x"], {"a": 0}), r"Received \['x'\]"),
        (
            lambda: check_integer("n", 0, lowest=1),
            "n to be an integer >= 1.*Received 0",
        ),
        (lambda: check_integer("n", 1.0, lowest=1), "Received 1.0"),
        (lambda: check_integer("n", True, lowest=1), "Received True"),
        (lambda: check_number("w", 0), "w to be a finite number > 0. Received 0"),
        (lambda: check_number("w", -1, or_zero=True), "finite number >= 0"),
        (lambda: check_number("w", float("nan")), "Received nan"),
        (lambda: check_number("w", "1"), "Received '1'"),
        (lambda: check_number("w", True), "Received True"),
        (lambda: check_number("w", -(10**20)), "finite number > 0. Received -1000"),
        (lambda: check_number("w", -1e-60, or_zero=True), "Received -1e-60"),
        (lambda: check_number("w", 1e300), "Received 1e.300, which float32 cannot"),
        (lambda: check_number("w", 10**400), "0000, which float32 cannot hold"),
        (lambda: check_number("w", 10**9999), "very many digits, which float32"),
        (lambda: check_number("w", 1e-60), "Received 1e-60, which float32 cannot"),
        (lambda: check_number("w", np.inf), r"Received inf\."),
        (lambda: check_number("w", 3, highest=2), r"> 0 and <= 2. Received 3\."),
        (lambda: check_flag("f", "no"), "f to be True or False. Received 'no'"),
        (lambda: check_flag("f", 1), "f to be True or False. Received 1"),
        (lambda: check_number("w", Decimal(1)), r"Received Decimal\('1'\)"),
        (lambda: check_integer("n", -(10**9999), lowest=0), "very many digits"),
        (
            lambda: check_integer("n", 10**20, lowest=0, highest=9),
            "n to be an integer >= 0 and <= 9. Received 1000",
        ),
        (lambda: check_input_shape((28,)), r"two or three axes. Received \(28,\)"),
        (lambda: check_input_shape(28), "Received 28"),
        (lambda: check_input_shape((28, 1)), "integer >= 2. Received 1"),
    ],
)
def test_invalid_options_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_valid_options_are_accepted():
    check_name("loss", "a", ("a", "b"))
    check_integer("n", np.int64(1), lowest=1)
    check_number("w", np.float32(0.5))
    check_number("w", 0, or_zero=True)
    check_number("w", 10**20)  # more than NumPy's integers hold
    check_number("w", Fraction(10**400 + 1, 10**400))
    check_integer("n", 10**20, lowest=1)
    check_input_shape([28, 30, 20])


@pytest.mark.parametrize(
    "path",
    [None, 3, b"a.nii", ["a.nii"], "a\0.nii", object(), Path, {"a"}],
    ids=lambda path: repr(path)[:12],
)
def test_invalid_paths_are_refused(path):
    with pytest.raises(ValueError, match="Expected folder to be a path. Received"):
        check_path("folder", path)


def test_strings_and_paths_are_accepted(tmp_path):
    for path in (tmp_path, str(tmp_path)):
        assert check_path("path", path) == tmp_path


@pytest.mark.parametrize(
    "shape",
    [None, 4, "44", (), (4,), (4, 4, 4), (0, 4), (-1, 4), (4.5, 4), (True, 4)]
    + [((4, 4), 4), (10**30, 4), np.ones((2, 2), int), {4, 5}, range(2), (np.nan, 4)],
    ids=str,
)
def test_invalid_sizes_of_a_grid_are_refused(shape):
    with pytest.raises(ValueError, match="Expected .*shape.* Received"):
        check_shape("shape", shape, ndim=2)


@pytest.mark.parametrize(
    "convert", [list, tuple, np.array, lambda s: np.array(s, "u1")]
)
def test_any_sequence_of_integers_is_a_size_of_a_grid(convert):
    actual = check_shape("shape", convert((4, 5)))
    assert actual == (4, 5) and all(type(size) is int for size in actual)


@pytest.mark.parametrize("fill", [None, 0, -1000.0, np.float32(0.5), Fraction(1, 3)])
def test_finite_fills_are_accepted(fill):
    check_fill(fill)


@pytest.mark.parametrize("fill", [np.inf, np.nan, True, "0", [0.0], 1j])
def test_other_fills_are_refused(fill):
    with pytest.raises(ValueError, match="Expected fill to be a finite number"):
        check_fill(fill)
