from keras import ops
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg.backend import value_and_gradient
from dipy_nn_reg.transform.kernels import (
    compose_fields,
    integrate_velocity,
    sample_images,
    then_affine,
    warp_linear,
    warp_nearest,
)

pytestmark = pytest.mark.backends

SHAPES = [(8, 9), (6, 5, 7)]


def scipy_compose(first, second):
    """Return ``second(x) + first(x + second(x))`` of two fields without a batch."""
    positions = np.indices(second.shape[:-1]) + np.moveaxis(second, -1, 0)
    return second + np.stack(
        [
            map_coordinates(component, positions, order=1, mode="nearest")
            for component in np.moveaxis(first, -1, 0)
        ],
        axis=-1,
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_composition_agrees_with_scipy(shape, rng):
    first, second = rng.normal(size=(2, 2, *shape, len(shape))).astype(np.float32)
    actual = compose_fields(*map(ops.convert_to_tensor, (first, second)))
    expected = [scipy_compose(*fields) for fields in zip(first, second)]
    npt.assert_allclose(ops.convert_to_numpy(actual), expected, atol=1e-5)


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_integration_is_repeated_composition(shape, steps, rng):
    velocity = rng.normal(size=(1, *shape, len(shape))).astype(np.float32)
    actual = integrate_velocity(ops.convert_to_tensor(velocity), steps)
    expected = velocity[0] / 2**steps
    for _ in range(steps):
        expected = scipy_compose(expected, expected)
    npt.assert_allclose(ops.convert_to_numpy(actual)[0], expected, atol=1e-4)


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
@pytest.mark.parametrize("shape", SHAPES)
def test_warp_samples_at_displaced_voxels(shape, interpolation, rng):
    image = rng.random((2, *shape, 3), dtype=np.float32)
    displacement = rng.normal(0, 2, (2, *shape, len(shape))).astype(np.float32)
    positions = np.moveaxis(np.indices(shape, np.float32), 0, -1) + displacement
    image, displacement, positions = map(
        ops.convert_to_tensor, (image, displacement, positions)
    )
    if interpolation == "linear":
        warped = warp_linear(image, displacement, "zero", False)
    else:
        warped = warp_nearest(image, displacement, "zero", None)
    sampled = sample_images(image, positions, interpolation, "zero", None)
    npt.assert_allclose(
        ops.convert_to_numpy(warped), ops.convert_to_numpy(sampled), atol=1e-6
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_a_displacement_is_followed_by_an_affine(shape, rng):
    """The gradient of a sum of ``w (A(x + u) - x)`` is ``A.T w``."""
    ndim = len(shape)
    matrix = np.eye(ndim, ndim + 1) + rng.uniform(-0.3, 0.3, (ndim, ndim + 1))
    field, weights = rng.normal(size=(2, 1, *shape, ndim)).astype(np.float32)
    arguments = field, matrix[None].astype(np.float32), weights
    arguments = [ops.convert_to_tensor(array) for array in arguments]

    def weighted(field, matrix, weights):
        return ops.sum(weights * then_affine(field, matrix))

    voxels = np.moveaxis(np.indices(shape), 0, -1)
    expected = (voxels + field) @ matrix[:, :ndim].T + matrix[:, ndim] - voxels
    found = ops.convert_to_numpy(then_affine(*arguments[:2]))
    npt.assert_allclose(found, expected, atol=1e-5)
    _, gradient = value_and_gradient(weighted)(*arguments)
    npt.assert_allclose(
        ops.convert_to_numpy(gradient), weights @ matrix[:, :ndim], atol=1e-5
    )
