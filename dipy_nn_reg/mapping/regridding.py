"""Resampling of images to another grid, with smoothing if its voxels are larger."""

import numpy as np
from scipy.linalg import polar
from scipy.ndimage import gaussian_filter, map_coordinates

from dipy_nn_reg.checks import check_real
from dipy_nn_reg.intensities import estimate_backgrounds, float_type
from dipy_nn_reg.mapping.affines import check_affine, grid_points
from dipy_nn_reg.mapping.points import check_maps
from dipy_nn_reg.mapping.resampling import resample
from dipy_nn_reg.symmetric import from_matrices, to_matrices


def read_on_grid(image, affine, maps, grid, *, fill=None, smooth=True):
    """Resample an image to a grid, after smoothing if voxels become larger.

    Parameters
    ----------
    image : ndarray, shape (*spatial,) or (*spatial, channels)
    affine : ndarray, shape (ndim + 1, ndim + 1)
        From voxels of the image to world coordinates in mm.
    maps : sequence
        As for :func:`~dipy_nn_reg.mapping.points.to_moving`.
    grid : Grid
    fill : float, optional
        Value outside of the image, by default its background.
    smooth : bool, optional
        False for an image that :func:`smoothed_for` has returned.

    Returns
    -------
    resampled : ndarray, shape (*shape,) or (*shape, channels)
        The same array if the image is on the grid and no map moves it.

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
    fill = estimate_backgrounds(image, ndim) if fill is None else fill
    return resample(
        smoothed_for(image, affine, maps, grid) if smooth else image,
        affine,
        maps,
        grid,
        fill=fill,
    )


def smoothed_for(image, affine, maps, grid):
    """Return an image smoothed where voxels become larger on a grid.

    Parameters
    ----------
    image : ndarray of float, shape (*spatial,) or (*spatial, channels)
    affine, maps, grid
        As for :func:`read_on_grid`.

    Returns
    -------
    image : ndarray, shape (*spatial,) or (*spatial, channels)
        The same array if no voxels become larger.
    """
    sigma = _smoothing(affine, maps, grid.affine, image.shape)
    if not np.any(sigma > 0.1):
        return image
    # Channels are not smoothed across.
    return gaussian_filter(image, [*sigma, *[0] * (image.ndim - grid.ndim)])


def labels_on_grid(labels, affine, maps, grid):
    """Resample a label map or a mask to a grid, by the nearest voxel.

    Parameters
    ----------
    labels : ndarray, shape (*spatial,)
    affine : ndarray, shape (ndim + 1, ndim + 1)
        From voxels of the labels to world coordinates in mm.
    maps : list of ndarray
        Affines from the grid to the labels, in world coordinates.
    grid : Grid

    Returns
    -------
    resampled : ndarray, shape (*shape,)
        The same array if it is on the grid and no map moves it.
    """
    unmoved = all(np.array_equal(m, np.eye(len(m))) for m in maps)
    in_place = np.array_equal(affine, grid.affine)
    if unmoved and in_place and grid.shape == labels.shape:
        return labels
    return resample(
        labels,
        affine,
        maps,
        grid,
        interpolation="nearest",
    )


def orientations_on_grid(tensors, affine, maps, grid):
    """Resample orientations of fibres to a grid, and turn them with the tissue.

    Parameters
    ----------
    tensors : ndarray, shape (x, y, z, 6)
        :mod:`Orientation tensors <dipy_nn_reg.transform.orientations>` along the axes
        of the world.
    affine : ndarray, shape (4, 4)
        From voxels of the tensors to world coordinates in mm.
    maps : list of ndarray
        Affines from the grid to the tensors, in world coordinates.
    grid : Grid

    Returns
    -------
    tensors : ndarray of float32, shape (*shape, 6)
        Along the axes of the grid.
    """
    matrix = polar(grid.affine[:3, :3])[0].T
    for step in maps:
        matrix = matrix @ np.linalg.inv(step[:3, :3])
    before = to_matrices(read_on_grid(tensors, affine, maps, grid, fill=0.0))
    after = matrix @ before @ matrix.T
    wanted, found = (np.trace(m, axis1=-2, axis2=-1) for m in (before, after))
    factor = np.where(found > 0, wanted, 0) / np.where(found > 0, found, 1)
    return from_matrices(after * factor[..., None, None]).astype(np.float32)


def field_on_grid(field, shape, to_grid):
    """Return a field at the voxels of another grid.

    Parameters
    ----------
    field : ndarray, shape (*spatial, ndim)
        Displacement in voxels of its grid.
    shape : tuple of int
        Shape of the other grid.
    to_grid : ndarray, shape (ndim + 1, ndim + 1)
        Affine from voxels of the other grid to those of the field.

    Returns
    -------
    field : ndarray, shape (*shape, ndim)
        In voxels of the other grid.
    """
    positions = grid_points(shape, to_grid).T
    values = [
        map_coordinates(component, positions, order=1, mode="nearest")
        for component in np.moveaxis(field, -1, 0)
    ]
    to_static = np.linalg.inv(to_grid[:-1, :-1]).T
    return (np.stack(values, axis=-1) @ to_static).reshape(*shape, len(shape))


def _smoothing(affine, maps, grid_affine, shape):
    """Return the standard deviations of the smoothing, in voxels of the image.

    Along each axis of the image, the variance is that of a box with the size and the
    direction of the new voxels, minus that of a box of the old voxels.
    """
    axes = grid_affine[:-1, :-1]
    for step in maps:
        if isinstance(
            step, np.ndarray
        ):  # only rotated: the sizes are those of the grid
            axes = polar(step[:-1, :-1])[0] @ axes
    axes = np.linalg.solve(affine[:-1, :-1], axes)
    variances = np.maximum(np.sum(axes**2, axis=1) - 1, 0) / 12
    return np.minimum(np.sqrt(variances), shape[: len(variances)])
