"""Bring images, points and streamlines from one space to another, through many maps.

Maps are given in the order in which a point of the static image passes through them on
its way to the moving one: DIPY maps, and affines from static to moving world
coordinates. However many there are, an image is interpolated once.
"""

from math import prod

from nibabel.affines import apply_affine, voxel_sizes
import numpy as np
from scipy.linalg import polar
from scipy.ndimage import gaussian_filter, map_coordinates

from dipy_nn_reg.checks import check_name
from dipy_nn_reg.intensities import estimate_background, float_type
from dipy_nn_reg.mapping import check_affine, grid_points
from dipy_nn_reg.progress import progress_bar

ORDERS = {"linear": 1, "nearest": 0}
# More than that are represented by an eighth of them (in 2D a quarter).
_MANY_VOXELS = 2**18
# Voxel sizes that differ by less than this share are the same one in two headers.
_SAME_SIZE = 1e-3
# Largest number of voxels of a working grid: more than any memory holds.
_MAX_VOXELS = 2**36


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

    Raises
    ------
    ValueError
        If the points have another shape, or an affine cannot be inverted.
    """
    points = _check_points(points)
    for step in maps:
        if isinstance(step, np.ndarray):
            points = apply_affine(_check_step(step, points), points)
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

    Raises
    ------
    ValueError
        As :func:`to_moving`.
    """
    points = _check_points(points)
    for step in reversed(maps):
        if isinstance(step, np.ndarray):
            points = apply_affine(np.linalg.inv(_check_step(step, points)), points)
        else:
            points = _where_finite(step.transform_points_inverse, points)
    return points


def _check_points(points):
    points = np.asarray(points)
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
    """Transform points, but those that are not finite, on which DIPY would crash."""
    finite = np.isfinite(points).all(1)
    if finite.all():
        return np.asarray(transform(points))
    points = points.copy()
    points[finite] = transform(points[finite])
    points[~finite] = np.nan
    return points


def resample(
    image, affine, find, *, shape, grid_affine, interpolation="linear", fill=0.0
):
    """Read an image at other places, on another grid.

    Parameters
    ----------
    image : ndarray, shape (*spatial,) or (*spatial, volumes)
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
    fill : float or sequence of float, optional
        What lies outside of the image, or of each volume, to which linear interpolation
        fades over one voxel.

    Returns
    -------
    resampled : ndarray, shape (*shape,) or (*shape, volumes)
        If linear, float32, or float64 where that could not hold the contrast.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or an affine cannot be inverted.
    """
    check_name("interpolation", interpolation, ORDERS)
    image, shape = np.asarray(image), tuple(shape)
    affine = check_affine(affine, name="affine", ndim=len(shape))
    grid_affine = check_affine(grid_affine, name="grid_affine", ndim=len(shape))
    if image.ndim not in (len(shape), len(shape) + 1) or image.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected an image of {len(shape)} axes, as the grid has, or one more. "
            f"Received image.shape={image.shape} and image.dtype={image.dtype}."
        )
    world_to_image = np.linalg.inv(affine)
    volumes = image[..., None] if image.ndim == len(shape) else image
    fills = np.broadcast_to(fill, volumes.shape[-1:])
    dtype = float_type(image) if interpolation == "linear" else image.dtype
    read = _read_linear if interpolation == "linear" else _read_nearest
    resampled = np.zeros((*shape, volumes.shape[-1]), dtype)
    # Slab by slab: a point is three numbers of 8 bytes, some times over.
    for i in progress_bar(range(shape[0]), desc="Resampling"):
        points = grid_points((1, *shape[1:]), _starting_at(i, grid_affine))
        voxels = apply_affine(world_to_image, find(points)).T
        for v in range(volumes.shape[-1]):
            values = read(volumes[..., v], voxels, fills[v], dtype)
            resampled[i, ..., v] = values.reshape(shape[1:])
    return resampled if image.ndim > len(shape) else resampled[..., 0]


