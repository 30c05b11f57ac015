"""B-values and b-vectors in files, checked against the series that they belong to."""

import numpy as np

from dipy_nn_reg.io.points import read_bvecs
from dipy_nn_reg.io.tables import read_numbers
from dipy_nn_reg.text import printable

# Difference of the length of a b-vector from 1 that rounding in files explains.
_ROUNDING = 0.01


def read_gradients(bvals, bvecs, *, volumes, b0_threshold=50):
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
    from dipy.core.gradients import gradient_table

    values, vectors = read_numbers(bvals, "b-values").ravel(), read_bvecs(bvecs)
    for name, found in (("b-values", values), ("b-vectors", vectors)):
        if len(found) != volumes:
            raise ValueError(
                f"Expected {volumes} {name}, one for each volume. Received "
                f"{len(found)}."
            )
    if not np.all(np.isfinite(values)) or np.any(values < 0):
        raise ValueError(
            f"Expected b-values that are finite and not negative. Received others in "
            f"{printable(bvals)}."
        )
    is_b0 = values <= b0_threshold
    if not is_b0.any():
        raise ValueError(
            f"Expected a volume without weighting, of b <= {b0_threshold:g} s/mm^2. "
            f"Received b-values from {values.min():g} to {values.max():g}."
        )
    vectors = _unit(vectors, ~is_b0, bvecs)
    return gradient_table(values, bvecs=vectors, b0_threshold=b0_threshold)


def _unit(vectors, is_weighted, path):
    """Return vectors of length 1, or 0 where there is no weighting."""
    lengths = np.linalg.norm(vectors, axis=1)
    wrong = is_weighted & ~(np.abs(lengths - 1) <= _ROUNDING)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(
            f"Expected b-vectors of length 1 for weighted volumes. Received "
            f"{int(wrong.sum())} that are not in {printable(path)}, the first one of "
            f"length {lengths[first]:.4g} for volume {first}."
        )
    return vectors / np.where(lengths > 0, lengths, 1)[:, None]
