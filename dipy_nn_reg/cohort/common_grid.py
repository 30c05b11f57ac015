"""Grid of the mean of a group, and where each image lies on it before any alignment."""

from nibabel.affines import apply_affine, voxel_sizes
import numpy as np
from scipy.spatial.transform import Rotation

from dipy_nn_reg.intensities import normalize
from dipy_nn_reg.mapping.grid import FEWEST_VOXELS, Grid
from dipy_nn_reg.mapping.slices import axis_across, normal_of

# Largest difference between affines of one grid, in mm or without unit.
_SAME = 1e-4
# Part of a voxel that rounding may add to an extent.
_EXCESS = 1e-3


def common_grid(images, voxel_size=None):
    """Return a grid for the mean of images, and where each of them lies in its space.

    Parameters
    ----------
    images : list of dipy_nn_reg.io.nifti.Image
        Volumes, or slices.
    voxel_size : float, optional
        In mm; by default that of the images, of several sizes the smallest.

    Returns
    -------
    grid : Grid
        That of the images if it is the same for all, else one along the world axes;
        that of slices is turned into their plane.
    affines : list of ndarray, shape (4, 4)
        From the world of the grid to that of each image: the identity, or a shift that
        brings the centre of mass of each to the middle.
    """
    grids = [image.grid for image in images]
    if all(_is_same(grids[0], grid) for grid in grids):
        grid, affines = grids[0], [np.eye(4)] * len(images)
    else:
        grid, affines = _new_grid(grids), [_shift(_center(i)) for i in images]
    if voxel_size is not None:
        grid = grid.with_voxel_size(voxel_size, fewest=FEWEST_VOXELS)
    return grid, affines


def _is_same(one, other):
    return one.shape == other.shape and np.allclose(
        one.affine, other.affine, rtol=0, atol=_SAME
    )


def _new_grid(grids):
    """Return a grid around the origin that has room for each of several grids."""
    turn, across = _axes(grids)
    sizes = np.full(3, min(map(_side, grids)))
    boxes = [Grid(g.shape, turn.T @ g.affine).box() for g in grids]
    extent = np.max([np.ptp(box, axis=0) for box in boxes], axis=0)
    if across is not None:
        thickness = [voxel_sizes(g.affine)[axis_across(g.shape)] for g in grids]
        sizes[across] = extent[across] = min(thickness)
    shape = np.maximum(np.ceil(extent / sizes - _EXCESS), 1).astype(int)
    affine = turn @ np.diag([*sizes, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ (shape - 1) / 2
    return Grid(tuple(int(n) for n in shape), affine)


def _side(grid):
    """Return the side of a cube, or of a square, of the size of a voxel."""
    sizes = voxel_sizes(grid.affine)[np.array(grid.shape) > 1]
    return float((np.sqrt if len(sizes) == 2 else np.cbrt)(np.prod(sizes)))


def _axes(grids):
    """Return axes of 4 x 4 in columns, and which of them lies across slices, or None.

    They are those of the world, turned as little as brings one of them to the mean
    normal of the slices, whatever the order and the signs of the normals.
    """
    if axis_across(grids[0].shape) is None:
        return np.eye(4), None
    normals = np.stack([normal_of(grid) for grid in grids])
    mean = np.linalg.eigh(normals.T @ normals)[1][:, -1]
    across = int(np.argmax(np.abs(mean)))
    turn, world = np.eye(4), np.eye(3)[across]
    rotation, _ = Rotation.align_vectors([mean * np.sign(mean[across])], [world])
    turn[:3, :3] = rotation.as_matrix()
    return turn, across


def _center(image):
    """Return the centre of an object, bright or dark, in world coordinates."""
    weights = np.abs(normalize(image.data)).astype(np.float64)
    total = weights.sum()
    index = [
        (weights.sum(tuple(a for a in range(3) if a != axis)) @ np.arange(size)) / total
        for axis, size in enumerate(weights.shape)
    ]
    return apply_affine(image.affine, index)


def _shift(vector):
    affine = np.eye(4)
    affine[:3, 3] = vector
    return affine
