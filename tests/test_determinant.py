from keras import ops
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.determinant import determinant, solve


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_determinant_agrees_with_numpy(n, rng):
    matrices = rng.normal(size=(5, 6, n, n))
    rows = [[matrices[..., i, j] for j in range(n)] for i in range(n)]
    npt.assert_allclose(determinant(rows), np.linalg.det(matrices), atol=1e-12)
    tensors = [[ops.convert_to_tensor(x, "float32") for x in row] for row in rows]
    npt.assert_allclose(
        ops.convert_to_numpy(determinant(tensors)), np.linalg.det(matrices), atol=1e-4
    )


@pytest.mark.parametrize("n", [1, 2, 3])
def test_solutions_agree_with_numpy(n, rng):
    matrices, values = rng.normal(size=(5, 6, n, n)) + np.eye(n), rng.random((5, 6, n))
    rows = [[matrices[..., i, j] for j in range(n)] for i in range(n)]
    solution = solve(rows, [values[..., i] for i in range(n)])
    expected = np.linalg.solve(matrices, values[..., None])[..., 0]
    npt.assert_allclose(np.stack(solution, axis=-1), expected, rtol=1e-6)
