import numpy as np
import numpy.testing as npt
import pytest
from scipy.linalg import solve_banded

from dipy_nn_reg.diffusion.tridiagonal import Tridiagonal


@pytest.mark.parametrize("shape", [(9, 4), (6, 3, 2), (1, 5), (2, 1)])
def test_each_line_is_solved_as_by_scipy(shape, rng):
    beside = rng.normal(size=(shape[0] - 1, *shape[1:])).astype(np.float32)
    diagonal = (5 + rng.random(shape)).astype(np.float32)
    right = rng.normal(size=shape).astype(np.float32)
    before = right.copy()
    found = Tridiagonal(diagonal, beside).solve(right)
    npt.assert_array_equal(right, before)
    assert found.dtype == np.float32
    for line in np.ndindex(*shape[1:]):
        rows = (slice(None), *line)
        bands = [np.append(0, beside[rows]), diagonal[rows], np.append(beside[rows], 0)]
        expected = solve_banded((1, 1), bands, right[rows])
        npt.assert_allclose(found[rows], expected, atol=1e-5)
