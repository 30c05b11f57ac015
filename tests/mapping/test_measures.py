from nibabel.affines import apply_affine
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import metrics
from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.mapping.measures import lengths_of, measure_field, roughness_of


@pytest.mark.parametrize("shape", [(20, 22), (16, 15, 17), (16, 15, 4)])
def test_measures_of_a_map(shape, smooth_field):
    field = smooth_field(shape, sigma=5, largest=1.0)
    ndim = len(shape)
    affine = np.diag([2.0, 3, 4, 1])[-ndim - 1 :, -ndim - 1 :]
    mapping = displacement_to_mapping(field, static_affine=affine, moving_affine=affine)
    row = measure_field(mapping)
    npt.assert_equal(roughness_of(mapping), row["sd_log_jacobian"])
    lengths = np.linalg.norm(field * np.diag(affine)[:-1], axis=-1)
    npt.assert_allclose(row["mean_displacement_mm"], lengths.mean(), rtol=1e-5)
    npt.assert_allclose(row["largest_displacement_mm"], lengths.max(), rtol=1e-5)
    assert row["folding"] == metrics.folding(field)
    if min(shape) < 5:
        assert np.isnan(row["sd_log_jacobian"])
    else:
        expected = metrics.sd_log_jacobian(field)
        npt.assert_allclose(row["sd_log_jacobian"], expected, rtol=1e-4)
    # The inverse is unknown at the border, where the field leaves the grid.
    assert 0 < row["inverse_error_mm"] < row["mean_displacement_mm"]


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 7)])
def test_lengths_in_mm_are_those_between_points_in_the_world(shape, rng):
    """The axes of the grid are oblique, so that voxel sizes alone do not suffice."""
    ndim = len(shape)
    field = rng.normal(size=(*shape, ndim)).astype(np.float32)
    affine = np.eye(ndim + 1)
    affine[:-1] = rng.normal(size=(ndim, ndim + 1))
    lengths = lengths_of(field, affine)
    assert lengths.dtype == np.float32
    for voxel in np.ndindex(shape):
        begin, end = (apply_affine(affine, v) for v in (voxel, voxel + field[voxel]))
        npt.assert_allclose(lengths[voxel], np.linalg.norm(end - begin), rtol=1e-4)
    npt.assert_allclose(lengths_of(field), np.linalg.norm(field, axis=-1), rtol=1e-5)


def test_a_map_of_one_slice_is_measured_in_its_plane(smooth_field):
    field = smooth_field((20, 22), sigma=5, largest=1.0)
    lifted = displacement_to_mapping(field, static_affine=np.eye(4))
    flat = displacement_to_mapping(field)
    for name, value in measure_field(flat).items():
        npt.assert_allclose(measure_field(lifted)[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(20, 22), (2, 22), (20, 2)])
def test_a_slice_along_any_axis_is_measured_in_its_plane(axis, shape, smooth_field):
    field = smooth_field(shape, sigma=5, largest=1.0)
    flat = measure_field(displacement_to_mapping(field, inverse=-field))
    field = np.insert(field, axis, 0, axis=-1)
    field = np.expand_dims(field, axis)
    found = measure_field(displacement_to_mapping(field, inverse=-field))
    for name in set(flat) - {"inverse_error_mm"}:
        npt.assert_allclose(found[name], flat[name], rtol=1e-4, atol=1e-6)
    assert np.isnan(found["sd_log_jacobian"]) == (min(shape) < 5)
    assert np.isfinite(found["inverse_error_mm"])


def test_a_fold_of_a_slice_is_counted():
    field = np.zeros((6, 1, 8, 3), np.float32)
    field[..., 2] = -2 * np.arange(8)  # reverses the last axis
    assert (
        measure_field(displacement_to_mapping(field, inverse=field))["folding"] == 100
    )


def test_a_map_of_two_slices_is_measured(smooth_field):
    field = smooth_field((16, 15, 2), sigma=5, largest=0.5)
    row = measure_field(displacement_to_mapping(field, inverse=-field))
    assert row["folding"] == metrics.folding(field)
    assert np.isnan(row["sd_log_jacobian"])
