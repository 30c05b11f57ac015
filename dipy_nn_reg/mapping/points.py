"""Transformation of points through one or more maps, and back.

Maps are DIPY maps and affines from static to moving world coordinates. They are passed
in the order in which a point of the static image goes through them to the moving image.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import prod

from nibabel.affines import apply_affine
import numpy as np

from dipy_nn_reg.checks import check_real, check_where
from dipy_nn_reg.mapping.affines import check_affine, world_affine
from dipy_nn_reg.mapping.inversion import invert_at

# Number of points that are inverted at a time.
_CHUNK = 2**16
# Number of voxels above which the inverse error is measured at every second voxel along
# each axis.
_MANY_VOXELS = 2**18


def to_moving(points, maps):
    """Map points of the static image to the moving image.

    Parameters
    ----------
    points : ndarray, shape (n, ndim)
        In world coordinates (mm).
    maps : sequence of DiffeomorphicMap and of ndarray, shape (ndim + 1, ndim + 1)

    Returns
    -------
    points : ndarray, float64, shape (n, ndim)

    Raises
    ------
    ValueError
        If the points have another shape, if an affine cannot be inverted, or if a map
        has another number of axes.
    """
    points = _check_points(points)
    for step in check_maps(maps):
        if isinstance(step, np.ndarray):
            points = apply_affine(_check_step(step, points), points)
        else:
            points = _where_finite(_check_map(step, points).transform_points, points)
    return points


def to_static(points, maps):
    """Map points of the moving image to the static image.

    The inverse that a map stores is interpolated between voxels. There it is improved,
    until :func:`to_moving` brings each point back.

    Parameters
    ----------
    points, maps
        As for :func:`to_moving`.

    Returns
    -------
    points : ndarray, float64, shape (n, ndim)

    Raises
    ------
    ValueError
        As :func:`to_moving`.
    """
    return _to_static(points, maps, _inverted)


def _to_static(points, maps, invert):
    points = _check_points(points)
    for step in reversed(check_maps(maps)):
        if isinstance(step, np.ndarray):
            points = apply_affine(np.linalg.inv(_check_step(step, points)), points)
        else:
            points = _where_finite(partial(invert, _check_map(step, points)), points)
    return points


def _as_stored(mapping, points):
    return np.asarray(mapping.transform_points_inverse(points))


def _inverted(mapping, points):
    """Map points by the inverse of a map, beginning with what it stores."""
    from dipy.core import interpolation

    ndim, to_world = mapping.dim, world_affine(mapping.disp_grid2world, mapping.dim)
    prealign = np.linalg.inv(world_affine(mapping.prealign, ndim))
    # Voxels of the field in world coordinates, before the map and after it.
    if mapping.is_inverse:
        field, before, after = mapping.backward, to_world, prealign @ to_world
    else:
        field, before, after = mapping.forward, prealign @ to_world, to_world
    interpolate = getattr(interpolation, f"interpolate_vector_{ndim}d")
    to_voxels = np.linalg.inv(to_world)[:-1, :-1]

    def displacement(voxels):
        # DIPY would crash on NaN; -9 is outside of any grid, where nothing moves.
        moved, _ = interpolate(field, np.nan_to_num(voxels.T, nan=-9.0))
        return np.einsum("de,ne->dn", to_voxels, moved)

    def invert(points):
        voxels = apply_affine(np.linalg.inv(after), points).T
        stored = apply_affine(np.linalg.inv(before), _as_stored(mapping, points)).T
        inverse = invert_at(voxels, displacement, stored - voxels)
        return apply_affine(before, (voxels + inverse).T)

    parts = np.split(points, range(_CHUNK, len(points), _CHUNK))
    with ThreadPoolExecutor() as pool:  # DIPY lets several threads compute at once
        return np.concatenate(list(pool.map(invert, parts)))


def check_maps(maps):
    """Return maps as a list, or raise ValueError.

    Parameters
    ----------
    maps : sequence
        As for :func:`to_moving`.
    """
    is_list = isinstance(maps, (list, tuple))
    steps = list(maps) if is_list else [None]
    if not all(isinstance(s, np.ndarray) or _is_map(s) for s in steps):
        raise ValueError(
            f"Expected maps to be a list of DIPY maps and affines. Received {maps!r}."
        )
    return steps


def _is_map(step):
    return hasattr(step, "transform_points") and not isinstance(step, type)


def _check_points(points):
    points = check_real("points", points)
    if (
        points.ndim != 2
        or points.shape[1] not in (2, 3)
        or points.dtype.kind not in "iuf"
    ):
        raise ValueError(
            f"Expected points of shape (n, 2) or (n, 3). Received an array of shape "
            f"{points.shape} and type {points.dtype}."
        )
    return np.array(points, np.float64, order="C")


def _check_step(affine, points):
    return check_affine(affine, name="an affine in maps", ndim=points.shape[1])


def _check_map(mapping, points):
    """Return a map of the axes of the points: DIPY would read beyond its field."""
    ndim = points.shape[1]
    if mapping.dim != ndim:
        raise ValueError(
            f"Expected a map in {ndim}D with points of shape {points.shape}. Received "
            f"one in {mapping.dim}D."
        )
    return mapping


def _where_finite(transform, points):
    """Transform finite points; DIPY would crash on the others, which become NaN."""
    if np.isfinite(points).all():
        return np.asarray(transform(points))
    finite = np.isfinite(points).all(1)
    points = points.copy()
    points[finite] = transform(points[finite])
    points[~finite] = np.nan
    return points


def inverse_error(maps, grid, *, where=None):
    """Return the mean distance of points from where they were, there and back.

    The way back is by the inverse that a map stores, as other programs read it.

    Parameters
    ----------
    maps : sequence
        As for :func:`to_moving`.
    grid : Grid
        Grid of the static image.
    where : ndarray of bool, shape of the grid, optional
        Voxels that count; by default all of them.

    Returns
    -------
    error : float
        Mean distance in mm between the voxels of the grid and the same points mapped
        to the moving image and back. In grids of more than 2**18 voxels, every second
        voxel along each axis is used. NaN if no voxel counts.

    Raises
    ------
    ValueError
        If an affine cannot be inverted, or if ``where`` has another shape or type.
    """
    if where is not None:
        where = check_where("where", where, grid.shape)
    step = 2 if prod(grid.shape) > _MANY_VOXELS else 1
    points = grid.every(step).points()
    if where is not None:
        points = points[where[(slice(None, None, step),) * where.ndim].ravel()]
    if not len(points):
        return np.nan
    back = _to_static(to_moving(points, maps), maps, _as_stored)
    return float(np.linalg.norm(back - points, axis=1).mean())
