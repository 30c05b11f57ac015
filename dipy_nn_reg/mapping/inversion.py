"""Inversion of displacements in voxels, up to the last voxel of each axis."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from scipy.ndimage import map_coordinates

from dipy_nn_reg.checks import check_real, check_where

# Distance at which a point counts as back where it was, in voxels.
TOLERANCE = 5e-4
# Largest number of steps of Broyden's method, and of Newton's for the few points, fewer
# than one in a thousand even of a steep field, that are not back by then.
_STEPS, _SHORT_STEPS = 20, 60
# Largest length of a step of Newton's method, so that it passes over no voxel, and
# distance over which slopes are measured, in voxels.
_SHORT, _SPAN = 0.5, 0.01
# Number of points that are inverted at a time.
_CHUNK = 2**16


def invert_displacement(displacement, guess=None, missed=None):
    """Invert a displacement, point by point, by Broyden's and Newton's methods.

    A point is iterated on until it is back within 0.0005 voxels of where it was, so
    most points, which move little or smoothly, cost little.

    Parameters
    ----------
    displacement : ndarray, shape (*spatial, ndim)
        In voxels. It has no inverse at folds. Any axis may have a single voxel.
    guess : ndarray, shape (*spatial, ndim), optional
        Something near the inverse, from which the methods start; by default minus the
        displacement.
    missed : ndarray of bool, shape (*spatial,), optional
        Voxels at which ``guess`` is not the inverse yet; by default all.

    Returns
    -------
    inverse : ndarray, float32, shape (*spatial, ndim)
        In voxels, on the same grid. Outside the grid, the displacement is taken to be
        that at the border.

    Raises
    ------
    ValueError
        If a shape differs, if a value is not finite, or if ``missed`` is not of bool.
    """
    displacement = check_field("displacement", displacement)
    *shape, ndim = displacement.shape
    read = partial(
        _sampled, [np.ascontiguousarray(displacement[..., d]) for d in range(ndim)]
    )
    if guess is None:
        guess = -displacement
    inverse = check_field("guess", guess, shape=displacement.shape).reshape(-1, ndim)
    inverse = inverse.copy()
    left = np.arange(len(inverse))
    if missed is not None:
        left = np.flatnonzero(check_where("missed", missed, tuple(shape)))

    def invert(start):
        index = left[start : start + _CHUNK]
        voxels = np.array(np.unravel_index(index, shape), np.float32)
        inverse[index] = invert_at(voxels, read, inverse[index].T).T

    # SciPy lets several threads compute at once.
    with ThreadPoolExecutor() as pool:
        list(pool.map(invert, range(0, len(left), _CHUNK)))
    return inverse.reshape(displacement.shape)


def invert_at(points, read, start):
    """Invert a displacement at points, as :func:`invert_displacement` does.

    Parameters
    ----------
    points : ndarray, shape (ndim, n)
        In voxels.
    read : callable
        Returns the displacement at points, both of shape (ndim, n).
    start : ndarray, shape (ndim, n)
        Something near the inverse displacement.

    Returns
    -------
    inverse : ndarray, shape (ndim, n)
        Where there is none, what is nearest to it of what was tried.
    """
    inverse, left = _by_broyden(read, points, start)
    if left.size:
        # Broyden's method may have gone astray, so these points start again.
        points, tried = points[:, left], [start[:, left], inverse[:, left]]
        tried.append(_by_newton(read, points, tried[0]))
        off = [_lengths(one + read(points + one)) for one in tried]
        nearest = np.argmin(np.nan_to_num(off, nan=np.inf), axis=0)
        inverse[:, left] = np.choose(nearest, tried)
    return inverse


def _by_broyden(read, voxels, start):
    """Return the inverse displacement, and the points that are not back."""
    inverse, moved, left = start.copy(), start, np.arange(start.shape[1])
    off = moved + read(voxels + moved)
    # Inverse of the slopes of the way there and back, as they are estimated.
    unit = np.eye(len(start), dtype=start.dtype)[..., None]
    slopes = np.broadcast_to(unit, (*unit.shape[:2], len(left)))
    for _ in range(_STEPS):
        going = ~(_lengths(off) <= TOLERANCE)  # NaN is not back
        left, moved, off = left[going], moved[:, going], off[:, going]
        if not left.size:
            break
        slopes = slopes[..., going]
        step, before = -np.einsum("den,en->dn", slopes, off), off
        moved = moved + step
        off = moved + read(voxels[:, left] + moved)
        slopes = _updated(slopes, step, off - before)
        inverse[:, left] = moved
    return inverse, left[~(_lengths(off) <= TOLERANCE)] if left.size else left


def _by_newton(read, voxels, moved):
    """Return the inverse displacement, by steps that pass over no voxel."""
    for _ in range(_SHORT_STEPS):
        off = moved + read(voxels + moved)
        slopes = _measured(read, voxels + moved)
        step = np.einsum("den,en->dn", slopes, off)
        moved = moved - step * (_SHORT / np.maximum(_lengths(step), _SHORT))
    return moved


def _lengths(vectors):
    return np.sqrt(np.einsum("dn,dn->n", vectors, vectors))


def _sampled(components, positions):
    """Return a displacement at positions, shape (ndim, n), with its border repeated."""
    return np.stack(
        [map_coordinates(c, positions, order=1, mode="nearest") for c in components]
    )


def _measured(read, positions):
    """Return the inverse of the slopes of the way there and back at positions."""
    here, columns = read(positions), []
    for unit in np.eye(len(positions)):
        ahead = read(positions + _SPAN * unit[:, None])
        columns.append(unit[:, None] + (ahead - here) / _SPAN)
    slopes = np.moveaxis(columns, -1, 0).swapaxes(1, 2)
    # Where a field folds, slopes may be zero.
    return np.moveaxis(np.linalg.inv(slopes + 1e-6 * np.eye(len(positions))), 0, -1)


def _updated(slopes, step, change):
    """Return inverse derivatives by which a change would have asked for a step."""
    asked = np.einsum("den,en->dn", slopes, change)
    along = np.einsum("dn,den->en", step, slopes)
    size = np.einsum("dn,dn->n", step, asked)
    usable = np.abs(size) > 1e-3 * np.einsum("dn,dn->n", step, step)
    factor = np.divide(1, size, out=np.zeros_like(size), where=usable)
    return slopes + ((step - asked) * factor)[:, None] * along


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
