"""Measures of label maps after registration, for each label."""

from collections.abc import Iterable
from numbers import Integral

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt, find_objects

from dipy_nn_reg.checks import check_real


def dice_of_labels(static, warped, *, labels=None):
    """Return the Dice overlap of each label.

    Parameters
    ----------
    static, warped : ndarray of int, of one shape
    labels : sequence of int, optional
        By default all labels of the static map except 0.

    Returns
    -------
    dice : dict of float
        For each label, from 0 to 1; NaN if neither map has the label.

    Raises
    ------
    ValueError
        If the shapes differ, if a map is empty or does not hold integers, or if
        labels are not integers.

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
    """Return the 95th percentile of the surface distances of each label.

    Parameters
    ----------
    static, warped : ndarray of int, shape (*spatial,)
    spacing : sequence of float, optional
        Size of a voxel in mm along each axis. By default 1, as in Learn2Reg.
    labels : sequence of int, optional
        By default all labels of the static map except 0.

    Returns
    -------
    distance : dict of float
        For each label, in mm: the larger of the two percentiles, one for the distances
        from each surface to the other. The surface consists of the voxels with a
        neighbour outside of the label. Axes of one voxel do not count, so a slice is
        measured in its plane. NaN if a map does not have the label.

    Raises
    ------
    ValueError
        As :func:`dice_of_labels`, and if the spacing is not one positive number for
        each axis.
    """
    static, warped, labels = _check(static, warped, labels)
    spacing = _check_spacing(spacing, static.ndim)
    thick = [axis for axis, size in enumerate(static.shape) if size > 1]
    static, warped, spacing = static.squeeze(), warped.squeeze(), spacing[thick]
    distances = {}
    for label in labels:
        a, b = static == label, warped == label
        if not a.any() or not b.any():
            distances[label] = np.nan
            continue
        if not thick:  # a single voxel, with the label in both maps
            distances[label] = 0.0
            continue
        # Crop to the box around both labels: distances depend on nothing outside.
        box = find_objects((a | b).astype(np.uint8))[0]
        a, b = (_surface(np.pad(mask[box], 1)) for mask in (a, b))
        to_a, to_b = (distance_transform_edt(~s, sampling=spacing) for s in (a, b))
        both = np.percentile(to_b[a], 95), np.percentile(to_a[b], 95)
        distances[label] = float(max(both))
    return distances


def summarise_labels(dice, distances, longest):
    """Return the means over labels, in which a lost label counts as a failure.

    Parameters
    ----------
    dice, distances : dict of float
        As :func:`dice_of_labels` and :func:`hausdorff95_of_labels` return them for
        the labels of the static map.
    longest : float
        Length in mm of the diagonal of the static image.

    Returns
    -------
    row : dict of float
        ``dice`` and ``hd95_mm``, the means, and ``lost_labels``, the number of
        labels that the warped map does not have. Such a label has a Dice of 0; for
        its distance, which does not exist, the mean counts ``longest``.

    Raises
    ------
    ValueError
        If there are no labels.

    Notes
    -----
    The challenge BraTS also counts the diagonal for a missing structure. Learn2Reg
    uses the package ``surface-distance``, whose distance of a lost label is infinite
    and could not be averaged over pairs; it leaves out labels that one of the images
    never had. Leaving out lost labels would reward losing them.

    Examples
    --------
    >>> summarise_labels({1: 1.0, 2: 0.0}, {1: 2.0, 2: np.nan}, longest=100.0)
    {'dice': 0.5, 'hd95_mm': 51.0, 'lost_labels': 1}
    """
    if not dice:
        raise ValueError("Expected one label or more besides 0. Received none.")
    counted = [longest if np.isnan(d) else d for d in distances.values()]
    return {
        "dice": float(np.mean(list(dice.values()))),
        "hd95_mm": float(np.mean(counted)),
        "lost_labels": len(counted) - int(np.isfinite(list(distances.values())).sum()),
    }


def _surface(mask):
    return mask & ~binary_erosion(mask)


def _check(static, warped, labels):
    static, warped = _check_map("static", static), _check_map("warped", warped)
    if static.shape != warped.shape:
        raise ValueError(
            f"Expected label maps of one shape. Received static.shape={static.shape} "
            f"and warped.shape={warped.shape}."
        )
    if labels is None:
        labels = [int(label) for label in np.unique(static) if label != 0]
    return static, warped, _check_labels(labels)


def _check_map(name, labels):
    labels = check_real(name, labels)
    if labels.dtype.kind not in "biu":
        raise ValueError(
            f"Expected integers in the label maps. Received {name}.dtype="
            f"{labels.dtype}."
        )
    return labels.astype(np.uint8) if labels.dtype == bool else labels


def _check_labels(labels):
    is_sequence = isinstance(labels, Iterable) and not isinstance(labels, str | bytes)
    values = list(labels) if is_sequence else [None]
    if not all(isinstance(n, Integral) and not isinstance(n, bool) for n in values):
        raise ValueError(
            f"Expected labels to be a sequence of integers. Received labels={labels!r}."
        )
    return [int(label) for label in values]


def _check_spacing(spacing, ndim):
    if spacing is None:
        return np.ones(ndim)
    sizes = check_real("spacing", spacing).astype(np.float64)
    if sizes.shape != (ndim,) or not np.all((sizes > 0) & (sizes < np.inf)):
        raise ValueError(
            f"Expected spacing to be {ndim} positive numbers. Received "
            f"spacing={spacing!r}."
        )
    return sizes
