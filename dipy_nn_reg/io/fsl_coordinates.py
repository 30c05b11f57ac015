"""FSL's coordinates: mm along the axes of an image, from its corner, by its pixdim.

The first axis points to the left: it is reversed if the affine has a positive
determinant. The voxel sizes are those of the header, which may differ from those of the
affine.
"""

from dipy.utils.logging import logger
from nibabel.affines import apply_affine
import numpy as np

from dipy_nn_reg.mapping.affines import grid_points


def to_fsl(voxels, shape, affine, zooms):
    """Return FSL's coordinates of voxels.

    Parameters
    ----------
    voxels : ndarray, shape (n, ndim)
    shape : tuple of int
        Shape of the image.
    affine : ndarray, shape (ndim + 1, ndim + 1)
        Affine of the image, which tells whether the first axis is reversed.
    zooms : sequence of float, length ndim
        Voxel sizes in the header of the image, in mm.

    Returns
    -------
    points : ndarray, shape (n, ndim)
    """
    return _turn(voxels, shape, affine) * zooms


def from_fsl(points, shape, affine, zooms):
    """Return world coordinates of points in FSL's coordinates.

    Parameters
    ----------
    points : ndarray, shape (n, ndim)
        In mm.
    shape, affine, zooms
        Of the image, as for :func:`to_fsl`.

    Returns
    -------
    points : ndarray, shape (n, ndim)
    """
    return apply_affine(affine, _turn(points / zooms, shape, affine))


def warp_to_fsl(values, shape, affine, zooms, *, absolute=None, path):
    """Return where a warp takes the voxels of its grid, in FSL's coordinates.

    Parameters
    ----------
    values : ndarray, shape (n, ndim)
        In mm: displacements or positions.
    shape, affine, zooms
        Of the grid of the warp, as for :func:`to_fsl`.
    absolute : bool, optional
        Whether the values are positions. By default they are if their standard
        deviation is larger than that of their differences from the grid, as for
        ``applywarp``: positions grow from voxel to voxel.
    path : Path
        Name of the file in the log.

    Returns
    -------
    points : ndarray, shape (n, ndim)
        In the space of the moving image.
    """
    voxels = grid_points(shape, np.eye(len(shape) + 1))
    points = to_fsl(voxels, shape, affine, zooms)
    if absolute is None:
        absolute = values.std(axis=0).sum() > (values - points).std(axis=0).sum()
        if absolute:
            logger.info(f"The warp {path} holds positions, judging by its values.")
    return values if absolute else points + values


def _turn(voxels, shape, affine):
    if np.linalg.det(affine[:-1, :-1]) < 0:
        return voxels
    return np.column_stack([shape[0] - 1 - voxels[:, 0], voxels[:, 1:]])
