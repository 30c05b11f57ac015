"""Dense fields of a grid of control points: cubic B-splines and thin-plate splines.

For an image of n voxels along an axis there are ceil(n / spacing) control
points, ``spacing`` voxels apart and centred in the image.
"""

from functools import lru_cache

from keras import ops
import numpy as np
from scipy.interpolate import RBFInterpolator

from dipy_nn_reg.backend import from_sizes
from dipy_nn_reg.transform.sampling import repeat_border


def bspline(values, shape, spacing):
    """Return the cubic B-spline field of control points.

    Parameters
    ----------
    values : tensor, shape (batch, *points, ndim)
        Coefficients; those at the border are repeated beyond it, so that equal ones
        make a constant field.
    shape : sequence of int
        Spatial shape of the field.
    spacing : int
        Distance of the control points in voxels.

    Returns
    -------
    field : tensor, shape (batch, *shape, ndim)

    Notes
    -----
    :footcite:t:`Rueckert1999`.

    References
    ----------
    .. footbibliography::
    """
    margin = 2  # reach of a cubic B-spline, in control points
    field = repeat_border(values, margin)
    for axis, size in enumerate(shape, start=1):
        points = ops.shape(values)[axis]
        positions = _positions(size, points, spacing)
        columns = ops.arange(-margin, points + margin, dtype="float32")
        basis = _cubic_bspline(positions[:, None] - columns)
        field = ops.moveaxis(ops.tensordot(basis, field, axes=[[1], [axis]]), 0, axis)
    return field


def thin_plate(values, shape, spacing):
    """Return the thin-plate spline field through control points.

    Parameters
    ----------
    values : tensor, shape (batch, *points, ndim)
        Field at the control points, two or more along each axis.
    shape : sequence of int
        Spatial shape of the field.
    spacing : int
        Distance of the control points in voxels.

    Returns
    -------
    field : tensor, shape (batch, *shape, ndim)

    Notes
    -----
    As in a spatial transformer :footcite:p:`Jaderberg2015`, the control points are the
    same for all images, so one system of equations is solved for all. The kernel is
    that of :class:`~dipy_nn_reg.mapping.thin_plate.ThinPlateSpline`. It needs memory
    for one number per voxel and control point.

    References
    ----------
    .. footbibliography::
    """
    batch, *points, ndim = ops.shape(values)
    influence = from_sizes(_influence, *shape, *points, spacing)
    flat = ops.reshape(values, (batch, -1, ndim))
    return ops.reshape(ops.matmul(influence, flat), (batch, *shape, ndim))


SPLINES = {"bspline": bspline, "tps": thin_plate}


@lru_cache(maxsize=2)
def _influence(*sizes):
    """Return the influence of each control point on each voxel, once for each size.

    Parameters
    ----------
    *sizes : int
        Number of voxels along each axis, of control points along each axis, and the
        spacing.
    """
    *sizes, spacing = sizes
    shape, points = np.split(np.array(sizes), 2)
    center = (shape - 1) / 2 - spacing * (points - 1) / 2
    control = np.indices(points).reshape(len(points), -1).T * spacing + center
    voxels = np.indices(shape).reshape(len(shape), -1).T
    kernel = "thin_plate_spline" if len(shape) == 2 else "linear"
    spline = RBFInterpolator(control, np.eye(len(control)), kernel=kernel, degree=1)
    return spline(voxels.astype(np.float64)).astype(np.float32)


def _positions(size, points, spacing):
    """Return the positions of the voxels of an axis, in control points."""
    voxels = ops.arange(0, size, dtype="float32")
    size, points = ops.cast(size, "float32"), ops.cast(points, "float32")
    return (voxels - (size - 1) / 2) / spacing + (points - 1) / 2


def _cubic_bspline(distance):
    distance = ops.abs(distance)
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - ops.minimum(distance, 2)) ** 3 / 6
    return ops.where(distance < 1, near, far)
