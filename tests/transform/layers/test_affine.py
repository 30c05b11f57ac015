import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.transform.layers.affine import AffineMatrix, ApplyAffine, ComposeAffine

pytestmark = pytest.mark.backends


@pytest.mark.parametrize("shape", [(9, 12), (7, 10, 5)])
def test_matrix_of_an_affine_map_about_the_centre(shape, rng):
    ndim, center = len(shape), (np.array(shape) - 1) / 2
    parameters = rng.normal(0, 0.2, (2, ndim, ndim + 1)).astype(np.float32)
    reference = np.zeros((2, *shape, 1), np.float32)
    flat = parameters.reshape(2, -1)
    matrices = keras.ops.convert_to_numpy(AffineMatrix()(flat, reference))
    point = rng.uniform(0, 9, ndim)
    for matrix, parameter in zip(matrices, parameters):
        linear, offset = np.eye(ndim) + parameter[:, :ndim], parameter[:, ndim]
        expected = linear @ (point - center) + center + offset * max(shape) / 2
        npt.assert_allclose(matrix @ [*point, 1], expected, atol=1e-5)
    identity = keras.ops.convert_to_numpy(AffineMatrix()(0 * flat, reference))
    npt.assert_array_equal(identity[0], np.eye(ndim, ndim + 1))


@pytest.mark.parametrize("shape", [(9, 12), (7, 10, 5)])
def test_composed_and_applied_affine_maps(shape, rng):
    ndim = len(shape)
    outer, inner = rng.normal(0, 1, (2, 1, ndim, ndim + 1)).astype(np.float32)
    displacement = rng.normal(size=(1, *shape, ndim)).astype(np.float32)
    product = keras.ops.convert_to_numpy(ComposeAffine()(outer, inner))[0]
    last = np.eye(ndim + 1)[-1:]
    expected = np.vstack([outer[0], last]) @ np.vstack([inner[0], last])
    npt.assert_allclose(product, expected[:ndim], atol=1e-5)
    actual = keras.ops.convert_to_numpy(ApplyAffine()(outer, displacement))[0]
    grid = np.moveaxis(np.indices(shape), 0, -1)
    moved = (grid + displacement[0]) @ outer[0, :, :ndim].T + outer[0, :, ndim]
    npt.assert_allclose(actual, moved - grid, atol=1e-4)
