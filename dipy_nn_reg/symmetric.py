"""Symmetric matrices of 3 x 3, of which six values are stored, as DIPY orders them."""

import numpy as np

# Index in xx, xy, yy, xz, yz, zz of each entry.
PLACES = ((0, 1, 3), (1, 2, 4), (3, 4, 5))
# Row and column of each stored value.
ENTRIES = ((0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2))


def to_matrices(values, places=PLACES):
    """Return the symmetric matrices of six values, (..., 6), of shape (..., 3, 3).

    Parameters
    ----------
    values : ndarray, shape (..., 6)
    places : sequence, shape (3, 3), optional
        Index in the values of each entry.
    """
    return values[..., np.array(places)]


def from_matrices(matrices, places=PLACES):
    """Return the six values, (..., 6), of symmetric matrices, (..., 3, 3)."""
    places = np.array(places)
    entries = [np.argwhere(places == i)[0] for i in range(6)]
    return np.stack([matrices[..., row, column] for row, column in entries], axis=-1)
