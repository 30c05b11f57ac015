"""Maps made of the points that the voxels of a field move to."""

from nibabel.affines import apply_affine
import numpy as np

from dipy_nn_reg.mapping.affines import check_affine, plane_affine
from dipy_nn_reg.mapping.maps import check_moving_shape, displacement_to_mapping

# Smallest scale of an affine part of a field that counts as invertible.
_MIN_SCALE = 1e-6


def moving_grid_beside(static_affine, moving_shape, moving_affine):
    """Return the moving grid of a map; that of a 2D map is flattened if it is 3D.

    Parameters
    ----------
    static_affine : ndarray, shape (ndim + 1, ndim + 1)
    moving_shape : tuple of int or None
    moving_affine : ndarray, shape (ndim + 1, ndim + 1) or (4, 4), or None
        By default that of the static image.

    Returns
    -------
    grid : dict
        ``moving_shape`` and ``moving_affine`` for
        :func:`~dipy_nn_reg.mapping.displacement_to_mapping`.

    Raises
    ------
    ValueError
        If one of them is invalid.
    """
    if moving_affine is None:
        moving_affine = static_affine
    ndim = 3 if np.shape(moving_affine) == (4, 4) else len(static_affine) - 1
    moving_affine = check_affine(moving_affine, name="moving_affine", ndim=ndim)
    if moving_shape is not None:
        moving_shape = check_moving_shape(moving_shape, (1,) * ndim)
    if len(static_affine) < len(moving_affine):
        moving_affine = plane_affine(moving_affine)
        moving_shape = None if moving_shape is None else moving_shape[:2]
    return {"moving_shape": moving_shape, "moving_affine": moving_affine}


def map_of_points(static, moved, path, *, prealign, **moving):
    """Return the map that takes the voxels of a grid to points in the world.

    Without a prealignment, the affine that fits best becomes one, so that the field
    that is left is small, and its inverse lies on the same grid.

    Parameters
    ----------
    static : dipy_nn_reg.mapping.grid.Grid
    moved : ndarray, shape (n, ndim)
        Points in mm (RAS+), one for each voxel.
    path : string or Path
        Name of the file in an error.
    prealign : ndarray, shape (ndim + 1, ndim + 1), or None
    **moving
        As :func:`moving_grid_beside` returns it.

    Returns
    -------
    mapping : dipy.align.imwarp.DiffeomorphicMap

    Raises
    ------
    ValueError
        If the prealignment is invalid, or if the points are in a plane, a line or one
        point.
    """
    points, ndim = static.points(), static.ndim
    if prealign is None:
        prealign = _fit_affine(points, moved)
        if np.linalg.svd(prealign[:-1, :-1], compute_uv=False)[-1] < _MIN_SCALE:
            raise ValueError(
                f"Expected a field that can be inverted. {str(path)!r} takes all of "
                f"its grid to a plane, a line or a point."
            )
    else:
        prealign = check_affine(prealign, name="prealign", ndim=ndim)
    linear = static.affine[:ndim, :ndim]
    back = apply_affine(np.linalg.inv(prealign), moved) - points
    displacement = (back @ np.linalg.inv(linear).T).reshape(*static.shape, ndim)
    return displacement_to_mapping(
        displacement, static_affine=static.affine, prealign=prealign, **moving
    )


def _fit_affine(points, moved):
    """Return the affine that fits best; it is the identity across a single slice."""
    center, shift = points.mean(0), (moved - points).mean(0)
    change = np.linalg.lstsq(points - center, moved - points - shift, rcond=None)[0].T
    affine = np.eye(len(center) + 1)
    affine[:-1, :-1] += change
    affine[:-1, -1] = shift - change @ center
    return affine
