from nibabel.affines import apply_affine
import numpy as np
import numpy.testing as npt
import pytest
from scipy.spatial.transform import Rotation

from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.slices import (
    Slice,
    axis_across,
    in_one_plane,
    normal_of,
    onto_plane,
    without_thickness,
)


@pytest.fixture
def affine(rng):
    affine = np.eye(4)
    affine[:3] += rng.uniform(-0.3, 0.3, (3, 4))
    return affine


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("num_channels", [1, 3])
def test_a_slice_keeps_its_place_in_the_world(axis, num_channels, affine, rng):
    shape = [4, 5, 6]
    shape[axis] = 1
    channels = () if num_channels == 1 else (num_channels,)
    image = rng.random((*shape, *channels))
    one = Slice.of("moving", image, affine, num_channels)
    assert one.image.ndim == 2 + len(channels)
    assert one.shape == tuple(shape)
    for row in range(one.image.shape[0]):
        for column in range(one.image.shape[1]):
            stored = [row, column]
            stored.insert(axis, 0)
            npt.assert_array_equal(one.image[row, column], image[tuple(stored)])
            npt.assert_allclose(
                apply_affine(one.affine, [row, column, 0]),
                apply_affine(affine, stored),
            )


def test_an_image_of_two_axes_is_a_slice_across_the_third(affine, rng):
    image = rng.random((4, 5))
    one = Slice.of("moving", image, affine, 1)
    npt.assert_array_equal(one.image, image)
    npt.assert_array_equal(one.affine, affine)
    assert one.shape == (4, 5, 1)


def test_a_volume_is_left_as_it_is(affine, rng):
    image = rng.random((4, 5, 6))
    one = Slice.of("moving", image, affine, 1)
    npt.assert_array_equal(one.image, image)
    assert one.shape == (4, 5, 6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_annotations_and_fields_are_turned_as_the_image(axis, affine, rng):
    shape = [4, 5, 6]
    shape[axis] = 1
    image = rng.random(shape)
    one = Slice.of("moving", image, affine, 1)
    npt.assert_array_equal(one.turn(image)[:, :, 0], one.image)
    field = rng.random((*one.image.shape, 2))
    stored = one.field_as_stored(field)
    assert stored.shape == (*shape, 3)
    # The displacement of a voxel is the same in the world, turned or stored.
    npt.assert_allclose(
        np.squeeze(stored, axis) @ affine[:3, :3].T,
        np.pad(field, [(0, 0), (0, 0), (0, 1)]) @ one.affine[:3, :3].T,
    )


def test_slices_are_brought_into_one_plane(affine, dipy_log):
    """A point of the static slice then lies in the plane of the moving slice."""
    prealign, moving_affine = np.eye(4), affine.copy()
    prealign[:3, :3] = Rotation.from_euler("xyz", [5, -8, 10], True).as_matrix()
    moving_affine[:3, 3] += 7
    projected = in_one_plane(prealign, moving_affine, affine)
    to_moving = np.linalg.inv(moving_affine) @ projected @ affine
    npt.assert_allclose(to_moving[2], [0, 0, to_moving[2, 2], 0], atol=1e-12)
    before = np.linalg.inv(moving_affine) @ prealign @ affine
    npt.assert_allclose(to_moving[:2], before[:2], atol=1e-12)
    assert "mm apart across it" in dipy_log.text


def test_an_affine_within_the_plane_is_returned_itself(affine):
    prealign = np.eye(4)
    assert in_one_plane(prealign, affine, affine) is prealign


@pytest.mark.parametrize(("angle", "is_refused"), [(55, False), (65, True), (90, True)])
def test_planes_more_than_60_degrees_apart_are_refused(angle, is_refused):
    prealign = np.eye(4)
    prealign[:3, :3] = Rotation.from_euler("x", angle, degrees=True).as_matrix()
    if not is_refused:
        in_one_plane(prealign, np.eye(4), np.eye(4))
        return
    with pytest.raises(ValueError, match=f"{angle} degrees apart"):
        in_one_plane(prealign, np.eye(4), np.eye(4))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_points_move_to_the_plane_by_the_shortest_way(axis, affine, rng):
    shape = np.full(3, 8)
    shape[axis] = 1
    grid, points = Grid(tuple(shape), affine), rng.normal(size=(20, 3))
    moved = onto_plane(points, grid)
    # The least squares of places in the plane, along its two axes.
    axes = np.delete(affine[:3, :3], axis, axis=1)
    within, *_ = np.linalg.lstsq(axes, (points - affine[:3, 3]).T)
    npt.assert_allclose(moved, (axes @ within).T + affine[:3, 3], atol=1e-12)
    normal = normal_of(grid)
    npt.assert_allclose(normal @ axes, 0, atol=1e-12)
    assert normal @ affine[:3, axis] > 0 and axis_across(grid.shape) == axis


def test_an_affine_without_thickness_does_the_same_in_the_plane(affine, rng):
    grid = Grid((9, 8, 1), affine)
    change = np.eye(4)
    change[:3] += rng.uniform(-0.4, 0.4, (3, 4))
    kept = without_thickness(change, grid)
    npt.assert_allclose(
        apply_affine(kept, grid.points()), apply_affine(change, grid.points())
    )
    # Vectors across the plane stay at a right angle to it, and as long as they were.
    across = kept[:3, :3] @ normal_of(grid)
    assert np.linalg.norm(across) == pytest.approx(1)
    npt.assert_allclose(across @ change[:3, :3] @ affine[:3, :2], 0, atol=1e-12)
    assert np.linalg.det(kept[:3, :3]) > 0


def test_volumes_have_no_plane(affine, rng):
    grid, points = Grid((9, 8, 7), affine), rng.normal(size=(5, 3))
    assert normal_of(grid) is None and axis_across((9, 8)) is None
    assert onto_plane(points, grid) is points
    assert without_thickness(affine, grid) is affine
