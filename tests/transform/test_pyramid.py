from keras import ops
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg.transform.pyramid import coarse_shape, enlarge, shrink

pytestmark = pytest.mark.backends

SHAPES = [(12, 16), (13, 9), (8, 12, 10), (7, 9, 11)]


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_images_are_averaged_over_the_voxels_of_each_block(shape, stride, rng):
    image = rng.random((2, *shape, 3), dtype=np.float32)
    expected = image
    halvings = {1: 0, 2: 1, 4: 2}[stride]
    for axis in list(range(1, len(shape) + 1)) * halvings:
        size = expected.shape[axis]
        starts = np.arange(0, size, 2)
        sums = np.add.reduceat(expected, starts, axis=axis)
        counts = np.diff([*starts, size]).reshape([-1] + [1] * (len(shape) + 1 - axis))
        expected = sums / counts
    actual = ops.convert_to_numpy(shrink(ops.convert_to_tensor(image), stride))
    assert actual.shape[1:-1] == coarse_shape(shape, stride)
    npt.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_enlarging_agrees_with_scipy(shape, stride, rng):
    ndim = len(shape)
    coarse = rng.normal(size=(2, *coarse_shape(shape, stride), ndim)).astype("float32")
    reference = np.zeros((2, *shape, 1), np.float32)
    actual = ops.convert_to_numpy(enlarge(coarse, reference, stride))
    # A coarse voxel lies at the centre of those that it covers.
    positions = (np.indices(shape) - (stride - 1) / 2) / stride
    for item, displacement in zip(actual, coarse):
        for component in range(ndim):
            expected = map_coordinates(
                displacement[..., component], positions, order=1, mode="nearest"
            )
            npt.assert_allclose(
                item[..., component], stride * expected, rtol=1e-4, atol=1e-5
            )


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_of_enlarging_is_its_transpose(shape, rng, gradient):
    ndim = len(shape)
    coarse = rng.normal(size=(1, *coarse_shape(shape, 2), ndim)).astype("float32")
    weight = rng.normal(size=(1, *shape, ndim)).astype("float32")
    (actual,) = gradient(
        lambda u: ops.sum(ops.multiply(weight, enlarge(u, weight, 2))), coarse
    )
    # It is linear: the sum is the product of the gradient and the displacement.
    value = np.sum(weight * ops.convert_to_numpy(enlarge(coarse, weight, 2)))
    npt.assert_allclose(np.sum(actual * coarse), value, rtol=1e-3)


@pytest.mark.parametrize("shape", [(13, 9), (7, 9, 11)])
def test_the_border_of_an_odd_axis_is_repeated(shape, rng):
    image = rng.random((1, *shape, 2), dtype=np.float32)
    even = np.pad(image, [(0, 0), *[(0, 1)] * len(shape), (0, 0)], mode="edge")
    small, of_even = (
        ops.convert_to_numpy(shrink(ops.convert_to_tensor(i), 2)) for i in (image, even)
    )
    npt.assert_allclose(small, of_even, atol=1e-6)


@pytest.mark.parametrize(("n", "last"), [(12, 0.5), (13, 0.375)])
def test_error_of_a_slope_at_the_border(n, last):
    # Averages are 2 i + 1/2, and n - 1 for a block of one voxel.
    slope = np.zeros((1, n, 4, 2), np.float32)
    slope[..., 0] = np.arange(n)[:, None]
    coarse = ops.convert_to_numpy(shrink(ops.convert_to_tensor(slope), 2)) / 2
    actual = ops.convert_to_numpy(enlarge(coarse, slope, 2))[0, :, 1, 0]
    error = np.abs(actual - np.arange(n))
    assert error[-1] == pytest.approx(last, abs=1e-5)
    inside = slice(1, n - 2)
    npt.assert_allclose(error[inside], 0, atol=1e-5)
