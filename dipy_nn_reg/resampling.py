"""Bring images, points and streamlines from one space to another, through many maps.

Maps are given in the order in which a point of the static image passes through them on
its way to the moving one: DIPY maps, and affines from static to moving world
coordinates. However many there are, an image is interpolated once.
"""

from math import prod

from nibabel.affines import apply_affine, voxel_sizes
import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from dipy_nn_reg.checks import check_name
from dipy_nn_reg.mapping import grid_points
from dipy_nn_reg.progress import progress_bar

ORDERS = {"linear": 1, "nearest": 0}
# More than that are represented by an eighth of them (in 2D a quarter).
_MANY_VOXELS = 2**18


def to_moving(points, maps):
    """Take points of the static image to the moving one.

    Parameters
    ----------
    points : ndarray, shape (n, ndim)
        In world coordinates (mm).
    maps : sequence of DiffeomorphicMap and of ndarray, shape (ndim + 1, ndim + 1)

    Returns
    -------
    points : ndarray, float64, shape (n, ndim)
    """
    points = np.ascontiguousarray(points, np.float64)
    for step in maps:
        if isinstance(step, np.ndarray):
            points = apply_affine(step, points)
        else:
            points = _where_finite(step.transform_points, points)
    return points


def to_static(points, maps):
    """Take points of the moving image to the static one.

    Parameters
    ----------
    points, maps
        As for :func:`to_moving`.

    Returns
    -------
    points : ndarray, float64, shape (n, ndim)
    """
    points = np.ascontiguousarray(points, np.float64)
    for step in reversed(maps):
        if isinstance(step, np.ndarray):
            points = apply_affine(np.linalg.inv(step), points)
        else:
            points = _where_finite(step.transform_points_inverse, points)
    return points


def _where_finite(transform, points):
    """Transform points, but those that are not finite, on which DIPY would crash."""
    finite = np.isfinite(points).all(1)
    if finite.all():
        return np.asarray(transform(points))
    points = points.copy()
    points[finite] = transform(points[finite])
    points[~finite] = np.nan
    return points


def resample(image, affine, find, *, shape, grid_affine, interpolation="linear"):
    """Read an image at other places, on another grid.

    Parameters
    ----------
    image : ndarray, shape (*spatial,) or (*spatial, volumes)
        Outside of it are zeros, to which linear interpolation fades over one voxel.
    affine : ndarray, shape (ndim + 1, ndim + 1)
        Of the image, from voxels to world coordinates.
    find : callable
        Takes world coordinates of the grid, shape (n, ndim), and returns those in the
        space of the image.
    shape : tuple of int
        Of the grid.
    grid_affine : ndarray, shape (ndim + 1, ndim + 1)
    interpolation : {"linear", "nearest"}, optional
        "nearest" keeps the values and the type of a label map.

    Returns
    -------
    resampled : ndarray, shape (*shape,) or (*shape, volumes)
        Float32 if linear.
    """
    check_name("interpolation", interpolation, ORDERS)
    world_to_image = np.linalg.inv(affine)
    volumes = image[..., None] if image.ndim == len(shape) else image
    dtype = np.float32 if interpolation == "linear" else image.dtype
    resampled = np.zeros((*shape, volumes.shape[-1]), dtype)
    # Slab by slab: a point is three numbers of 8 bytes, some times over.
    for i in progress_bar(range(shape[0]), desc="Resampling"):
        points = grid_points((1, *shape[1:]), _starting_at(i, grid_affine))
        voxels = apply_affine(world_to_image, find(points)).T
        for v in range(volumes.shape[-1]):
            read = _read_linear if interpolation == "linear" else _read_nearest
            resampled[i, ..., v] = read(volumes[..., v], voxels).reshape(shape[1:])
    return resampled if image.ndim > len(shape) else resampled[..., 0]


def _read_linear(volume, voxels):
    return map_coordinates(
        volume,
        voxels,
        order=1,
        output=np.float32,
        mode="grid-constant",
    )


def _read_nearest(volume, voxels):
    """Read voxels by their index: values beyond 2**53 would not survive a float."""
    index = np.floor(voxels + 0.5)
    last = np.array(volume.shape)[:, None] - 1
    inside = np.all((index >= 0) & (index <= last), axis=0)
    values = np.zeros(voxels.shape[1], volume.dtype)
    values[inside] = volume[tuple(index[:, inside].astype(np.intp))]
    return values


