"""Rigid motion between two images with opposite distortion.

The first axis is that of the phase encoding. A shift along it cannot be told from a
constant field, and is left to the field. A rotation looks in part like a field too: a
step of the motion counts as much as the field cannot do in its place.
"""

from itertools import combinations

import numpy as np
from scipy.linalg import expm
from scipy.ndimage import affine_transform

from dipy_nn_reg.diffusion.distortion_descent import (
    Hessian,
    descend,
    evaluate,
    spread,
)
from dipy_nn_reg.diffusion.profiles import Profiles, place

# Singular values, relative to the largest one, that count as 0.
_SINGULAR = 1e-3


def descend_with_motion(level, field, motion, weights, *, sizes, rounds):
    """Improve a field and a motion in turn.

    Parameters
    ----------
    level : Level
    field : ndarray, float32, shape (n, *others)
    motion : ndarray, shape (ndim + 1, ndim + 1)
        From voxels of the first image to those of the second one, at the finest level.
    weights : sequence of float
        As :func:`~dipy_nn_reg.diffusion.distortion_descent.descend` takes them.
    sizes : ndarray, shape (ndim,)
        Size of a voxel of the finest level along each axis, in any unit.
    rounds : int
        Number of improvements of the motion.

    Returns
    -------
    field : ndarray, float32, shape (n, *others)
    motion : ndarray, shape (ndim + 1, ndim + 1)
        Rigid where voxels have these sizes, if it was before.
    """
    to_finest = level.to_finest
    motion = np.linalg.inv(to_finest) @ motion @ to_finest
    sizes = sizes * level.factors
    up, down = Profiles(level.up), _move(level.down, motion)
    field = descend((up, Profiles(down)), field, weights)
    for _ in range(rounds):
        motion = motion @ expm(_find_step(up, down, field, weights, sizes))
        down = _move(level.down, motion)
        field = descend((up, Profiles(down)), field, weights)
    return field, to_finest @ motion @ np.linalg.inv(to_finest)


def _move(image, motion):
    """Return an image, read where a motion leads to, linearly between voxels."""
    matrix, offset = motion[:-1, :-1], motion[:-1, -1]
    return affine_transform(image, matrix, offset, order=1, mode="grid-constant")


def _find_step(up, down, field, weights, sizes):
    """Return the logarithm of the step of Gauss and Newton of the motion."""
    weights = np.float32(weights)
    state = evaluate((up, Profiles(down)), field, weights)
    hessian = Hessian(state, weights)
    positions, slopes = place(field.shape) - field, _slopes(down)
    generators = _generators(sizes, down.shape)
    changes, left = [], []
    for generator in generators:
        image = _along(slopes, generator)
        change = -np.diff(Profiles(image).read(positions)[0], axis=0)
        # The best answer of the field takes away a part of the change.
        answer = hessian.solve(state.density * spread(change))
        changes.append(change.ravel())
        left.append((change - np.diff(state.density * answer, axis=0)).ravel())
    amounts = _solve(np.stack(changes), np.stack(left), state.residual.ravel())
    return sum(amount * generator for amount, generator in zip(amounts, generators))


def _solve(changes, left, residual):
    """Return the amount of each change that lowers the residual most.

    ``left`` is what the field leaves of each change. Directions of which it leaves
    nearly nothing do not change.
    """
    sizes = np.sqrt(np.einsum("ij,ij->i", changes, changes, dtype=np.float64))
    scale = 1 / np.maximum(sizes, np.finfo(np.float32).tiny)
    matrix = scale[:, None] * (changes @ left.T).astype(np.float64) * scale
    right = -scale * (changes @ residual)
    return scale * np.linalg.lstsq((matrix + matrix.T) / 2, right, rcond=_SINGULAR)[0]


def _generators(sizes, shape):
    """Return generators of rotations and of shifts but the first, in voxels.

    Rotations are about the centre of the image.
    """
    ndim = len(shape)
    center = np.eye(ndim + 1)
    center[:-1, -1] = (np.array(shape) - 1) / 2
    scale = np.diag([*sizes, 1.0])
    generators = []
    for i, j in combinations(range(ndim), 2):
        turn = np.zeros((ndim + 1, ndim + 1))
        turn[i, j], turn[j, i] = 1, -1
        turn = np.linalg.inv(scale) @ turn @ scale
        generators.append(center @ turn @ np.linalg.inv(center))
    for axis in range(1, ndim):
        shift = np.zeros((ndim + 1, ndim + 1))
        shift[axis, -1] = 1
        generators.append(shift)
    return generators


def _slopes(image):
    """Return the slopes of an image along each axis; 0 along one of a single voxel."""
    return [
        np.gradient(image, axis=axis) if size > 1 else np.zeros_like(image)
        for axis, size in enumerate(image.shape)
    ]


def _along(slopes, generator):
    """Return the derivative of an image in the direction of a generator."""
    shape = slopes[0].shape
    total = np.zeros(shape, np.float32)
    places = np.indices(shape, np.float32, sparse=True)
    for row, slope in zip(generator, slopes):
        move = sum(np.float32(r) * p for r, p in zip(row, places))
        total += slope * (move + np.float32(row[-1]))
    return total
