from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.checks import (
    check_images,
    check_input_shape,
    check_integer,
    check_name,
    check_number,
    check_pairs,
    check_path,
    check_real,
    check_shape,
    check_training_pairs,
)

LAYOUT = {"ndim": 2, "num_channels": 1}


def test_layouts_of_pairs():
    moving = np.ones((3, 5, 4))
    for static in (np.ones((5, 4)), np.ones((5, 4, 1)), np.ones((1, 5, 4))):
        checked = check_pairs(moving, static, **LAYOUT)
        assert [c.shape for c in checked] == [(3, 5, 4, 1), (1, 5, 4, 1)]
    checked = check_pairs(moving[..., None], moving, **LAYOUT)
    assert [c.shape for c in checked] == [(3, 5, 4, 1)] * 2
    moving = np.ones((3, 5, 4, 6, 2))
    checked = check_pairs(moving, moving[0], ndim=3, num_channels=2)
    assert [c.shape for c in checked] == [(3, 5, 4, 6, 2), (1, 5, 4, 6, 2)]


def test_images_are_not_copied():
    images = np.ones((3, 5, 4), np.uint8)
    checked = check_images(images, name="moving", **LAYOUT)
    assert np.shares_memory(checked, images)
    npt.assert_array_equal(checked[..., 0], images)


@pytest.mark.parametrize(
    ("moving", "message"),
    [
        (np.ones((5, 4)), r"moving of shape \(n, x, y, 1\) or \(n, x, y\).*\(5, 4\)"),
        (np.ones((2, 5, 4, 3)), r"moving of shape.*\(2, 5, 4, 3\)"),
        (np.ones((0, 5, 4)), r"at least one image.*\(0, 5, 4\)"),
        (np.ones((2, 0, 4)), "two voxels or more"),
        (np.ones((28, 28, 1)), r"two voxels or more.*\(28, 28, 1\)"),
        (np.array([[[-3e38, 3e38]] * 2], np.float32), "range of float32"),
        (np.full((2, 5, 4), np.nan), "finite values in .*moving.*nan"),
        (np.full((2, 5, 4), -np.inf), "finite values in moving.*-inf"),
        (np.full((2, 5, 4), 1e39), "range of float32"),
        (np.full((2, 5, 4), "a"), "real numbers in moving.*<U1"),
        (np.ones((2, 5, 4), complex), "real numbers in moving.*complex128"),
    ],
)
def test_bad_images(moving, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        check_images(moving, name="moving", **LAYOUT)


@pytest.mark.parametrize(
    ("static", "message"),
    [
        (np.ones((5, 3)), "static of shape"),
        (np.ones((1, 5, 3)), r"size of the moving ones, \(5, 4\). Received.*\(5, 3\)"),
        (np.ones((2, 5, 4)), "one for each of the 3 moving images. Received 2"),
        (np.full((5, 4), np.nan), "finite values in static"),
        (None, "static of shape"),
    ],
)
def test_static_images_that_do_not_fit(static, message):
    with pytest.raises(ValueError, match=message):
        check_pairs(np.ones((3, 5, 4)), static, **LAYOUT)


def test_training_pairs_need_a_static_image_or_two_images():
    moving, static = check_training_pairs(np.ones((2, 5, 4)), None, **LAYOUT)
    assert moving.shape == (2, 5, 4, 1)
    assert static is None
    with pytest.raises(ValueError, match="one moving image and static=None"):
        check_training_pairs(np.ones((1, 5, 4)), None, **LAYOUT)


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
def test_bad_options(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_good_options():
    check_name("loss", "a", ("a", "b"))
    check_integer("n", np.int64(1), lowest=1)
    check_number("w", np.float32(0.5))
    check_number("w", 0, or_zero=True)
    check_number("w", 10**20)  # as an integer it is none of NumPy's
    check_number("w", Fraction(10**400 + 1, 10**400))
    check_integer("n", 10**20, lowest=1)
    check_input_shape([28, 30, 20])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ma.masked_less([1, 2, 3], 2), "a without masked values.*1 of 3"),
        ([[1, 2], [3]], "a to be an array of real numbers"),
        (np.array([1j]), "real numbers in a. Received a.dtype=complex128"),
        (np.array(["2020-01-01"], "M8[D]"), "a.dtype=datetime64"),
        ([None, 1], "a.dtype=object"),
        ([10**400], "a.dtype=object"),
        ("3", "a.dtype=<U1"),
        (3.0, r"one value or more. Received a.shape=\(\)"),
        (np.zeros((3, 0)), r"a.shape=\(3, 0\)"),
    ],
)
def test_what_is_no_array_of_real_numbers(array, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        check_real("a", array)


@pytest.mark.parametrize("dtype", [bool, np.uint64, np.float16, ">f8"])
def test_arrays_of_real_numbers_come_as_they_are(dtype):
    array = np.ones((2, 3), dtype)
    assert check_real("a", array) is array
    unmasked = check_real("a", np.ma.array([1.5, 2]))
    npt.assert_array_equal(unmasked, [1.5, 2])


@pytest.mark.parametrize(
    "path",
    [None, 3, b"a.nii", ["a.nii"], "a\0.nii", object(), Path, {"a"}],
    ids=lambda path: repr(path)[:12],
)
def test_what_is_no_path(path):
    with pytest.raises(ValueError, match="Expected folder to be a path. Received"):
        check_path("folder", path)


def test_paths_come_in_any_dress(tmp_path):
    for path in (tmp_path, str(tmp_path)):
        assert check_path("path", path) == tmp_path


@pytest.mark.parametrize(
    "shape",
    [None, 4, "44", (), (4,), (4, 4, 4), (0, 4), (-1, 4), (4.5, 4), (True, 4)]
    + [((4, 4), 4), (10**30, 4), np.ones((2, 2), int), {4, 5}, range(2), (np.nan, 4)],
    ids=str,
)
def test_what_is_no_size_of_a_grid(shape):
    with pytest.raises(ValueError, match="Expected .*shape.* Received"):
        check_shape("shape", shape, ndim=2)


@pytest.mark.parametrize("dress", [list, tuple, np.array, lambda s: np.array(s, "u1")])
def test_sizes_of_grids_come_in_any_dress(dress):
    found = check_shape("shape", dress((4, 5)))
    assert found == (4, 5) and all(type(size) is int for size in found)
