from keras import ops
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import uniform_filter

from dipy_nn_reg.losses.averages import masked_mean, moving_average

SHAPES = [(9, 8), (7, 6, 5)]


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_mean_agrees_with_numpy(shape, keepdims, rng):
    x = rng.random((3, *shape, 2), dtype=np.float32)
    mask = rng.random((3, *shape, 1), dtype=np.float32)
    tensors = [ops.convert_to_tensor(array) for array in (x, mask)]
    for weights, used in ((None, None), (mask, tensors[1])):
        actual = ops.convert_to_numpy(masked_mean(tensors[0], used, keepdims=keepdims))
        if weights is not None:
            weights = np.broadcast_to(weights, x.shape)
        axes = tuple(range(1, x.ndim))
        expected = np.average(x, axis=axes, weights=weights, keepdims=keepdims)
        npt.assert_allclose(actual, expected, rtol=1e-5)


def test_mean_over_an_empty_mask_is_zero(rng):
    x = ops.convert_to_tensor(rng.random((2, 4, 5, 3), dtype=np.float32))
    npt.assert_array_equal(masked_mean(x, ops.zeros((2, 4, 5, 1))), 0)


@pytest.mark.parametrize("shape", SHAPES)
def test_moving_average_agrees_with_scipy(shape, rng):
    x = rng.random((2, *shape, 2), dtype=np.float32)
    windows = (3, 5, 1)[: len(shape)]
    actual = ops.convert_to_numpy(moving_average(ops.convert_to_tensor(x), windows))
    expected = uniform_filter(x.astype(np.float64), (1, *windows, 1))
    # Windows inside of the image alone.
    inside = [slice(w // 2, n - w // 2) for w, n in zip(windows, shape)]
    npt.assert_allclose(actual, expected[(slice(None), *inside)], rtol=1e-5)
