"""Measures of label maps after registration, label by label."""

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt, find_objects


def dice_of_labels(static, warped, *, labels=None):
    """Return the Dice overlap of each label.

    Parameters
    ----------
    static, warped : ndarray of int, of one shape
    labels : sequence of int, optional
        By default all in the static map but 0.

    Returns
    -------
    dice : dict of float
        For each label, from 0 to 1; not a number if neither map has it.

    Raises
    ------
    ValueError
        If the shapes differ or a map does not hold integers.

    Examples
    --------
    >>> dice_of_labels(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]))
    {1: 0.6666666666666666, 2: 0.6666666666666666}
    """
    static, warped, labels = _check(static, warped, labels)
    dice = {}
    for label in labels:
        a, b = static == label, warped == label
        total = a.sum() + b.sum()
        dice[label] = float(2 * np.sum(a & b) / total) if total else np.nan
    return dice


def hausdorff95_of_labels(static, warped, *, spacing=None, labels=None):
    """Return the 95th percentile of the distances between surfaces of each label.

    Parameters
    ----------
    static, warped : ndarray of int, shape (*spatial,)
    spacing : sequence of float, optional
        Size of a voxel in mm along each axis. By default 1, as in Learn2Reg.
    labels : sequence of int, optional
        By default all in the static map but 0.

    Returns
    -------
    distance : dict of float
        For each label, in mm: the larger of the two percentiles, of distances from
        either surface to the other. Surfaces are voxels with a neighbour, along an
        axis, outside of the label. Not a number if a map does not have the label.

    Raises
    ------
    ValueError
        If the shapes differ or a map does not hold integers.
    """
    static, warped, labels = _check(static, warped, labels)
    spacing = np.ones(static.ndim) if spacing is None else np.asarray(spacing)
    distances = {}
    for label in labels:
        a, b = static == label, warped == label
        if not a.any() or not b.any():
            distances[label] = np.nan
            continue
        # No more than the box around both: distances need nothing else.
        box = find_objects((a | b).astype(np.uint8))[0]
        a, b = (_surface(np.pad(mask[box], 1)) for mask in (a, b))
        to_a, to_b = (distance_transform_edt(~s, sampling=spacing) for s in (a, b))
        both = np.percentile(to_b[a], 95), np.percentile(to_a[b], 95)
        distances[label] = float(max(both))
    return distances


def _surface(mask):
    return mask & ~binary_erosion(mask)


def _check(static, warped, labels):
    static, warped = np.asarray(static), np.asarray(warped)
    if static.shape != warped.shape:
        raise ValueError(
            f"Expected label maps of one shape. Received static.shape={static.shape} "
            f"and warped.shape={warped.shape}."
        )
    for name, found in (("static", static), ("warped", warped)):
        if found.dtype.kind not in "biu":
            raise ValueError(
                f"Expected integers in the label maps. Received {name}.dtype="
                f"{found.dtype}."
            )
    if labels is None:
        labels = [label for label in np.unique(static) if label != 0]
    return static, warped, [int(label) for label in labels]
