"""Register two images wherever they lie in the world."""

from nibabel.affines import voxel_sizes
import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from dipy_nn_reg.checks import check_images, check_number
from dipy_nn_reg.mapping import (
    check_affine,
    displacement_to_mapping,
    grid_points,
    lift_affine,
    plane_affine,
)
from dipy_nn_reg.prealign import check_prealign, estimate_prealign
from dipy_nn_reg.resampling import resample, to_moving


def predict_mapping(
    predict_parts,
    moving,
    static,
    *,
    ndim,
    num_channels,
    moving_affine=None,
    static_affine=None,
    prealign=None,
    voxel_size=None,
):
    """Return the map of one pair of images.

    Parameters
    ----------
    predict_parts : callable
        Takes a moving and a static image of one size, shape (*spatial, channels), and
        returns a displacement, its inverse and an affine that follows the displacement
        (or None), all in voxels.
    moving, static : array-like, shape (*spatial,) or (*spatial, channels)
    ndim, num_channels : int
        What ``predict_parts`` takes.
    moving_affine, static_affine, prealign, voxel_size
        See ``DeformableRegistration.predict_mapping``.

    Returns
    -------
    mapping : dipy.align.imwarp.DiffeomorphicMap
    """
    in_slice = ndim == 2 and np.shape(static_affine) == (4, 4)
    dim = 3 if in_slice else ndim
    static_affine, moving_affine = _check_affines(static_affine, moving_affine, dim)
    check_prealign(prealign, ndim=dim)
    if voxel_size is not None:
        check_number("voxel_size", voxel_size)
    moving, static = (
        _check_image(image, name, ndim, num_channels, in_slice)
        for name, image in (("moving", moving), ("static", static))
    )
    grids = {"moving_affine": moving_affine, "static_affine": static_affine}
    if isinstance(prealign, str):
        prealign = estimate_prealign(
            moving.mean(-1), static.mean(-1), kind=prealign, **grids
        )
    prealign = np.eye(dim + 1) if prealign is None else np.asarray(prealign, float)

    static_shape = static.shape[:-1]
    shape, affine = static_shape, static_affine
    if voxel_size is not None:
        shape, affine = working_grid(static_shape, static_affine, voxel_size, ndim)
    seen = [
        read_on_grid(image, image_affine, maps, shape, affine)
        for image, image_affine, maps in (
            (moving, moving_affine, [prealign]),
            (static, static_affine, []),
        )
    ]
    if np.ptp(seen[0]) == 0 and np.ptp(moving) > 0:
        raise ValueError(
            "Expected images that overlap. Of the moving image, nothing lies on the "
            "grid of the static one: prealign could bring it there."
        )
    if in_slice:
        seen = [image[:, :, 0] for image in seen]
    displacement, inverse, matrix = predict_parts(*seen)
    if matrix is not None:
        matrix = lift_affine(matrix) if in_slice else matrix
        prealign = prealign @ affine @ matrix @ np.linalg.inv(affine)
    if not np.array_equal(affine, static_affine):
        to_working = np.linalg.inv(affine) @ static_affine
        to_working = plane_affine(to_working) if in_slice else to_working
        size = static_shape[:ndim]
        displacement, inverse = (
            _refine(field, size, to_working) for field in (displacement, inverse)
        )
    return displacement_to_mapping(
        displacement,
        inverse=inverse,
        moving_shape=moving.shape[:-1],
        prealign=prealign,
        **grids,
    )


def _check_affines(static_affine, moving_affine, ndim):
    """Return both; without any, those of one grid of voxels."""
    if (static_affine is None) != (moving_affine is None):
        raise ValueError(
            "Expected affines of both images or of none. Received "
            f"{'moving' if static_affine is None else 'static'}_affine alone."
        )
    if static_affine is None:
        return np.eye(ndim + 1), np.eye(ndim + 1)
    return (
        check_affine(static_affine, name="static_affine", ndim=ndim),
        check_affine(moving_affine, name="moving_affine", ndim=ndim),
    )


def _check_image(image, name, ndim, num_channels, in_slice):
    """Return one image with a channel axis, and a third one if it is a slice."""
    image = np.asarray(image)
    if in_slice and image.ndim >= 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    image = check_images(image[None], name=name, ndim=ndim, num_channels=num_channels)
    image = image[0]
    return image[:, :, None] if in_slice else image


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
        As for :func:`~dipy_nn_reg.resampling.to_moving`.
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


def _refine(field, shape, to_working):
    """Read a field of the working grid at the voxels of the static one."""
    positions = grid_points(shape, to_working).T
    values = [
        map_coordinates(component, positions, order=1, mode="nearest")
        for component in np.moveaxis(field, -1, 0)
    ]
    to_static = np.linalg.inv(to_working[:-1, :-1]).T
    return (np.stack(values, axis=-1) @ to_static).reshape(*shape, len(shape))
