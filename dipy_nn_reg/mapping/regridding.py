"""Resampling to larger voxels: images are smoothed before they are read there."""

import numpy as np
from scipy.linalg import polar
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.checks import check_real
from dipy_nn_reg.intensities import estimate_backgrounds, float_type
from dipy_nn_reg.mapping.affines import check_affine
from dipy_nn_reg.mapping.resampling import check_maps, resample, to_moving


def read_on_grid(image, affine, maps, grid):
    """Resample an image, but smooth it before where voxels become larger.

    Outside of the image is its background.

    Parameters
    ----------
    image : ndarray, shape (*spatial,) or (*spatial, channels)
    affine : ndarray
    maps : sequence
        As for :func:`to_moving`.
    grid : Grid

    Returns
    -------
    resampled : ndarray, shape (*shape,) or (*shape, channels)
        The image itself if there is nothing to do.

    Raises
    ------
    ValueError
        As :func:`~dipy_nn_reg.mapping.resampling.resample`.
    """
    image, ndim = check_real("image", image), grid.ndim
    affine = check_affine(affine, name="affine", ndim=ndim)
    maps = check_maps(maps)
    same_grid = grid.shape == image.shape[:ndim] and np.allclose(
        affine, grid.affine, rtol=0, atol=1e-6
    )
    if same_grid and all(np.array_equal(m, np.eye(len(m))) for m in maps):
        return image
    image = image.astype(float_type(image), copy=False)
    fill = estimate_backgrounds(image, ndim)
    sigma = _smoothing(affine, maps, grid.affine, image.shape)
    if np.any(sigma > 0.1):
        # The last axis of several channels is not one to smooth along.
        sigma = [*sigma, *[0] * (image.ndim - ndim)]
        image = gaussian_filter(image, sigma)
    return resample(
        image,
        affine,
        lambda points: to_moving(points, maps),
        grid,
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
