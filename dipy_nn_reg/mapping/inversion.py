"""Inversion of displacements in voxels, up to the last voxel of each axis.

DIPY's registration takes most of a second to import; it is imported where it is called,
so that commands show their help at once.
"""

import numpy as np
from scipy.ndimage import map_coordinates

from dipy_nn_reg.checks import check_real

# Largest number of iterations in a call of DIPY, and of calls.
_MAX_ITERATIONS, _MAX_ROUNDS = 100, 10
# Mean error of the inverse at which it is good enough, in voxels.
_TOLERANCE = 1e-4
# Number of points at which the error is measured.
_SAMPLE_SIZE = 2**14
# Largest width of the border that is added to a displacement, in voxels.
_MAX_BORDER = 32


def invert_displacement(displacement):
    """Invert a displacement by DIPY's fixed-point iteration.

    Parameters
    ----------
    displacement : ndarray, shape (*spatial, ndim)
        In voxels. It has no inverse at folds. Any axis may have a single voxel.

    Returns
    -------
    inverse : ndarray, float32, shape (*spatial, ndim)
        In voxels, on the same grid. Up to 32 voxels outside the grid, the displacement
        is taken to be that at the border.

    Raises
    ------
    ValueError
        If the shape differs, or if a value is not finite.
    """
    from dipy.align import vector_fields

    displacement = check_field("displacement", displacement)
    ndim = displacement.shape[-1]
    invert = {
        2: vector_fields.invert_vector_field_fixed_point_2d,
        3: vector_fields.invert_vector_field_fixed_point_3d,
    }[ndim]
    # DIPY reads 0 beyond the first and the last voxels, and the inverse is then 0.
    largest = np.abs(displacement).reshape(-1, ndim).max(axis=0)
    border = [int(np.ceil(min(size, _MAX_BORDER))) + 1 for size in largest]
    padded = np.pad(displacement, [*((n, n) for n in border), (0, 0)], mode="edge")
    inside = tuple(slice(n, -n) for n in border)
    inverse, error = None, np.inf
    # In 3D DIPY stops long before its tolerance; the next call continues from there.
    for _ in range(_MAX_ROUNDS):
        inverse = invert(
            padded, np.eye(ndim + 1), np.ones(ndim), _MAX_ITERATIONS, 1e-6, inverse
        )
        inverse, before = np.asarray(inverse), error
        error = _error(displacement, inverse[inside])
        # At folds the error does not decrease.
        if error < _TOLERANCE or error > 0.9 * before:
            break
    return np.ascontiguousarray(inverse[inside])


def check_field(name, field, *, shape=None):
    """Return a field as float32, or raise ValueError if DIPY could not use it.

    Parameters
    ----------
    name : str
        Name of the field in an error.
    field : array-like, shape (*spatial, ndim)
    shape : tuple of int, optional
        Expected shape.

    Returns
    -------
    field : ndarray, float32, shape (*spatial, ndim)

    Raises
    ------
    ValueError
        If the shape differs, or if a value is not finite.
    """
    field = check_real(name, field)
    with np.errstate(over="ignore"):  # values that overflow are refused below
        field = field.astype(np.float32, copy=False)
    fits = field.ndim in (3, 4) and field.shape[-1] == field.ndim - 1
    if not fits or shape not in (None, field.shape):
        expected = "(*spatial, ndim) in 2D or 3D" if shape is None else shape
        raise ValueError(
            f"Expected {name} of shape {expected}. Received {field.shape}."
        )
    # In 2D DIPY ends the process on values that are not finite.
    if not np.all(np.isfinite(field)):
        number = int(np.sum(~np.isfinite(field)))
        raise ValueError(
            f"Expected finite values in {name}. Received {number} of {field.size} that "
            f"are not."
        )
    return field


def _error(displacement, inverse):
    """Return the mean distance of points from where they were, there and back."""
    shape = displacement.shape[:-1]
    sample = np.random.default_rng(0).integers(np.prod(shape), size=_SAMPLE_SIZE)
    index = np.unravel_index(sample, shape)
    first = inverse[index].astype(np.float64)
    positions = np.stack(index) + first.T
    second = [
        map_coordinates(component, positions, order=1, mode="nearest")
        for component in np.moveaxis(displacement, -1, 0)
    ]
    return float(np.linalg.norm(first + np.stack(second, axis=-1), axis=1).mean())
