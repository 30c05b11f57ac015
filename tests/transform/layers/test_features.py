import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.transform.layers.features import Correlate, CutLike, Moments

pytestmark = pytest.mark.backends


@pytest.mark.parametrize("shape", [(4, 6), (5, 3, 4)])
def test_cut_keeps_the_start_of_each_axis(shape, rng):
    features = rng.random((1, *[n + 1 for n in shape], 2), dtype=np.float32)
    reference = np.zeros((1, *shape, 1), np.float32)
    actual = keras.ops.convert_to_numpy(CutLike()(features, reference))
    start = (slice(None), *[slice(n) for n in shape])
    npt.assert_array_equal(actual, features[start])


@pytest.mark.parametrize("shape", [(7, 5), (4, 6, 5)])
def test_moments_locate_a_single_voxel(shape):
    """For one voxel they are the mean, and the mean times its position."""
    voxel = (1, 4, 2)[: len(shape)]
    features = np.zeros((1, *shape, 1), np.float32)
    features[(0, *voxel)] = 3 * np.prod(shape)
    actual = keras.ops.convert_to_numpy(Moments()(features))[0]
    positions = [(2 * p - (n - 1)) / max(shape) for p, n in zip(voxel, shape)]
    npt.assert_allclose(actual, [3, *np.multiply(3, positions)], atol=1e-5)


@pytest.mark.parametrize("shape", [(7, 5), (4, 3, 5)])
def test_correlation_with_each_neighbour(shape, rng):
    one, other = rng.random((2, 2, *shape, 3), dtype=np.float32)
    actual = keras.ops.convert_to_numpy(Correlate()(one, other))
    offsets = list(np.ndindex(*[3] * len(shape)))
    assert actual.shape == (2, *shape, len(offsets))
    for n, offset in enumerate(offsets):
        for voxel in np.ndindex(*shape):
            place = np.array(voxel) + offset - 1
            inside = np.all(place >= 0) and np.all(place < shape)
            near = other[(slice(None), *place)] if inside else np.zeros((2, 3))
            expected = (one[(slice(None), *voxel)] * near).mean(-1)
            npt.assert_allclose(actual[(slice(None), *voxel, n)], expected, atol=1e-5)
