"""Descent to the field of a distortion, on one grid.

The first axis is that of the phase encoding. What lies between two neighbours of the
undistorted image is in the first image between ``x + b(x)`` of both, and in the second
one between ``x - b(x)``: two differences of integrals that the field ``b`` makes equal.
A change of the field changes them by the difference of its product with the sum of both
images, so that the Hessian of their squares is tridiagonal along each line.
"""

from typing import NamedTuple

import numpy as np

from dipy_nn_reg.diffusion.profiles import place
from dipy_nn_reg.diffusion.tridiagonal import Tridiagonal

# Weight of the barrier, which grows without limit where the slope of the field nears 1.
_BARRIER = np.float32(0.01)
# Largest number of steps, and of conjugate gradients of each.
_STEPS, _GRADIENTS = 5, 8
# Change of the cost, relative to it, at which the descent ends, and size of the
# preconditioned residual, relative to the first one, at which a step is found.
_ENOUGH, _SOLVED = 1e-3, 0.1
# Shortest part of a step that is tried.
_SHORTEST = 1 / 1024


def descend(pair, field, weights):
    """Improve the field that makes two images with opposite distortion equal.

    Parameters
    ----------
    pair : tuple of Profiles
        Images, with intensities up to about 1.
    field : ndarray, float32, shape (n, *others)
        First estimate, in voxels, with slopes between -1 and 1 along the first axis.
    weights : sequence of float
        Weight of the squared slopes of the field along each axis.

    Returns
    -------
    field : ndarray, float32, shape (n, *others)
        With slopes between -1 and 1 along the first axis.
    """
    weights = [np.float32(weight) for weight in weights]
    state = evaluate(pair, field, weights)
    for _ in range(_STEPS):
        step = _find_step(state, weights)
        earlier, state = state, _search(pair, state, step, weights)
        if earlier.cost - state.cost <= _ENOUGH * earlier.cost:
            break
    return state.field


class State(NamedTuple):
    """A field, its cost, and what the derivatives of the cost are made of.

    Attributes
    ----------
    field : ndarray, float32, shape (n, *others)
    cost : float
    residual : ndarray, float32, shape (n - 1, *others)
        Difference of what both images hold between neighbours.
    density : ndarray, float32, shape (n, *others)
        Sum of both images where they are read.
    slope : ndarray, float32, shape (n - 1, *others)
        That of the field along the first axis.
    """

    field: np.ndarray
    cost: float
    residual: np.ndarray
    density: np.ndarray
    slope: np.ndarray


def evaluate(pair, field, weights):
    """Return the state of a field, whose cost is infinite if it folds.

    Parameters
    ----------
    pair : tuple of Profiles
    field : ndarray, float32, shape (n, *others)
    weights : sequence of float

    Returns
    -------
    state : State
    """
    positions = place(field.shape)
    first, values = pair[0].read(positions + field)
    second, others = pair[1].read(positions - field)
    residual = np.diff(first - second, axis=0)
    slope = np.diff(field, axis=0)
    square = slope * slope
    if square.max(initial=0) >= 1:
        return State(field, np.inf, residual, values, slope)
    cost = _dot(residual, residual) + float(_BARRIER * _sum(square**2 / (1 - square)))
    cost += sum(
        float(weight) * _dot(d, d) for weight, d in zip(weights, _differences(field))
    )
    return State(field, cost, residual, values + others, slope)


def _search(pair, state, step, weights):
    """Return the state after a step, or a part of it, that lowers the cost."""
    part = 1.0
    while part >= _SHORTEST:
        field = state.field + np.float32(part) * step
        found = evaluate(pair, field, weights)
        if found.cost < state.cost:
            return found
        part /= 2
    return state


def _find_step(state, weights):
    """Return the step of Gauss and Newton."""
    barrier = _barrier(state.slope)
    right = -state.density * spread(state.residual)
    right -= spread(barrier * state.slope)
    right -= _smooth(state.field, weights)
    return Hessian(state, weights).solve(right)


def _barrier(slope):
    """Return the derivative of half of the barrier, divided by the slope."""
    square = slope**2
    return _BARRIER * (2 * square - square**2) / (1 - square) ** 2


class Hessian:
    """Half of the Hessian: tridiagonal along the first axis, Laplacians along others.

    The preconditioner has the diagonal of these Laplacians alone.

    Parameters
    ----------
    state : State
    weights : sequence of float32
        Weight of the squared slopes of the field along each axis.
    """

    def __init__(self, state, weights):
        density, barrier = state.density, _barrier(state.slope)
        # Where there are no intensities, the matrix needs a diagonal all the same.
        ends = np.full(density.shape, weights[0], np.float32) + density**2
        self._diagonal = ends + np.finfo(np.float32).tiny
        self._diagonal[1:-1] += ends[1:-1]
        self._diagonal[:-1] += barrier
        self._diagonal[1:] += barrier
        self._beside = -density[:-1] * density[1:] - weights[0] - barrier
        self._weights = [np.float32(0), *weights[1:]]
        across = np.float32(2) * sum(self._weights)
        self._lines = Tridiagonal(self._diagonal + across, self._beside)

    def solve(self, right):
        """Return the solution for a right side, by conjugate gradients."""
        residual = right.copy()
        solution = np.zeros_like(right)
        direction = image = self._lines.solve(right)
        first = size = _dot(residual, image)
        for _ in range(_GRADIENTS):
            if size <= _SOLVED**2 * first or size <= 0:
                break
            product = self.apply(direction)
            length = np.float32(size / _dot(direction, product))
            solution += length * direction
            residual -= length * product
            image = self._lines.solve(residual)
            size, former = _dot(residual, image), size
            direction = image + np.float32(size / former) * direction
        return solution

    def apply(self, vector):
        """Return the product with a vector."""
        product = self._diagonal * vector
        product[:-1] += self._beside * vector[1:]
        product[1:] += self._beside * vector[:-1]
        return product + _smooth(vector, self._weights)


def _differences(array):
    return [np.diff(array, axis=axis) for axis in range(array.ndim)]


def spread(differences, axis=0):
    """Return the transpose of the difference along an axis, applied to an array."""
    ends = [(0, 0)] * differences.ndim
    ends[axis] = (1, 1)
    return -np.diff(np.pad(differences, ends), axis=axis)


def _smooth(array, weights):
    """Return half of the gradient of the weighted squared slopes of an array."""
    total = np.zeros_like(array)
    for axis, weight in enumerate(weights):
        if weight:
            along, slope = np.moveaxis(total, axis, 0), np.diff(array, axis=axis)
            slope = np.moveaxis(slope, axis, 0) * weight
            along[:-1] -= slope
            along[1:] += slope
    return total


def _dot(one, other):
    return float(np.dot(one.ravel(), other.ravel()))


def _sum(array):
    return np.sum(array, dtype=np.float64)
