"""Inversion of displacements in voxels, up to the last voxel of each axis.

DIPY's registration takes most of a second to import, and is imported where it is
called, so that commands show their help at once.
"""

import numpy as np
from scipy.ndimage import map_coordinates

from dipy_nn_reg.checks import check_real

_MAX_ITERATIONS, _MAX_ROUNDS = 100, 10
# In voxels: of the inverse, at a sample of so many points; and how far the border goes.
_TOLERANCE, _SAMPLE, _MAX_BORDER = 1e-4, 2**14, 32


def invert_displacement(displacement):
    """Invert a displacement by DIPY's fixed-point iteration.

    Parameters
    ----------
    displacement : ndarray, shape (*spatial, ndim)
        In voxels. Where it folds there is no inverse. Any axis may have a single
        voxel.

    Returns
    -------
    inverse : ndarray, float32, shape (*spatial, ndim)
        In voxels, on the same grid. Up to 32 voxels outside of the grid, the
        displacement counts as it is at the border.

    Raises
    ------
    ValueError
        If the shape is another, or a value is not finite.
    """
    from dipy.align import vector_fields

    displacement = check_field("displacement", displacement)
    ndim = displacement.shape[-1]
    invert = {
        2: vector_fields.invert_vector_field_fixed_point_2d,
        3: vector_fields.invert_vector_field_fixed_point_3d,
    }[ndim]
    # Beyond the first and the last voxels DIPY reads 0, and returns 0 where it does.
    largest = np.abs(displacement).reshape(-1, ndim).max(axis=0)
    border = [int(np.ceil(min(size, _MAX_BORDER))) + 1 for size in largest]
    padded = np.pad(displacement, [*((n, n) for n in border), (0, 0)], mode="edge")
    inside = tuple(slice(n, -n) for n in border)
    inverse, error = None, np.inf
    # DIPY stops long before its tolerance in 3D, but goes on from where it was.
    for _ in range(_MAX_ROUNDS):
        inverse = invert(
            padded, np.eye(ndim + 1), np.ones(ndim), _MAX_ITERATIONS, 1e-6, inverse
        )
        inverse, before = np.asarray(inverse), error
        error = _error(displacement, inverse[inside])
        if error < _TOLERANCE or error > 0.9 * before:  # which it is where it folds
            break
    return np.ascontiguousarray(inverse[inside])


def check_field(name, field, *, shape=None):
    """Return a field as float32, unless DIPY could not deal with it.

    Parameters
    ----------
    name : str
        What to call it in an error.
    field : array-like, shape (*spatial, ndim)
    shape : tuple of int, optional
        What its shape has to be.

    Returns
    -------
    field : ndarray, float32, shape (*spatial, ndim)

    Raises
    ------
    ValueError
        If the shape is another, or a value is not finite.
    """
    field = check_real(name, field)
    with np.errstate(over="ignore"):  # which is not finite then
        field = field.astype(np.float32, copy=False)
    fits = field.ndim in (3, 4) and field.shape[-1] == field.ndim - 1
    if not fits or shape not in (None, field.shape):
        expected = "(*spatial, ndim) in 2D or 3D" if shape is None else shape
        raise ValueError(
            f"Expected {name} of shape {expected}. Received {field.shape}."
        )
    # On which DIPY would end the process, in 2D.
    if not np.all(np.isfinite(field)):
        number = int(np.sum(~np.isfinite(field)))
        raise ValueError(
            f"Expected finite values in {name}. Received {number} of {field.size} that "
            f"are not."
        )
    return field


def _error(displacement, inverse):
    """Return how far points come back from where they were: the mean of a sample."""
    shape = displacement.shape[:-1]
    sample = np.random.default_rng(0).integers(np.prod(shape), size=_SAMPLE)
    index = np.unravel_index(sample, shape)
    found = inverse[index].astype(np.float64)
    at = np.stack(index) + found.T
    there = [
        map_coordinates(component, at, order=1, mode="nearest")
        for component in np.moveaxis(displacement, -1, 0)
    ]
    return float(np.linalg.norm(found + np.stack(there, axis=-1), axis=1).mean())
