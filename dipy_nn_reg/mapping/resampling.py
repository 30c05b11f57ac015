"""Resampling of images, and transformation of points, through one or more maps.

Maps are DIPY maps and affines from static to moving world coordinates. They are passed
in the order in which a point of the static image goes through them to the moving image.
An image is interpolated once, whatever the number of maps.
"""

from math import prod

from nibabel.affines import apply_affine
import numpy as np
from scipy.ndimage import map_coordinates

from dipy_nn_reg.checks import check_name, check_real
from dipy_nn_reg.intensities import estimate_backgrounds, float_type
from dipy_nn_reg.mapping.affines import check_affine, grid_points
from dipy_nn_reg.progress import progress_bar

# Order of the spline of each interpolation.
ORDERS = {"linear": 1, "nearest": 0}
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
        If the points have another shape, or an affine cannot be inverted.
    """
    points = _check_points(points)
    for step in check_maps(maps):
        if isinstance(step, np.ndarray):
            points = apply_affine(_check_step(step, points), points)
        else:
            points = _where_finite(step.transform_points, points)
    return points


def to_static(points, maps):
    """Map points of the moving image to the static image.

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
    points = _check_points(points)
    for step in reversed(check_maps(maps)):
        if isinstance(step, np.ndarray):
            points = apply_affine(np.linalg.inv(_check_step(step, points)), points)
        else:
            points = _where_finite(step.transform_points_inverse, points)
    return points


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
    return np.ascontiguousarray(points, np.float64)


def _check_step(affine, points):
    return check_affine(affine, name="an affine in maps", ndim=points.shape[1])


def _where_finite(transform, points):
    """Transform finite points; DIPY would crash on the others, which become NaN."""
    if np.isfinite(points).all():
        return np.asarray(transform(points))
    finite = np.isfinite(points).all(1)
    points = points.copy()
    points[finite] = transform(points[finite])
    points[~finite] = np.nan
    return points


def resample(image, affine, find, grid, *, interpolation="linear", fill=0.0):
    """Resample an image to another grid.

    Parameters
    ----------
    image : ndarray, shape (*spatial,) or (*spatial, volumes)
    affine : ndarray, shape (ndim + 1, ndim + 1)
        From voxels of the image to world coordinates.
    find : callable
        Function from world coordinates of the grid, shape (n, ndim), to those in the
        space of the image.
    grid : Grid
    interpolation : {"linear", "nearest"}, optional
        "nearest" keeps the values and the type of a label map.
    fill : float or sequence of float, optional
        Value outside of the image, or of each volume. Linear interpolation fades to it
        over one voxel.

    Returns
    -------
    resampled : ndarray, shape (*shape,) or (*shape, volumes)
        With "linear", float32, or float64 if float32 would lose the contrast.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or an affine cannot be inverted.
    """
    check_name("interpolation", interpolation, ORDERS)
    image, shape = check_real("image", image), grid.shape
    affine = check_affine(affine, name="affine", ndim=grid.ndim)
    if image.ndim not in (len(shape), len(shape) + 1) or image.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected an image of {len(shape)} axes, as the grid has, or one more. "
            f"Received image.shape={image.shape} and image.dtype={image.dtype}."
        )
    world_to_image = np.linalg.inv(affine)
    if image.ndim > len(shape):
        volumes = image
    else:
        # In the order of files, SciPy takes three times as long to interpolate.
        volumes = np.ascontiguousarray(image)[..., None]
    dtype = float_type(image) if interpolation == "linear" else image.dtype
    fills = np.broadcast_to(_as_type(fill, dtype), volumes.shape[-1:])
    read = _read_linear if interpolation == "linear" else _read_nearest
    resampled = np.zeros((*shape, volumes.shape[-1]), dtype)
    # One slab at a time: each point takes 24 bytes, in several copies.
    for i in progress_bar(range(shape[0]), desc="Resampling"):
        points = grid_points((1, *shape[1:]), _starting_at(i, grid.affine))
        voxels = apply_affine(world_to_image, find(points)).T
        for v in range(volumes.shape[-1]):
            values = read(volumes[..., v], voxels, fills[v], dtype)
            resampled[i, ..., v] = values.reshape(shape[1:])
    return resampled if image.ndim > len(shape) else resampled[..., 0]


def _as_type(fill, dtype):
    """Return the fill value in the type of the result, or raise ValueError."""
    fill = np.asarray(fill, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        converted = fill.astype(dtype)
    if not np.allclose(converted.astype(np.float64), fill, rtol=1e-2, atol=0):
        raise ValueError(
            f"Expected fill to be a value of the type {np.dtype(dtype)}. "
            f"Received {fill.tolist()}."
        )
    return converted


def _read_linear(volume, voxels, fill, dtype):
    # SciPy does not take these types.
    if volume.dtype.kind == "b" or volume.dtype == np.float16:
        volume = volume.astype(np.float32)
    elif volume.dtype == np.longdouble:
        volume = volume.astype(np.float64)
    return map_coordinates(
        volume, voxels, order=1, output=dtype, mode="grid-constant", cval=fill
    )


def _read_nearest(volume, voxels, fill, dtype):
    """Read voxels by index: integers beyond 2**53 would change as float64."""
    index = np.floor(voxels + 0.5)
    last = np.array(volume.shape)[:, None] - 1
    inside = np.all((index >= 0) & (index <= last), axis=0)
    values = np.full(voxels.shape[1], fill, dtype)
    values[inside] = volume[tuple(index[:, inside].astype(np.intp))]
    return values


def _starting_at(index, affine):
    """Return the affine of a grid that starts at a plane of the first axis."""
    moved = affine.copy()
    moved[:-1, -1] += index * affine[:-1, 0]
    return moved


def warp_image(
    moving, static, maps, *, inverse=False, interpolation="linear", fill=None
):
    """Warp an image to the grid of another one.

    Parameters
    ----------
    moving, static : dipy_nn_reg.io.nifti.Image
        The result is on the grid of the static image.
    maps : sequence
        As for :func:`to_moving`; empty to use only the affines of the images.
    inverse : bool, optional
        Whether the maps lead from the space of ``moving`` to that of ``static``.
    interpolation : {"linear", "nearest"}, optional
    fill : float, optional
        Value outside of the moving image. By default the background of each volume;
        0 with "nearest", as in label maps.

    Returns
    -------
    warped : ndarray, shape (*spatial,) or (*spatial, volumes)
        As :func:`resample` returns it.
    """
    if fill is None:
        is_image = interpolation == "linear"
        fill = estimate_backgrounds(moving.data, 3) if is_image else 0
    find = to_static if inverse else to_moving
    return resample(
        moving.data,
        moving.affine,
        lambda points: find(points, maps),
        static.grid,
        interpolation=interpolation,
        fill=fill,
    )


def inverse_error(maps, grid):
    """Return the mean distance of points from where they were, there and back.

    Parameters
    ----------
    maps : sequence
        As for :func:`to_moving`.
    grid : Grid
        Grid of the static image.

    Returns
    -------
    error : float
        Mean distance in mm between the voxels of the grid and the same points mapped
        to the moving image and back. In grids of more than 2**18 voxels, every second
        voxel along each axis is used.

    Raises
    ------
    ValueError
        If an affine cannot be inverted.
    """
    points = grid.every(2 if prod(grid.shape) > _MANY_VOXELS else 1).points()
    back = to_static(to_moving(points, maps), maps)
    return float(np.linalg.norm(back - points, axis=1).mean())
