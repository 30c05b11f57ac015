from keras import ops
import numpy as np
import numpy.testing as npt

from dipy_nn_reg import metrics
from dipy_nn_reg.pairwise.unfolding import unfold, unfold_displacement, where_folded


def test_a_velocity_that_folds_is_smoothed():
    velocity = np.zeros((1, 24, 20, 2), np.float32)
    velocity[0, 10, 8:12, 0], velocity[0, 12, 8:12, 0] = 1.5, -1.5
    assert metrics.folding(velocity[0]) > 0
    smooth, displacement = unfold(ops.convert_to_tensor(velocity), lambda field: field)
    assert metrics.folding(displacement) == 0
    smooth = ops.convert_to_numpy(smooth)[0]
    npt.assert_array_equal(smooth, displacement)
    npt.assert_array_equal(smooth[:3], 0)


def test_a_velocity_without_folds_is_unchanged(smooth_field):
    velocity = smooth_field((20, 22), sigma=4, largest=1.0)[None]
    kept, _ = unfold(velocity, lambda field: field)
    assert kept is velocity


def test_velocity_and_displacement_correspond(rng):
    """Even if the field still folds after the last repair."""
    velocity = ops.convert_to_tensor(rng.normal(0, 9, (1, 12, 13, 2)), "float32")

    def displace(velocity):
        return 50 * velocity

    smooth, displacement = unfold(velocity, displace)
    assert metrics.folding(displacement) > 0
    npt.assert_array_equal(displacement, ops.convert_to_numpy(displace(smooth))[0])


def test_a_field_folds_where_its_determinant_is_not_positive(rng):
    for shape in ((12, 13), (6, 7, 8)):
        field = rng.normal(0, 0.7, (*shape, len(shape))).astype(np.float32)
        expected = metrics.is_folded(metrics.jacobian_determinant(field))
        assert 0 < expected.mean() < 1
        npt.assert_array_equal(where_folded(field), expected)


def test_a_displacement_is_smoothed_where_neighbours_change_places():
    """A central difference spans two voxels, and does not see it."""
    for ndim in (2, 3):
        field = np.zeros((14,) * ndim + (ndim,), np.float32)
        field[(7,) * ndim] = 1.2
        assert metrics.folding(field) == 0 < metrics.folding(field, strict=True)
        smooth = unfold_displacement(ops.convert_to_tensor(field[None]))
        smooth = ops.convert_to_numpy(smooth)[0]
        assert metrics.folding(smooth, strict=True) == 0
        npt.assert_array_equal(smooth[0], 0)


def test_a_displacement_without_folds_is_unchanged(smooth_field):
    field = ops.convert_to_tensor(smooth_field((20, 22), sigma=4, largest=1.0)[None])
    assert unfold_displacement(field) is field
