import nibabel as nib
from nibabel.affines import apply_affine
import numpy as np
import numpy.testing as npt
import pytest
from scipy.linalg import expm

from dipy_nn_reg.mapping.grid import Grid, moving_grid, prealign_of, static_grid

AFFINE = np.array([[0, -2, 0, 5], [1.5, 0, 0.1, -7], [0, 0, 3, 2], [0, 0, 0, 1.0]])


def test_points_and_box_of_a_grid():
    grid = Grid((3, 4, 5), AFFINE)
    assert grid.ndim == 3
    points = grid.points().reshape(3, 4, 5, 3)
    npt.assert_allclose(points[2, 1, 4], apply_affine(AFFINE, [2, 1, 4]))
    # The box is half a voxel wider than the centres of the voxels.
    flat = Grid((3, 4), np.diag([2.0, 5, 1]))
    npt.assert_allclose(flat.box(), [[-1, -2.5], [5, 17.5]])


def test_a_grid_of_every_second_voxel():
    grid = Grid((5, 4, 1), AFFINE)
    fewer = grid.every(2)
    assert fewer.shape == (3, 2, 1)
    whole = grid.points().reshape(5, 4, 1, 3)
    npt.assert_allclose(fewer.points().reshape(3, 2, 1, 3), whole[::2, ::2])


@pytest.mark.parametrize(
    ("shape", "affine", "message"),
    [
        ((3, 4), np.eye(4), r"affine of shape \(3, 3\)"),
        ((3, 0), np.eye(3), "shape"),
        ((3, 4), np.zeros((3, 3)), "affine"),
    ],
)
def test_invalid_grids_are_refused(shape, affine, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        Grid(shape, affine)


def test_grids_and_prealignment_of_a_map(pair):
    mapping = pair.make_mapping()
    assert static_grid(mapping).shape == pair.field.shape[:-1]
    assert moving_grid(mapping).shape == pair.moving.shape
    npt.assert_allclose(static_grid(mapping).affine, pair.static_affine)
    npt.assert_allclose(moving_grid(mapping).affine, pair.moving_affine)
    expected = np.eye(pair.moving.ndim + 1) if pair.prealign is None else pair.prealign
    npt.assert_allclose(prealign_of(mapping), expected, atol=1e-9)


@pytest.mark.parametrize("size", [0.8, 1.1, 1.2, 1.6, 2.0])
@pytest.mark.parametrize("ndim", [2, 3])
def test_the_same_voxel_size_gives_the_same_grid(size, ndim, rng):
    """Also after rounding to the float32 of an oblique header."""
    for _ in range(20):
        skew = rng.uniform(-0.5, 0.5, (3, 3))
        affine = np.eye(4)
        affine[:3, :3] = (expm(skew - skew.T) * size).astype(np.float32)
        shape = (60, 51, 1 if ndim == 2 else 47)
        grid = Grid(shape, affine).with_voxel_size(size)
        assert grid.shape == shape
        npt.assert_array_equal(grid.affine, affine)


@pytest.mark.parametrize("ndim", [2, 3])
def test_grids_of_too_few_voxels_are_refused(ndim):
    """40 voxels of 2 mm: 80 mm, which 20 mm divide into four."""
    grid = Grid((40, 20, 30)[:ndim], np.diag([2.0] * ndim + [1]))
    assert max(grid.with_voxel_size(19.9, fewest=5).shape) == 5
    for size in (20, 200):
        with pytest.raises(ValueError, match=f"5 voxels.*below 20 mm.*={size}"):
            grid.with_voxel_size(size, fewest=5)
    assert grid.with_voxel_size(200).shape == (1,) * ndim


def test_an_axis_with_the_requested_voxel_size_is_unchanged():
    grid = Grid((20, 21, 22), np.diag([2.0, 1.0, 4.0, 1])).with_voxel_size(2.0)
    assert grid.shape == (20, 11, 44)
    npt.assert_allclose(np.diag(grid.affine), [2, 2, 2, 1])
    assert grid.affine[0, 3] == 0


def test_a_grid_larger_than_any_memory_is_refused():
    with pytest.raises(ValueError, match="voxel_size near"):
        Grid((20, 20, 20), np.diag([1e20, 1, 1, 1])).with_voxel_size(1.0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_keep_their_thickness(axis):
    shape, sizes = [20, 20, 20], [2.0, 2.0, 2.0, 1]
    shape[axis], sizes[axis] = 1, 5.0
    grid = Grid(tuple(shape), np.diag(sizes)).with_voxel_size(4.0)
    assert sorted(grid.shape) == [1, 10, 10]
    npt.assert_allclose(
        nib.affines.voxel_sizes(grid.affine), [5 if n == 1 else 4 for n in shape]
    )


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_grid_contains_its_voxels_up_to_their_edges(ndim):
    affine = np.eye(ndim + 1)
    affine[:-1, -1] = 100
    affine[0, 0] = -2
    grid = Grid((4, 5, 6)[:ndim], affine)
    assert grid.contains(grid.points()).all()
    edges = np.full((6, ndim), 101.0)
    edges[:, 0] = 100.9, 101.1, 93.1, 92.9, np.nan, np.inf
    npt.assert_array_equal(grid.contains(edges), [True, False] * 2 + [False] * 2)
    edges[0, 1] = 99.4
    assert not grid.contains(edges)[0]


@pytest.mark.parametrize(
    ("sizes", "shape", "expected"),
    [
        ((1, 1, 5), (8, 8, 4), 5 ** (1 / 3)),
        ((4, 1.4, 1.4), (8, 8, 4), (4 * 1.4**2) ** (1 / 3)),
        ((1, 1, 1.9), (8, 8, 4), None),
        ((1, 1, 5), (8, 8, 1), None),  # a single slice
    ],
)
def test_voxels_of_thick_slices_are_cubic_and_have_the_same_volume(
    sizes, shape, expected
):
    grid = Grid(shape, np.diag([*sizes, 1.0]))
    assert grid.cubic_size == (expected and pytest.approx(expected))


def test_voxels_of_pictures_stay_as_they_are():
    assert Grid((8, 9), np.diag([1.0, 4, 1])).cubic_size is None
