import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.checks.arrays import check_real


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
def test_invalid_arrays_are_refused(array, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        check_real("a", array)


@pytest.mark.parametrize("dtype", [bool, np.uint64, np.float16, ">f8"])
def test_valid_arrays_are_returned_unchanged(dtype):
    array = np.ones((2, 3), dtype)
    assert check_real("a", array) is array
    unmasked = check_real("a", np.ma.array([1.5, 2]))
    npt.assert_array_equal(unmasked, [1.5, 2])
