import numpy as np
import numpy.testing as npt
import pytest
from scipy.spatial.transform import Rotation

from dipy_nn_reg.diffusion.local_maps import (
    local_maps,
    measure_turn,
    rotations_of,
    turned_beyond_affine,
)
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.maps import displacement_to_mapping

TURN = Rotation.from_euler("xyz", [20, -30, 10], degrees=True).as_matrix()


def whole(linear, shift=(0.0, 0, 0)):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = linear, shift
    return affine


def oblique(shape, sizes):
    return Grid(shape, whole(TURN * sizes, [5.0, -3, 2]))


@pytest.mark.parametrize("sizes", [[2, 2, 2], [-1, 2, 3]])
@pytest.mark.parametrize("shape", [(5, 6, 7), (6, 5, 1), (1, 5, 4)])
def test_affines_have_their_linear_part(shape, sizes):
    linear = np.array([[1.1, 0.2, 0], [-0.1, 0.9, 0.1], [0.1, 0, 1.0]])
    steps = [whole(TURN, [1, 2, 3]), whole(linear)]
    grid = oblique(shape, sizes)
    found = local_maps(steps, grid)
    assert not found.folded.any()
    expected = np.broadcast_to(np.linalg.inv(linear @ TURN), (*shape, 3, 3))
    npt.assert_allclose(found.matrices, expected, atol=1e-9)
    back = local_maps(steps, grid, inverse=True).matrices
    npt.assert_allclose(back, np.linalg.inv(expected), atol=1e-9)


def shearing(shape, affine, sheared, prealign=None):
    """Return a map whose displacement is ``sheared`` times the position in voxels."""
    voxels = np.moveaxis(np.indices(shape, float), 0, -1)
    voxels -= (np.array(shape) - 1) / 2
    return displacement_to_mapping(
        voxels @ sheared.T, static_affine=affine, prealign=prealign
    )


@pytest.mark.parametrize("flip", [1, -1])
def test_a_field_and_its_affine_have_their_derivative(flip):
    grid = oblique((9, 10, 11), [1.0 * flip, 2, 1.5])
    sheared = np.array([[0.05, 0.2, 0], [0, -0.1, 0.05], [0.02, 0, 0]])
    mapping = shearing(grid.shape, grid.affine, sheared, prealign=whole(TURN.T))
    in_mm = grid.affine[:3, :3]
    expected = TURN.T @ in_mm @ (np.eye(3) + sheared) @ np.linalg.inv(in_mm)
    found = local_maps([mapping], grid).matrices
    npt.assert_allclose(
        found, np.broadcast_to(np.linalg.inv(expected), found.shape), atol=1e-4
    )


def test_parts_of_the_first_axis_fit_together(smooth_field):
    shape = (11, 8, 9)
    mapping = displacement_to_mapping(smooth_field(shape, sigma=2, largest=1.5))
    grid = Grid(shape, np.eye(4))
    whole_grid = local_maps([mapping], grid).matrices
    for first in (0, 4, 10):
        part = local_maps([mapping], grid, planes=slice(first, first + 1)).matrices
        npt.assert_allclose(part[0], whole_grid[first], atol=1e-12)


def test_a_slice_turns_in_its_plane(smooth_field):
    """By the affine across it, and by finite differences of DIPY's map within."""
    field = smooth_field((12, 13), sigma=2.5, largest=1.0)
    affine = whole(np.diag([1.5, 2, 3]))
    mapping = displacement_to_mapping(field, static_affine=affine)
    found = local_maps([mapping], Grid((12, 13, 1), affine)).matrices
    in_mm = field * [1.5, 2]
    expected = np.zeros((12, 13, 3, 3)) + np.eye(3)
    for axis, size in enumerate((1.5, 2)):
        expected[..., :2, axis] += np.gradient(in_mm, axis=axis) / size
    npt.assert_allclose(found[:, :, 0], np.linalg.inv(expected), atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_through_a_volume_turns_as_the_volume(axis):
    """A field that turns about an axis within the slice."""
    grid = Grid((9, 9, 9), np.eye(4))
    vector = np.roll([0, np.radians(15), 0], axis)
    turn = Rotation.from_rotvec(vector).as_matrix()
    mapping = shearing(grid.shape, grid.affine, turn - np.eye(3))
    shape, place = [9, 9, 9], np.eye(4)
    shape[axis], place[axis, 3] = 1, 4
    found = local_maps([mapping], Grid(tuple(shape), place)).matrices
    middle = tuple(0 if n == 1 else 4 for n in shape)
    npt.assert_allclose(found[middle], turn.T, atol=1e-5)


def test_folded_voxels_have_the_affine_part():
    grid = Grid((9, 9, 9), np.eye(4))
    mapping = shearing(grid.shape, grid.affine, np.diag([-2.0, 0, 0]), whole(TURN))
    found = local_maps([mapping], grid)
    assert found.folded.all()
    npt.assert_allclose(
        found.matrices, np.broadcast_to(TURN.T, found.matrices.shape), atol=1e-6
    )


def test_rotations_are_those_of_the_polar_decomposition():
    """A simple shear by g turns by atan(g / 2)."""
    g = 0.7
    shear = np.eye(3)
    shear[0, 1] = g
    angle = np.arctan(g / 2)
    expected = Rotation.from_rotvec([0, 0, -angle]).as_matrix()
    npt.assert_allclose(rotations_of(shear[None])[0], expected, atol=1e-12)


def test_the_turn_beyond_the_affine_is_that_of_the_field():
    grid, angle = Grid((9, 9, 9), np.eye(4)), np.radians(8)
    turn = Rotation.from_rotvec([0, 0, angle]).as_matrix() - np.eye(3)
    centre = np.array([4.0, 4, 4])
    prealign = whole(TURN, centre - TURN @ centre)
    mapping = shearing(grid.shape, grid.affine, turn, prealign)
    for inverse in (False, True):
        local = local_maps([mapping], grid, inverse=inverse)
        degrees = turned_beyond_affine(local, [mapping], inverse=inverse)
        npt.assert_allclose(degrees[3:6, 3:6, 3:6], 8, atol=0.05)


@pytest.mark.parametrize("shape", [(9, 11, 60), (30, 70, 65)])
def test_the_turn_of_a_map_is_measured_on_some_voxels(shape):
    """A field that turns a third of the volume, and leaves the rest."""
    turn = Rotation.from_rotvec([0, 0, np.radians(8)]).as_matrix() - np.eye(3)
    voxels = np.moveaxis(np.indices(shape, float), 0, -1)
    displacement = voxels @ turn.T
    displacement[..., : 2 * shape[2] // 3, :] = 0
    mapping, grid = displacement_to_mapping(displacement), Grid(shape, np.eye(4))
    median, most = measure_turn([mapping], grid)
    assert median == pytest.approx(0, abs=1e-3)
    assert most == pytest.approx(8, abs=0.1)
