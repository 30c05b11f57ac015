"""Affines from voxels to the world, and of one slice in three axes."""

from nibabel.affines import apply_affine
import numpy as np

# In an affine of 4 x 4, what belongs to the first two axes.
_PLANE = np.ix_([0, 1, 3], [0, 1, 3])


def check_affine(affine, *, name, ndim):
    """Return an affine as float64 after looking for what would go wrong.

    Parameters
    ----------
    affine : array-like, shape (ndim + 1, ndim + 1)
    name : str
        What to call it in an error.
    ndim : int

    Returns
    -------
    affine : ndarray, shape (ndim + 1, ndim + 1)

    Raises
    ------
    ValueError
        If the shape is another, if a value is not finite, if the last row is not that
        of an affine, or if it cannot be inverted.
    """
    try:
        given = np.asarray(affine)
    except ValueError:  # rows of several lengths
        given = np.asarray(None)
    if given.dtype.kind not in "biuf":
        raise ValueError(f"Expected {name} of numbers. Received {affine!r}.")
    affine = given.astype(np.float64)
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
    # Independent of the size of voxels: 0 where columns are dependent, 1 where at
    # right angles.
    linear = affine[:-1, :-1]
    lengths = np.linalg.norm(linear, axis=0)
    if np.any(lengths == 0) or abs(np.linalg.det(linear / lengths)) < 1e-6:
        raise ValueError(
            f"Expected {name} that can be inverted. Received {affine.tolist()}."
        )
    return affine


def world_affine(affine, ndim):
    """Return an affine of DIPY's, for which None is the identity."""
    return np.eye(ndim + 1) if affine is None else np.asarray(affine, np.float64)


def grid_points(shape, affine):
    """Return the world coordinates of all voxels: float64, shape (n, ndim)."""
    voxels = np.moveaxis(np.indices(shape, dtype=np.float64), 0, -1)
    return apply_affine(affine, voxels.reshape(-1, len(shape)))


def with_last_row(matrices):
    """Make affines, (n, ndim + 1, ndim + 1), of matrices, (n, ndim, ndim + 1)."""
    last_row = np.eye(matrices.shape[2], dtype=matrices.dtype)[-1:]
    last_rows = np.broadcast_to(last_row, (len(matrices), *last_row.shape))
    return np.concatenate([matrices, last_rows], axis=1)


def lift_affine(affine):
    """Return an affine of 4 x 4 that does in two axes what one of 3 x 3 does."""
    if len(affine) == 4:
        return affine
    whole = np.eye(4)
    whole[_PLANE] = affine
    return whole


def plane_affine(affine):
    """Return what an affine of 4 x 4 does in the first two axes."""
    return affine[_PLANE]
