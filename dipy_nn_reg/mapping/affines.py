"""Affines from voxels to world coordinates, in volumes and in single slices."""

from nibabel.affines import apply_affine
import numpy as np

# Index of the rows and columns of the first two axes in an affine of 4 x 4.
_PLANE = np.ix_([0, 1, 3], [0, 1, 3])


def check_affine(affine, *, name, ndim):
    """Return an affine as float64, or raise ValueError if it is invalid.

    Parameters
    ----------
    affine : array-like, shape (ndim + 1, ndim + 1)
    name : str
        Name of the affine in an error.
    ndim : int

    Returns
    -------
    affine : ndarray, shape (ndim + 1, ndim + 1)

    Raises
    ------
    ValueError
        If the shape differs, if a value is not finite, if the last row is not that of
        an affine, or if the affine cannot be inverted.
    """
    try:
        array = np.asarray(affine)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"Expected {name} of numbers. Received {affine!r}.")
    affine = array.astype(np.float64)
    size = ndim + 1
    if affine.shape != (size, size):
        raise ValueError(
            f"Expected {name} of shape ({size}, {size}). Received {affine.shape}."
        )
    if not np.all(np.isfinite(affine)) or np.any(affine[-1] != np.eye(size)[-1]):
        raise ValueError(
            f"Expected {name} with finite values and {np.eye(size)[-1].tolist()} as "
            f"its last row. Received {affine.tolist()}."
        )
    # The determinant of unit columns does not depend on the voxel sizes: it is 0 for
    # linearly dependent columns and 1 for columns at right angles.
    linear = affine[:-1, :-1]
    lengths = np.linalg.norm(linear, axis=0)
    if np.any(lengths == 0) or abs(np.linalg.det(linear / lengths)) < 1e-6:
        raise ValueError(
            f"Expected {name} that can be inverted. Received {affine.tolist()}."
        )
    return affine


def world_affine(affine, ndim):
    """Return an affine of a DIPY map as float64; None stands for the identity."""
    return np.eye(ndim + 1) if affine is None else np.asarray(affine, np.float64)


def grid_points(shape, affine):
    """Return the world coordinates of all voxels: float64, shape (n, ndim)."""
    voxels = np.moveaxis(np.indices(shape, dtype=np.float64), 0, -1)
    return apply_affine(affine, voxels.reshape(-1, len(shape)))


def with_last_row(matrices):
    """Return affines, (n, ndim + 1, ndim + 1), of matrices, (n, ndim, ndim + 1)."""
    last_row = np.eye(matrices.shape[2], dtype=matrices.dtype)[-1:]
    last_rows = np.broadcast_to(last_row, (len(matrices), *last_row.shape))
    return np.concatenate([matrices, last_rows], axis=1)


def lift_affine(affine):
    """Return an affine of 3 x 3 as one of 4 x 4 that acts in the first two axes."""
    if len(affine) == 4:
        return affine
    whole = np.eye(4)
    whole[_PLANE] = affine
    return whole


def plane_affine(affine):
    """Return the part of an affine of 4 x 4 that acts in the first two axes."""
    return affine[_PLANE]
