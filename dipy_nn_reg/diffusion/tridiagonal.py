"""Symmetric tridiagonal systems, one along each line of an array."""

import numpy as np


class Tridiagonal:
    """Systems along the first axis, factorised for solutions with many right sides.

    Parameters
    ----------
    diagonal : ndarray, float32, shape (n, *others)
        Positive, and large enough for matrices that are positive definite.
    beside : ndarray, float32, shape (n - 1, *others)
        Entries beside the diagonal.
    """

    def __init__(self, diagonal, beside):
        self._ratios = np.empty_like(beside)
        self._pivots = np.empty_like(diagonal)
        self._pivots[0] = 1 / diagonal[0]
        for i, (entry, below) in enumerate(zip(beside, diagonal[1:])):
            self._ratios[i] = entry * self._pivots[i]
            self._pivots[i + 1] = 1 / (below - entry * self._ratios[i])

    def solve(self, right):
        """Return the solutions for right sides, all of shape (n, *others)."""
        solution = right.copy()
        for i, ratio in enumerate(self._ratios):
            solution[i + 1] -= ratio * solution[i]
        solution *= self._pivots
        for i in range(len(self._ratios) - 1, -1, -1):
            solution[i] -= self._ratios[i] * solution[i + 1]
        return solution
