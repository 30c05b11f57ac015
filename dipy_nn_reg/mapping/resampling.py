"""Resampling of images through one or more maps.

An image is interpolated once, whatever the number of maps.
"""

from functools import partial

from nibabel.affines import apply_affine
import numpy as np
from scipy.ndimage import map_coordinates, spline_filter

from dipy_nn_reg.checks import check_name, check_real, fill_of_type
from dipy_nn_reg.intensities import estimate_backgrounds, float_type
from dipy_nn_reg.mapping.affines import check_affine, grid_points
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.points import to_moving, to_static
from dipy_nn_reg.progress import progress_bar

# Order of the spline of each interpolation.
ORDERS = {"linear": 1, "nearest": 0, "cubic": 3}
# Number of voxels by which an image is continued for cubic splines, whose coefficients
# depend on ever farther voxels ever less.
_MARGIN = 12


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
    interpolation : {"linear", "nearest", "cubic"}, optional
        "nearest" keeps the values and the type of a label map. "cubic" (splines) is
        sharper than "linear", and may overshoot.
    fill : float or sequence of float, optional
        Value outside of the image, or of each volume. Linear interpolation fades to it
        over one voxel.

    Returns
    -------
    resampled : ndarray, shape (*shape,) or (*shape, volumes)
        With "linear" and "cubic", float32, or float64 if float32 would lose the
        contrast.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or an affine cannot be inverted.
    """
    check_name("interpolation", interpolation, ORDERS)
    if not isinstance(grid, Grid):
        raise ValueError(f"Expected grid to be a Grid. Received {grid!r}.")
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
    dtype = image.dtype if interpolation == "nearest" else float_type(image)
    fills = _fill_of_each(fill_of_type(fill, dtype), volumes.shape[-1])
    readers = [
        _reader(volumes[..., v], ORDERS[interpolation], fill, dtype)
        for v, fill in enumerate(fills)
    ]
    resampled = np.zeros((*shape, volumes.shape[-1]), dtype)
    # One slab at a time: each point takes 24 bytes, in several copies.
    for i in progress_bar(range(shape[0]), desc="Resampling"):
        points = grid_points((1, *shape[1:]), _starting_at(i, grid.affine))
        voxels = apply_affine(world_to_image, find(points)).T
        for v, read in enumerate(readers):
            resampled[i, ..., v] = read(voxels).reshape(shape[1:])
    return resampled if image.ndim > len(shape) else resampled[..., 0]


def _fill_of_each(fill, number):
    """Return the fill of each of a number of volumes."""
    if fill.shape not in ((), (1,), (number,)):
        raise ValueError(
            f"Expected fill to be a number, or one for each of {number} volumes. "
            f"Received fill.shape={fill.shape}."
        )
    return np.broadcast_to(fill, number)


def _reader(volume, order, fill, dtype):
    """Return a function that reads a volume at voxels, shape (ndim, n)."""
    if order == 0:
        return partial(_read_nearest, volume, fill, dtype)
    # SciPy does not take these types.
    if volume.dtype.kind == "b" or volume.dtype == np.float16:
        volume = volume.astype(np.float32)
    elif volume.dtype == np.longdouble:
        volume = volume.astype(np.float64)
    margin = _MARGIN if order > 1 else 0
    if margin:  # once, and not for each slab
        volume = np.pad(volume.astype(dtype), margin, constant_values=fill)
        volume = spline_filter(volume, order, output=np.float64)

    def read(voxels):
        return map_coordinates(
            volume,
            voxels + margin,
            order=order,
            output=dtype,
            mode="grid-constant",
            cval=fill,
            prefilter=False,
        )

    return read


def _read_nearest(volume, fill, dtype, voxels):
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
        As for :func:`~dipy_nn_reg.mapping.points.to_moving`; empty to use only the
        affines of the images.
    inverse : bool, optional
        Whether the maps lead from the space of ``moving`` to that of ``static``.
    interpolation : {"linear", "nearest", "cubic"}, optional
    fill : float, optional
        Value outside of the moving image. By default the background of each volume;
        0 with "nearest", as in label maps.

    Returns
    -------
    warped : ndarray, shape (*spatial,) or (*spatial, volumes)
        As :func:`resample` returns it.
    """
    if fill is None:
        is_image = interpolation != "nearest"
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
