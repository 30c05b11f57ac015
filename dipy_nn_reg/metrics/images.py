"""Measures of two images on one grid, in NumPy."""

from numbers import Real

import numpy as np

from dipy_nn_reg.checks import check_real


def ncc(static, warped):
    """Return the normalised cross-correlation of two images.

    Parameters
    ----------
    static, warped : array-like, of one shape

    Returns
    -------
    ncc : float
        From -1 to 1; 0 if an image is constant; not a number if a value is not finite.

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
    static, warped = _centered(static), _centered(warped)
    norm = np.sqrt(np.sum(static**2) * np.sum(warped**2))
    return float(np.clip(np.sum(static * warped) / norm, -1, 1))


def dice(static, warped, *, threshold=0.5):
    """Return the Dice overlap of what lies above a threshold in two images.

    Parameters
    ----------
    static, warped : array-like, of one shape
    threshold : float, optional

    Returns
    -------
    dice : float
        From 0 to 1; 1 if nothing lies above the threshold in either; not a number if
        a value is not.

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
    """Return the entropies of the intensities of two images, and of their pairs.

    Parameters
    ----------
    static, warped : array-like, of one shape
        Of finite values.
    bins : int, optional
        Of even width, over the range of each image.

    Returns
    -------
    of_static, of_warped, of_both : float
        In nats. Their mutual information is the sum of the first two less the third.

    Raises
    ------
    ValueError
        If the shapes differ, or if an array is empty or does not hold real numbers.
    """
    static, warped = map(_shares, check_same_shape(static, warped))
    counts, _, _ = np.histogram2d(static, warped, bins=bins)
    joint = counts / counts.sum()
    return tuple(map(_entropy, (joint.sum(1), joint.sum(0), joint)))


def to_unit_range(image):
    """Bring what is between the darkest and all but the brightest values to 0 to 1.

    Parameters
    ----------
    image : ndarray
        What is not a number becomes 0; what is infinite, 0 or 1.

    Returns
    -------
    image : ndarray, float32
        0 everywhere if there is no contrast.

    Raises
    ------
    ValueError
        If it is empty or does not hold real numbers.

    Examples
    --------
    >>> to_unit_range(np.array([2, 3, 4]))[:2].round(2).tolist()
    [0.0, 0.5]
    """
    image = check_real("image", image).astype(np.float64)
    known = image[np.isfinite(image)]
    if not known.size:
        return np.zeros(image.shape, np.float32)
    scale = np.max(np.abs(known)) or 1.0  # beyond which no difference overflows
    low, high = np.min(known) / scale, np.percentile(known / scale, 99.8)
    if not high > low:
        return np.zeros(image.shape, np.float32)
    shares = (image / scale - low) / (high - low)
    return np.nan_to_num(np.clip(shares, 0, 1)).astype(np.float32)


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


def _centered(image):
    """Subtract the mean; scaled to 1 before and after, so that no square is lost."""
    image = image / np.max(np.abs(image))
    image = image - image.mean()
    return image / np.max(np.abs(image))


def _shares(image):
    """Return where each value lies in the range of an image, from 0 to 1."""
    image = image.ravel() - image.min()
    return image / (image.max() or 1.0)


def _entropy(shares):
    shares = shares[shares > 0]
    return float(-np.sum(shares * np.log(shares)))
