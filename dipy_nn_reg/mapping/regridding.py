"""Grids of other voxels, and images that are smoothed before they are read there."""

from nibabel.affines import voxel_sizes
import numpy as np
from scipy.linalg import polar
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.checks import check_number, check_real, check_shape
from dipy_nn_reg.intensities import estimate_backgrounds, float_type
from dipy_nn_reg.mapping.affines import check_affine
from dipy_nn_reg.mapping.resampling import check_maps, resample, to_moving

# Voxel sizes that differ by less than this share are the same one in two headers.
_SAME_SIZE = 1e-3
# Largest number of voxels of a working grid: more than any memory holds.
_MAX_VOXELS = 2**36


def working_grid(shape, affine, voxel_size):
    """Return a grid of other voxels over the same box.

    Parameters
    ----------
    shape : tuple of int
    affine : ndarray
        From voxels to world coordinates.
    voxel_size : float
        In mm, along each axis but that across a slice, whose size is 1.

    Returns
    -------
    shape : tuple of int
    affine : ndarray
        An axis that has voxels of this size keeps them.

    Raises
    ------
    ValueError
        If the grid would have more voxels than any memory holds, or if an argument is
        not what is said above.
    """
    shape = check_shape("shape", shape)
    affine = check_affine(affine, name="affine", ndim=len(shape))
    check_number("voxel_size", voxel_size)
    sizes = voxel_sizes(affine)
    factors = voxel_size / sizes
    factors[(np.abs(factors - 1) < _SAME_SIZE) | (np.array(shape) == 1)] = 1
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

    Raises
    ------
    ValueError
        As :func:`~dipy_nn_reg.mapping.resampling.resample`.
    """
    image, shape = check_real("image", image), check_shape("shape", shape)
    affine = check_affine(affine, name="affine", ndim=len(shape))
    grid_affine = check_affine(grid_affine, name="grid_affine", ndim=len(shape))
    maps = check_maps(maps)
    same_grid = shape == image.shape[: len(shape)] and np.allclose(
        affine, grid_affine, rtol=0, atol=1e-6
    )
    if same_grid and all(np.array_equal(m, np.eye(len(m))) for m in maps):
        return image
    image = image.astype(float_type(image), copy=False)
    fill = estimate_backgrounds(image, len(shape))
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
