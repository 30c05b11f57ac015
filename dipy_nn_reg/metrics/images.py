"""Measures of two images on one grid, in NumPy."""

from math import prod
from numbers import Real

import numpy as np

from dipy_nn_reg.checks import check_integer, check_real, check_where

# Size of values from which differences may overflow.
_LARGE = np.finfo(np.float64).max / 2


def ncc(static, warped):
    """Return the normalised cross-correlation of two images.

    Parameters
    ----------
    static, warped : array-like, of one shape

    Returns
    -------
    ncc : float
        From -1 to 1; 0 if an image is constant; NaN if a value is not finite.

    Raises
    ------
    ValueError
        If the shapes differ, or if an array is empty or does not hold real numbers.

    Examples
    --------
    >>> ncc([1, 2, 3], [2, 4, 6])
    1.0
    """
    static, warped = check_same_shape(static, warped)
    if not (np.all(np.isfinite(static)) and np.all(np.isfinite(warped))):
        return np.nan
    if np.all(static == static.flat[0]) or np.all(warped == warped.flat[0]):
        return 0.0
    _center(static)
    _center(warped)
    product = np.sum(static * warped)
    squares = (np.sum(np.square(image, out=image)) for image in (static, warped))
    return float(np.clip(product / np.sqrt(prod(squares)), -1, 1))


def dice(static, warped, *, threshold=0.5):
    """Return the Dice overlap of the voxels above a threshold in two images.

    Parameters
    ----------
    static, warped : array-like, of one shape
    threshold : float, optional

    Returns
    -------
    dice : float
        From 0 to 1; 1 if no value of either image is above the threshold; NaN if a
        value is NaN.

    Raises
    ------
    ValueError
        If the shapes differ, if an array is empty or does not hold real numbers, or if
        the threshold is not a number.

    Examples
    --------
    >>> dice([0, 1, 1, 0], [0, 1, 0, 0])
    0.6666666666666666
    """
    static, warped = check_same_shape(static, warped)
    if not isinstance(threshold, Real) or np.isnan(float(threshold)):
        raise ValueError(
            f"Expected threshold to be a number. Received threshold={threshold!r}."
        )
    if np.isnan(static).any() or np.isnan(warped).any():
        return np.nan
    static, warped = static > threshold, warped > threshold
    total = static.sum() + warped.sum()
    return float(2 * np.sum(static & warped) / total) if total else 1.0


def entropies(static, warped, *, bins=32):
    """Return the entropies of two images, and their joint entropy.

    Parameters
    ----------
    static, warped : array-like, of one shape
        Values have to be finite.
    bins : int, optional
        Number of bins of equal width over the range of each image.

    Returns
    -------
    static_entropy, warped_entropy, joint_entropy : float
        In nats. The mutual information is the sum of the first two less the third.

    Raises
    ------
    ValueError
        If the shapes differ, if an array is empty or does not hold finite real numbers,
        or if ``bins`` is not a positive integer.
    """
    check_integer("bins", bins, lowest=1)
    static, warped = check_same_shape(static, warped)
    number = np.sum(~np.isfinite(static)) + np.sum(~np.isfinite(warped))
    if number:
        raise ValueError(f"Expected finite values. Received {number} that are not.")
    static, warped = map(_flat_in_unit_range, (static, warped))
    static, warped = (_bins(image, bins) for image in (static, warped))
    counts = np.bincount(bins * static + warped, minlength=bins**2)
    joint = counts.reshape(bins, bins) / counts.sum()
    return tuple(map(_entropy, (joint.sum(1), joint.sum(0), joint)))


def to_unit_range(image, *, where=None):
    """Rescale the range from the minimum to the 99.8th percentile to [0, 1].

    Parameters
    ----------
    image : ndarray
        NaN becomes 0, and infinite values 0 or 1.
    where : ndarray of bool, shape of ``image``, optional
        Values that have the range; by default all of them.

    Returns
    -------
    image : ndarray, float32
        0 everywhere if the image has no contrast.

    Raises
    ------
    ValueError
        If the image is empty or does not hold real numbers, or if ``where`` is not of
        bool or has another shape.

    Examples
    --------
    >>> to_unit_range(np.array([2, 3, 4]))[:2].round(2).tolist()
    [0.0, 0.5]
    """
    image = check_real("image", image).astype(np.float64)
    is_finite = counts = np.isfinite(image)
    if where is not None:
        counts = is_finite & check_where("where", where, image.shape)
    finite = image if counts.all() else image[counts]
    if not finite.size:
        return np.zeros(image.shape, np.float32)
    # So that no difference overflows.
    scale = max(abs(np.min(finite)), abs(np.max(finite))) or 1.0
    with np.errstate(over="ignore"):  # beside what counts
        image = image / scale
    scaled = image if counts.all() else image[counts]
    low, high = np.min(scaled), np.percentile(scaled, 99.8)
    if not high > low:  # an object of few voxels
        high = np.max(scaled)
    if not high > low:
        return np.zeros(image.shape, np.float32)
    image -= low
    image /= high - low
    np.clip(image, 0, 1, out=image)
    return (image if is_finite.all() else np.nan_to_num(image)).astype(np.float32)


def check_same_shape(static, warped, static_name="static", warped_name="warped"):
    """Return two arrays of one shape in float64, or raise ValueError."""
    static, warped = (
        check_real(name, array).astype(np.float64)
        for name, array in ((static_name, static), (warped_name, warped))
    )
    if static.shape != warped.shape:
        raise ValueError(
            f"Expected arrays of one shape. Received {static_name}.shape="
            f"{static.shape} and {warped_name}.shape={warped.shape}."
        )
    return static, warped


def _center(image):
    """Subtract the mean; rescale before and after, so that squares stay in range."""
    image /= max(-image.min(), image.max())
    image -= image.mean()
    image /= max(-image.min(), image.max())


def _flat_in_unit_range(image):
    """Return the values of an image in one axis, rescaled to [0, 1]."""
    image = image.ravel()
    if max(-image.min(), image.max()) > _LARGE:
        image = image / 4  # which is exact, and no difference overflows
    image = image - image.min()
    image /= image.max() or 1.0
    return image


def _bins(image, bins):
    """Return the bin of each value from 0 to 1, of bins of equal width."""
    image *= bins
    return np.minimum(image.astype(np.intp), bins - 1)


def _entropy(probabilities):
    probabilities = probabilities[probabilities > 0]
    return float(-np.sum(probabilities * np.log(probabilities)))
