"""Linear maps by which a registration moves the directions at each voxel."""

import math
from typing import NamedTuple

import numpy as np
from scipy.linalg import polar

from dipy_nn_reg.mapping.grid import Grid, prealign_of
from dipy_nn_reg.mapping.points import to_moving, to_static

# Determinant below which a map counts as folded, and turns no direction.
_FOLDED = 1e-3
# Number of planes in which the turn by a map is measured, and of voxels in each.
_PLANES, _PER_PLANE = 8, 4096


class LocalMaps(NamedTuple):
    """Linear maps of the directions at some voxels.

    Attributes
    ----------
    matrices : ndarray, shape (*spatial, 3, 3)
        From directions of the image that is warped to those of the result, in world
        coordinates.
    folded : ndarray of bool, shape (*spatial,)
        Where the map folds: there the matrix is that of the affine part.
    """

    matrices: np.ndarray
    folded: np.ndarray


def local_maps(maps, grid, *, inverse=False, planes=slice(None)):
    """Return the linear maps of directions at the voxels of a grid.

    Parameters
    ----------
    maps : sequence
        As :func:`~dipy_nn_reg.mapping.points.to_moving` takes them.
    grid : Grid
        In 3D: that of the result. Across a single slice, maps of one slice follow their
        affine part.
    inverse : bool, optional
        Whether the result is in the space of the moving image.
    planes : slice, optional
        Part of the first axis, of step 1, for which the maps are returned.

    Returns
    -------
    local : LocalMaps

    Notes
    -----
    A voxel x of the result is read at f(x). The matrix is the inverse of the derivative
    of f by central differences, one-sided at the faces of the grid.
    """
    first, last, _ = planes.indices(grid.shape[0])
    begin, end = max(first - 1, 0), min(last + 1, grid.shape[0])
    part = _planes_of(grid, begin, end)
    points = _moved(maps, part, inverse)
    linear = _affine_part(maps, inverse)
    by_voxel = [
        np.gradient(points, axis=axis)
        if points.shape[axis] > 1
        else _across(maps, part, inverse, axis, linear)
        for axis in range(3)
    ]
    derivative = np.stack(by_voxel, axis=-1)[first - begin : last - begin]
    derivative = derivative @ np.linalg.inv(grid.affine[:3, :3])
    with np.errstate(invalid="ignore"):
        folded = ~(np.linalg.det(derivative) / np.linalg.det(linear) > _FOLDED)
    derivative[folded] = linear
    return LocalMaps(np.linalg.inv(derivative), folded)


def rotations_of(matrices):
    """Return the rotations of linear maps: finite strain :footcite:p:`Alexander2001`.

    Parameters
    ----------
    matrices : ndarray, shape (..., 3, 3)
        That can be inverted.

    Returns
    -------
    rotations : ndarray, shape (..., 3, 3)
        The orthogonal factor of the polar decomposition of each.

    References
    ----------
    .. footbibliography::
    """
    left, _, right = np.linalg.svd(matrices)
    return left @ right


def turned_beyond_affine(local, maps, *, inverse=False):
    """Return by how much maps turn directions beyond their affine part, in degrees.

    It is what b-vectors, which all voxels share, leave out.

    Parameters
    ----------
    local : LocalMaps
    maps, inverse
        As for :func:`local_maps`.

    Returns
    -------
    degrees : ndarray, shape (*spatial,)
    """
    common = polar(np.linalg.inv(_affine_part(maps, inverse)))[0]
    beyond = rotations_of(local.matrices) @ common.T
    cosine = (np.trace(beyond, axis1=-2, axis2=-1) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def measure_turn(maps, grid, *, inverse=False):
    """Measure by how much maps turn directions beyond their affine part, in degrees.

    Parameters
    ----------
    maps, grid, inverse
        As for :func:`local_maps`.

    Returns
    -------
    median, most : float
        Over voxels of planes that are spread over the grid; ``most`` is the 95th
        percentile.
    """
    number, *plane = grid.shape
    step = -(-math.prod(plane) // _PER_PLANE)
    degrees = []
    for i in range(0, number, -(-number // _PLANES)):
        matrices, folded = local_maps(
            maps, grid, inverse=inverse, planes=slice(i, i + 1)
        )
        some = LocalMaps(matrices.reshape(-1, 3, 3)[::step], folded.ravel()[::step])
        degrees.append(turned_beyond_affine(some, maps, inverse=inverse))
    return np.percentile(degrees, (50, 95))


def _planes_of(grid, begin, end):
    """Return the grid of some planes of the first axis."""
    affine = grid.affine.copy()
    affine[:3, 3] += begin * affine[:3, 0]
    return Grid((end - begin, *grid.shape[1:]), affine)


def _moved(maps, grid, inverse, shift=0):
    """Return where voxels are read, shape (x, y, z, 3), in world coordinates."""
    find = to_static if inverse else to_moving
    return find(grid.points() + shift, maps).reshape(*grid.shape, 3)


def _across(maps, grid, inverse, axis, linear):
    """Return the derivative along an axis of one voxel."""
    step = grid.affine[:3, axis]
    if any(not isinstance(m, np.ndarray) and 1 in m.codomain_shape for m in maps):
        return np.broadcast_to(linear @ step, (*grid.shape, 3))
    ends = (_moved(maps, grid, inverse, shift) for shift in (step / 2, -step / 2))
    return next(ends) - next(ends)


def _affine_part(maps, inverse):
    """Return the linear part of all affines, in the direction of the points."""
    total = np.eye(4)
    for step in maps:
        total = (step if isinstance(step, np.ndarray) else prealign_of(step)) @ total
    return (np.linalg.inv(total) if inverse else total)[:3, :3]
