import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.diffusion.distortion_levels import bring_to, make_levels


def test_axes_are_halved_while_they_keep_eight_voxels(rng):
    up, down = rng.random((2, 33, 70, 5), np.float32)
    levels = make_levels(up, down)
    assert [level.up.shape for level in levels] == [
        (9, 18, 5),
        (17, 35, 5),
        (33, 70, 5),
    ]
    assert [level.factors for level in levels] == [(4, 4, 1), (2, 2, 1), (1, 1, 1)]
    npt.assert_array_equal(levels[-1].down, down)
    npt.assert_allclose(levels[1].up[3, 4, 2], up[6:8, 8:10, 2].mean(), rtol=1e-6)
    # The last voxel of an odd axis counts twice.
    npt.assert_allclose(levels[1].up[16, 4, 2], up[32, 8:10, 2].mean(), rtol=1e-6)


def test_slopes_over_other_distances_have_other_weights(rng):
    level = make_levels(*rng.random((2, 32, 5), np.float32))[0]
    assert level.factors == (4, 1)
    assert level.weights(0.5) == [0.5, 8.0]


@pytest.mark.parametrize("shape", [(32, 20), (33, 21), (17, 16, 9)])
def test_a_ramp_stays_a_ramp_in_voxels_of_the_finer_level(shape, rng):
    coarse, fine = make_levels(*rng.random((2, *shape), np.float32))[-2:]
    ratio = np.array(coarse.factors)
    slopes = np.array([0.5, -0.25, 0.125][: len(shape)])
    # A coarse voxel has its centre between two fine ones.
    places = np.moveaxis(np.indices(coarse.up.shape), 0, -1) * ratio + (ratio - 1) / 2
    field = np.float32(places @ slopes / ratio[0])
    found = bring_to(fine, field, coarse.factors)
    expected = np.moveaxis(np.indices(shape), 0, -1) @ slopes
    inner = (slice(1, -2),) * len(shape)
    npt.assert_allclose(found[inner], expected[inner], atol=1e-5)
    assert found.shape == shape and found.dtype == np.float32


def test_the_first_axis_may_be_too_short_to_halve(rng):
    levels = make_levels(*rng.random((2, 12, 60), np.float32))
    assert len(levels) == 1 and levels[0].factors == (1, 1)
