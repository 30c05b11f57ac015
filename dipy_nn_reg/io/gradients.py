"""B-values and b-vectors in files, checked against the series that they belong to."""

import numpy as np

from dipy_nn_reg.io.points import read_bvecs
from dipy_nn_reg.io.tables import read_numbers
from dipy_nn_reg.text import printable

# Largest b-value, in s/mm^2, of a volume without weighting, unless another is given.
B0_THRESHOLD = 50
# Difference of the length of a b-vector from 1 that rounding in files explains.
_ROUNDING = 0.01


def read_gradients(bvals, bvecs, *, volumes, b0_threshold=B0_THRESHOLD):
    """Read the gradients of a DWI series.

    Parameters
    ----------
    bvals, bvecs : string or Path
        Text files of FSL or DIPY.
    volumes : int
        Number of volumes of the series.
    b0_threshold : float, optional
        Largest b-value, in s/mm^2, of a volume without weighting.

    Returns
    -------
    gtab : dipy.core.gradients.GradientTable

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If their numbers differ from that of the volumes, a value is negative or not
        finite, a b-vector of a weighted volume is not a unit vector, or all volumes are
        weighted.
    """
    return check_gradients(
        read_numbers(bvals, "b-values").ravel(),
        read_bvecs(bvecs),
        volumes=volumes,
        b0_threshold=b0_threshold,
        source=f" in {printable(bvals)} and {printable(bvecs)}",
    )


def check_gradients(values, vectors, *, volumes, b0_threshold=B0_THRESHOLD, source=""):
    """Return the gradients of a DWI series, or raise ValueError.

    Parameters
    ----------
    values : array-like, shape (volumes,)
    vectors : array-like, shape (volumes, 3) or (3, volumes)
    volumes, b0_threshold
        As for :func:`read_gradients`.
    source : str, optional
        Where they come from, for the message of an error.

    Returns
    -------
    gtab : dipy.core.gradients.GradientTable
    """
    from dipy.core.gradients import gradient_table

    values, vectors = (np.asarray(a, float) for a in (values, vectors))
    if vectors.shape == (3, volumes) and volumes != 3:
        vectors = vectors.T
    if values.ndim != 1 or vectors.ndim != 2 or vectors.shape[1] != 3:
        raise ValueError(
            f"Expected b-values of shape ({volumes},) and b-vectors of shape "
            f"({volumes}, 3). Received {values.shape} and {vectors.shape}{source}."
        )
    for name, found in (("b-values", values), ("b-vectors", vectors)):
        if len(found) != volumes:
            raise ValueError(
                f"Expected {volumes} {name}, one for each volume. Received "
                f"{len(found)}{source}."
            )
    if not np.all(np.isfinite(values)) or np.any(values < 0):
        raise ValueError(
            f"Expected b-values that are finite and not negative. Received others"
            f"{source}."
        )
    is_b0 = values <= b0_threshold
    if not is_b0.any():
        raise ValueError(
            f"Expected a volume without weighting, of b <= {b0_threshold:g} s/mm^2. "
            f"Received b-values from {values.min():g} to {values.max():g}."
        )
    vectors = unit_vectors(vectors, source, is_weighted=~is_b0)
    return gradient_table(values, bvecs=vectors, b0_threshold=b0_threshold)


def unit_vectors(vectors, source="", *, is_weighted=None):
    """Return b-vectors of length 1, or 0 where there is no weighting.

    Parameters
    ----------
    vectors : ndarray, shape (volumes, 3)
    source : str, optional
        As for :func:`check_gradients`.
    is_weighted : ndarray of bool, shape (volumes,), optional
        Which volumes are weighted; by default all whose vector is not 0.

    Returns
    -------
    vectors : ndarray, shape (volumes, 3)

    Raises
    ------
    ValueError
        If a vector of a weighted volume is not a unit vector.
    """
    lengths = np.linalg.norm(vectors, axis=1)
    is_weighted = lengths != 0 if is_weighted is None else is_weighted
    wrong = is_weighted & ~(np.abs(lengths - 1) <= _ROUNDING)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(
            f"Expected b-vectors of length 1 for weighted volumes. Received "
            f"{int(wrong.sum())} that are not{source}, the first one of length "
            f"{lengths[first]:.4g} for volume {first}."
        )
    return vectors / np.where(lengths > 0, lengths, 1)[:, None]
