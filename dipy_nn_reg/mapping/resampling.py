"""Resampling of images through one or more maps.

An image is interpolated once, whatever the number of maps.
"""

from functools import partial

from nibabel.affines import apply_affine
import numpy as np
from scipy.ndimage import affine_transform, map_coordinates, spline_filter

from dipy_nn_reg.checks import check_name, check_real, fill_of_type
from dipy_nn_reg.intensities import estimate_backgrounds, float_type
from dipy_nn_reg.mapping.affines import check_affine, grid_points
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.points import check_maps, to_moving, to_static
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
    find : callable or sequence
        Function from world coordinates of the grid, shape (n, ndim), to those in the
        space of the image; or maps, as :func:`~dipy_nn_reg.mapping.points.to_moving`
        takes them. Affines alone take less time.
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
    image, affine = _check_image(image, affine, grid)
    check_name("interpolation", interpolation, ORDERS)
    is_nearest = interpolation == "nearest"
    has_volumes = image.ndim > grid.ndim
    # In the order of files, SciPy takes three times as long to interpolate.
    volumes = image if has_volumes else np.ascontiguousarray(image)[..., None]
    dtype = image.dtype if is_nearest else float_type(image)
    fills = _fill_of_each(fill_of_type(fill, dtype), volumes.shape[-1])
    volumes = [
        _Indexed(volumes[..., v], fill)
        if is_nearest
        else _Spline(volumes[..., v], ORDERS[interpolation], fill, dtype)
        for v, fill in enumerate(fills)
    ]
    find = find if callable(find) else _composed(find, grid.ndim)
    if callable(find) or is_nearest:
        resampled = _by_slabs(volumes, affine, find, grid, dtype)
    else:
        resampled = _by_affine(volumes, np.linalg.inv(affine) @ find, grid, dtype)
    return resampled if has_volumes else resampled[..., 0]


def _check_image(image, affine, grid):
    """Return an image and its affine as arrays, which fit a grid."""
    if not isinstance(grid, Grid):
        raise ValueError(f"Expected grid to be a Grid. Received {grid!r}.")
    image, ndim = check_real("image", image), grid.ndim
    if image.ndim not in (ndim, ndim + 1) or image.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected an image of {ndim} axes, as the grid has, or one more. "
            f"Received image.shape={image.shape} and image.dtype={image.dtype}."
        )
    return image, check_affine(affine, name="affine", ndim=ndim)


def _composed(maps, ndim):
    """Return maps as one affine if they are affines, or as a function of points."""
    steps = check_maps(maps)
    if not all(isinstance(step, np.ndarray) for step in steps):
        return partial(to_moving, maps=steps)
    affine = np.eye(ndim + 1)
    for step in steps:
        affine = check_affine(step, name="an affine in maps", ndim=ndim) @ affine
    return affine


def _by_affine(volumes, world_to_volumes, grid, dtype):
    """Return volumes on a grid, (*shape, volumes), one after the other."""
    resampled = np.zeros((*grid.shape, len(volumes)), dtype)
    for v, volume in enumerate(progress_bar(volumes, desc="Resampling")):
        volume.fill_grid(resampled[..., v], world_to_volumes @ grid.affine)
    return resampled


def _by_slabs(volumes, affine, find, grid, dtype):
    """Return volumes on a grid, (*shape, volumes), through points."""
    if not callable(find):
        find = partial(apply_affine, find)
    shape, world_to_volumes = grid.shape, np.linalg.inv(affine)
    resampled = np.zeros((*shape, len(volumes)), dtype)
    # One slab at a time: each point takes 24 bytes, in several copies.
    for i in progress_bar(range(shape[0]), desc="Resampling"):
        points = grid_points((1, *shape[1:]), _starting_at(i, grid.affine))
        voxels = apply_affine(world_to_volumes, find(points)).T
        for v, volume in enumerate(volumes):
            resampled[i, ..., v] = volume.at(voxels).reshape(shape[1:])
    return resampled


def _fill_of_each(fill, number):
    """Return the fill of each of a number of volumes."""
    if fill.shape not in ((), (1,), (number,)):
        raise ValueError(
            f"Expected fill to be a number, or one for each of {number} volumes. "
            f"Received fill.shape={fill.shape}."
        )
    return np.broadcast_to(fill, number)


class _Spline:
    """A volume that is interpolated by a spline of an order."""

    def __init__(self, volume, order, fill, dtype):
        # SciPy does not take these types.
        if volume.dtype.kind == "b" or volume.dtype == np.float16:
            volume = volume.astype(np.float32)
        elif volume.dtype == np.longdouble:
            volume = volume.astype(np.float64)
        self._dtype, self._margin = dtype, _MARGIN if order > 1 else 0
        if self._margin:  # once, and not for each slab
            volume = np.pad(volume.astype(dtype), self._margin, constant_values=fill)
            volume = spline_filter(volume, order, output=np.float64)
        self._volume = volume
        self._options = {"order": order, "cval": fill, "mode": "grid-constant"}
        self._options["prefilter"] = False

    def at(self, voxels):
        """Return the values at voxels, shape (ndim, n)."""
        voxels = voxels + self._margin
        options = self._options | {"output": self._dtype}
        return map_coordinates(self._volume, voxels, **options)

    def fill_grid(self, values, to_voxels):
        """Fill an array with the values at its voxels, which an affine moves."""
        shift = to_voxels[:-1, -1] + self._margin
        options = self._options | {"output": values, "output_shape": values.shape}
        affine_transform(self._volume, to_voxels[:-1, :-1], shift, **options)


class _Indexed:
    """A volume whose nearest voxel is read: integers beyond 2**53 keep their values."""

    def __init__(self, volume, fill):
        self._volume, self._fill = volume, fill

    def at(self, voxels):
        """Return the values at voxels, shape (ndim, n)."""
        index = np.floor(voxels + 0.5)
        last = np.array(self._volume.shape)[:, None] - 1
        inside = np.all((index >= 0) & (index <= last), axis=0)
        values = np.full(voxels.shape[1], self._fill, self._volume.dtype)
        values[inside] = self._volume[tuple(index[:, inside].astype(np.intp))]
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
    return resample(
        moving.data,
        moving.affine,
        partial(to_static, maps=maps) if inverse else maps,
        static.grid,
        interpolation=interpolation,
        fill=fill,
    )
