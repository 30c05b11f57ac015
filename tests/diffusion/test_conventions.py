from dipy.reconst.dti import from_lower_triangular, lower_triangular
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.diffusion.conventions import CONVENTIONS, ORDERS, axes_of
from dipy_nn_reg.symmetric import from_matrices, to_matrices

# Components as each program lists them.
LISTED = {
    "dipy": ["xx", "xy", "yy", "xz", "yz", "zz"],
    "fsl": ["xx", "xy", "xz", "yy", "yz", "zz"],
    "mrtrix": ["xx", "yy", "zz", "xy", "xz", "yz"],
    "itk": ["xx", "xy", "yy", "xz", "yz", "zz"],
}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_values_are_in_the_order_of_each_program(convention):
    matrix = np.array([[1, 2, 4], [2, 3, 5], [4, 5, 6.0]])
    expected = [matrix["xyz".index(a), "xyz".index(b)] for a, b in LISTED[convention]]
    places = ORDERS[convention]
    npt.assert_array_equal(from_matrices(matrix, places), expected)
    npt.assert_array_equal(to_matrices(np.array(expected), places), matrix)


def test_the_order_of_dipy_is_that_of_its_functions(rng):
    values = rng.normal(size=(3, 6))
    matrices = from_lower_triangular(values)
    npt.assert_array_equal(to_matrices(values, ORDERS["dipy"]), matrices)
    stored = from_matrices(matrices, ORDERS["dipy"])
    npt.assert_array_equal(stored, lower_triangular(matrices))


def test_axes_are_those_of_the_files():
    flipped = np.diag([-2.0, 2, 3, 1])
    npt.assert_array_equal(axes_of("mrtrix", flipped), np.eye(3))
    npt.assert_array_equal(axes_of("itk", flipped), np.diag([-1, -1, 1]))
    npt.assert_allclose(axes_of("fsl", flipped), np.diag([-1, 1, 1]))
    # With a positive determinant, FSL changes the sign of the first axis.
    npt.assert_allclose(axes_of("dipy", np.diag([2.0, 2, 3, 1])), np.diag([-1, 1, 1]))
