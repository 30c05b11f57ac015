from nibabel.affines import apply_affine
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.mapping.affines import (
    check_affine,
    grid_points,
    lift_affine,
    plane_affine,
    with_last_row,
    world_affine,
)


@pytest.fixture
def affine(rng):
    affine = np.eye(4)
    affine[:3] += rng.uniform(-0.3, 0.3, (3, 4))
    return affine


def test_an_affine_is_checked_and_converted(affine):
    for dtype in (np.float32, np.float64, ">f4"):
        checked = check_affine(affine.astype(dtype), name="affine", ndim=3)
        assert checked.dtype == np.float64
        npt.assert_allclose(checked, affine, rtol=1e-6)
    assert check_affine(np.eye(3, dtype=int).tolist(), name="affine", ndim=2).shape == (
        3,
        3,
    )


def test_small_voxels_can_be_inverted():
    affine = np.diag([1e-4, 1e-4, 1e-4, 1])
    assert check_affine(affine, name="affine", ndim=3) is not None


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (np.eye(3), r"world of shape \(4, 4\). Received \(3, 3\)"),
        (np.full((4, 4), np.nan), "world with finite values"),
        (np.ones((4, 4)), ".* as its last row"),
        (np.diag([1, 1, 0, 1]), "world that can be inverted"),
        ([[1, 2], [3]], "world of numbers"),
        (np.full((4, 4), "a"), "world of numbers"),
        (np.eye(4) * 1j, "world of numbers"),
        (None, "world of numbers"),
    ],
)
def test_invalid_affines_are_refused(affine, message):
    with pytest.raises(ValueError, match=f"Expected {message}"):
        check_affine(affine, name="world", ndim=3)


def test_columns_that_are_almost_parallel_cannot_be_inverted():
    affine = np.eye(4)
    affine[:3, 1] = [1, 1e-7, 0]
    with pytest.raises(ValueError, match="that can be inverted"):
        check_affine(affine, name="affine", ndim=3)


def test_points_of_a_grid(affine):
    points = grid_points((3, 4, 5), affine).reshape(3, 4, 5, 3)
    assert points.dtype == np.float64
    for voxel in ((0, 0, 0), (2, 1, 4), (1, 3, 2)):
        npt.assert_allclose(points[voxel], apply_affine(affine, voxel))


def test_a_missing_affine_of_dipy_is_the_identity(affine):
    npt.assert_array_equal(world_affine(None, 2), np.eye(3))
    npt.assert_array_equal(world_affine(affine, 3), affine)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_last_row_makes_affines_of_matrices(ndim, rng):
    matrices = rng.random((5, ndim, ndim + 1)).astype(np.float32)
    affines = with_last_row(matrices)
    assert affines.shape == (5, ndim + 1, ndim + 1) and affines.dtype == np.float32
    npt.assert_array_equal(affines[:, :-1], matrices)
    npt.assert_array_equal(affines[:, -1], [[*[0] * ndim, 1]] * 5)


def test_a_lifted_affine_acts_in_the_first_two_axes(rng):
    flat = np.eye(3)
    flat[:2] = rng.random((2, 3))
    whole = lift_affine(flat)
    point = rng.random(3)
    npt.assert_allclose(
        apply_affine(whole, point), [*apply_affine(flat, point[:2]), point[2]]
    )
    npt.assert_array_equal(plane_affine(whole), flat)
    assert lift_affine(whole) is whole