def _starting_at(index, affine):
    """Return the affine of a grid without the first planes."""
    moved = affine.copy()
    moved[:-1, -1] += index * affine[:-1, 0]
    return moved


def working_grid(shape, affine, voxel_size, ndim):
    """Return a grid of other voxels over the same box.

    Parameters
    ----------
    shape : tuple of int
    affine : ndarray
        From voxels to world coordinates.
    voxel_size : float
        In mm, along each axis.
    ndim : int
        How many of the axes are to change: two for a slice.

    Returns
    -------
    shape : tuple of int
    affine : ndarray
    """
    sizes = voxel_sizes(affine)
    factors = np.ones(len(shape))
    factors[:ndim] = voxel_size / sizes[:ndim]
    new_shape = np.maximum(np.ceil(np.array(shape) / factors), 1).astype(int)
    change = np.diag([*factors, 1])
    # The centres of both boxes coincide.
    change[:-1, -1] = (np.array(shape) - 1) / 2 - factors * (new_shape - 1) / 2
    return tuple(int(n) for n in new_shape), affine @ change


def read_on_grid(image, affine, maps, shape, grid_affine):
    """Resample an image, but smooth it before where voxels become larger.

    Parameters
    ----------
    image : ndarray, shape (*spatial,) or (*spatial, channels)
    affine : ndarray
    maps : sequence
        As for :func:`to_moving`.
    shape : tuple of int
        Of the grid.
    grid_affine : ndarray

    Returns
    -------
    resampled : ndarray, shape (*shape,) or (*shape, channels)
        The image itself if there is nothing to do.
    """
    same_grid = shape == image.shape[: len(shape)] and np.allclose(
        affine, grid_affine, rtol=0, atol=1e-6
    )
    if same_grid and all(np.array_equal(m, np.eye(len(m))) for m in maps):
        return image
    factors = voxel_sizes(grid_affine) / voxel_sizes(affine)
    # What a box of the new voxels would leave of the old ones.
    sigma = np.sqrt(np.maximum(factors**2 - 1, 0) / 12)
    image = np.asarray(image, np.float32)
    if np.any(sigma > 0.1):
        image = gaussian_filter(image, [*sigma, *[0] * (image.ndim - len(shape))])
    return resample(
        image,
        affine,
        lambda points: to_moving(points, maps),
        shape=shape,
        grid_affine=grid_affine,
    )


def warp_image(moving, static, maps, *, inverse=False, interpolation="linear"):
    """Bring an image to the grid of another one.

    Parameters
    ----------
    moving, static : dipy_nn_reg.nifti.Image
        The static image is on the grid of the result.
    maps : sequence
        As for :func:`to_moving`; none for the affines of the images alone.
    inverse : bool, optional
        The maps lead the other way: from the space of ``moving``.
    interpolation : {"linear", "nearest"}, optional

    Returns
    -------
    warped : ndarray, shape (*spatial,) or (*spatial, volumes)
        As :func:`resample` returns it.
    """
    find = to_static if inverse else to_moving
    return resample(
        moving.data,
        moving.affine,
        lambda points: find(points, maps),
        shape=static.data.shape[:3],
        grid_affine=static.affine,
        interpolation=interpolation,
    )


def inverse_error(maps, shape, affine):
    """Return how far points come back from where they were.

    Parameters
    ----------
    maps : sequence
        As for :func:`to_moving`.
    shape : tuple of int
    affine : ndarray, shape (ndim + 1, ndim + 1)
        Of the static grid.

    Returns
    -------
    error : float
        Mean distance in mm over the voxels of the grid, after going to the moving
        image and back; of more than a quarter of a million, over every second one
        along each axis.
    """
    every = 2 if prod(shape) > _MANY_VOXELS else 1
    shape = tuple(-(-size // every) for size in shape)
    points = grid_points(shape, affine @ np.diag([*[every] * len(shape), 1]))
    back = to_static(to_moving(points, maps), maps)
    return float(np.linalg.norm(back - points, axis=1).mean())
