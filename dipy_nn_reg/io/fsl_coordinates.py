"""FSL's coordinates: mm along the axes of an image, from its corner, by its pixdim.

The first axis goes leftwards: it is turned round where the affine has a positive
determinant. The voxel sizes are those of the header, which may be others than those of
the affine.
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
        Of the image.
    affine : ndarray, shape (ndim + 1, ndim + 1)
        Of the image, for its handedness.
    zooms : sequence of float, length ndim
        Voxel sizes in its header, in mm.

    Returns
    -------
    points : ndarray, shape (n, ndim)
    """
    return _turn(voxels, shape, affine) * zooms


def from_fsl(points, shape, affine, zooms):
    """Return the world coordinates of points in FSL's: see :func:`to_fsl`."""
    return apply_affine(affine, _turn(points / zooms, shape, affine))


def warp_to_fsl(values, shape, affine, zooms, *, absolute=None, path):
    """Return where a warp takes the voxels of its grid, in the moving image.

    Parameters
    ----------
    values : ndarray, shape (n, ndim)
        In mm: displacements or positions.
    shape, affine, zooms
        Of the grid of the warp, as for :func:`to_fsl`.
    absolute : bool, optional
        Whether they are positions. By default the smaller standard deviation tells, as
        it does ``applywarp``: positions grow from voxel to voxel.
    path : Path
        What to call it in the log.

    Returns
    -------
    points : ndarray, shape (n, ndim)
    """
    voxels = grid_points(shape, np.eye(len(shape) + 1))
    points = to_fsl(voxels, shape, affine, zooms)
    if absolute is None:
        absolute = values.std(axis=0).sum() > (values - points).std(axis=0).sum()
        if absolute:
            logger.info(f"The warp {path} holds positions, as its values look.")
    return values if absolute else points + values


def _turn(voxels, shape, affine):
    if np.linalg.det(affine[:-1, :-1]) < 0:
        return voxels
    return np.column_stack([shape[0] - 1 - voxels[:, 0], voxels[:, 1:]])
