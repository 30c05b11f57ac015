"""Bundles of streamlines, brought from the moving to the static image."""

import numpy as np

from dipy_nn_reg.mapping.points import to_static


def bundle_to_static(bundle, maps):
    """Map streamlines of the moving image to the static image.

    Parameters
    ----------
    bundle : sequence of ndarray, shape (n, 3)
        Points of each streamline, in world coordinates (mm).
    maps
        As for :func:`~dipy_nn_reg.mapping.points.to_moving`;
        empty to leave the streamlines where they are.

    Returns
    -------
    bundle : list of ndarray, float64, shape (n, 3)

    Raises
    ------
    ValueError
        As for ``to_moving``, and if there are no streamlines.
    """
    lines = list(bundle)
    if not lines:
        raise ValueError("Expected one streamline or more. Received none.")
    ends = np.cumsum([len(line) for line in lines])
    return np.split(to_static(np.concatenate(lines), maps), ends[:-1])