def _read_linear(volume, voxels, fill, dtype):
    if volume.dtype.kind == "b" or volume.dtype == np.float16:
        volume = volume.astype(np.float32)  # which SciPy takes
    return map_coordinates(
        volume, voxels, order=1, output=dtype, mode="grid-constant", cval=fill
    )


def _read_nearest(volume, voxels, fill, dtype):
    """Read voxels by their index: values beyond 2**53 would not survive a float."""
    index = np.floor(voxels + 0.5)
    last = np.array(volume.shape)[:, None] - 1
    inside = np.all((index >= 0) & (index <= last), axis=0)
    values = np.full(voxels.shape[1], fill, dtype)
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
        An axis that has voxels of this size keeps them.

    Raises
    ------
    ValueError
        If the grid would have more voxels than any memory holds.
    """
    sizes = voxel_sizes(affine)
    factors = np.ones(len(shape))
    factors[:ndim] = voxel_size / sizes[:ndim]
    factors[np.abs(factors - 1) < _SAME_SIZE] = 1
    # Less than a thousandth of a voxel is rounding, not a further voxel.
    new_shape = np.maximum(np.ceil(np.array(shape) / factors - 1e-3), 1)
    if np.prod(new_shape) > _MAX_VOXELS:
        raise ValueError(
            f"Expected a voxel_size near those of the image, {sizes.tolist()} mm. "
            f"Received voxel_size={voxel_size}."
        )
    new_shape = new_shape.astype(int)
    change = np.diag([*factors, 1])
    # The centres of both boxes coincide.
    change[:-1, -1] = (np.array(shape) - 1) / 2 - factors * (new_shape - 1) / 2
    return tuple(int(n) for n in new_shape), affine @ change


def read_on_grid(image, affine, maps, shape, grid_affine):
    """Resample an image, but smooth it before where voxels become larger.

    Outside of the image is its background.

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
    image = np.asarray(image)
    image = image.astype(float_type(image), copy=False)
    fill = _backgrounds(image, len(shape))
    sigma = _smoothing(affine, maps, grid_affine, image.shape)
    if np.any(sigma > 0.1):
        # The last axis of several channels is not one to smooth along.
        sigma = [*sigma, *[0] * (image.ndim - len(shape))]
        image = gaussian_filter(image, sigma)
    return resample(
        image,
        affine,
        lambda points: to_moving(points, maps),
        shape=shape,
        grid_affine=grid_affine,
        fill=fill,
    )


def _smoothing(affine, maps, grid_affine, shape):
    """Return the standard deviations, in voxels of an image, that a grid asks for.

    Along each axis of the image, the variance of a box of the size and the direction
    of the new voxels, less that of a box of the old ones.
    """
    axes = grid_affine[:-1, :-1]
    for step in maps:
        if isinstance(step, np.ndarray):  # the directions alone: sizes are the grid's
            axes = polar(step[:-1, :-1])[0] @ axes
    axes = np.linalg.solve(affine[:-1, :-1], axes)
    variances = np.maximum(np.sum(axes**2, axis=1) - 1, 0) / 12
    return np.minimum(np.sqrt(variances), shape[: len(variances)])


def _backgrounds(image, ndim):
    """Return the background of an image, or of each of its channels."""
    if image.ndim == ndim:
        return estimate_background(image)
    return [estimate_background(channel) for channel in np.moveaxis(image, -1, 0)]


def warp_image(
    moving, static, maps, *, inverse=False, interpolation="linear", fill=None
):
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
    fill : float, optional
        What lies outside of the moving image. By default its background, of each volume
        of a series; 0 with "nearest", as label maps have it.

    Returns
    -------
    warped : ndarray, shape (*spatial,) or (*spatial, volumes)
        As :func:`resample` returns it.
    """
    if fill is None:
        is_image = interpolation == "linear"
        fill = _backgrounds(moving.data, 3) if is_image else 0
    find = to_static if inverse else to_moving
    return resample(
        moving.data,
        moving.affine,
        lambda points: find(points, maps),
        shape=static.data.shape[:3],
        grid_affine=static.affine,
        interpolation=interpolation,
        fill=fill,
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
