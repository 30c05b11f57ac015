"""Mutual information of two images at sampled points, with its derivatives."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

# Number of bins of each axis of the joint histogram, and the matrix that smooths an
# axis by a Gaussian of a standard deviation of one bin. It is symmetric, and its rows
# and columns add up to 1.
BINS = 32
_SMOOTHING = gaussian_filter1d(np.eye(BINS), 1, truncate=3)
# Percentage of the values at each end that share the outermost bin.
_OUTSIDE = 0.1
# Percentage at each end of the values of an object beyond which they may be those of a
# hot spot, which is cut off at so many times their range from it: the rest of the
# object would fill few bins.
_HOT, _REACH = 5, 2
_TINY = 1e-12


def to_bins(image, structure):
    """Return an image as positions in a histogram, and that of its background.

    Parameters
    ----------
    image : ndarray
        Background of 0.
    structure : ndarray of bool
        Where the object is.

    Returns
    -------
    bins : ndarray, float32
        From 0 to ``BINS - 1``.
    background : float
    """
    low, high = np.percentile(image, (_OUTSIDE, 100 - _OUTSIDE))
    if high <= low:
        low, high = image.min(), image.max()
    if structure.any():
        usual = np.percentile(image[structure], (_HOT, 100 - _HOT))
        least, most = min(0, usual[0]), max(0, usual[1])
        reach = _REACH * (most - least)
        low, high = max(low, least - reach), min(high, most + reach)
    factor = (BINS - 1) / (high - low if high > low else 1)
    bins = (np.clip(image, low, high) - low) * factor
    return bins.astype(np.float32), float((np.clip(0, low, high) - low) * factor)


def mutual_information(static, moving, weights=None, *, derivative=True):
    """Return the mutual information of samples, and its derivatives.

    Parameters
    ----------
    static : ndarray of int, shape (n,)
        Bins of the static samples.
    moving : ndarray, float32, shape (n,)
        Positions in the histogram, which are shared among the two nearest bins.
    weights : ndarray, shape (n,), optional
        Weight of each sample.
    derivative : bool, optional
        Whether the derivatives are needed, which take half of the time.

    Returns
    -------
    information : float
        In nats.
    by_moving, by_weights : ndarray, shape (n,), or None
        Derivatives by the moving samples, and by the weights if there are any.

    Notes
    -----
    The joint histogram is smoothed by a Gaussian, in the manner of the Parzen windows
    of :footcite:t:`Mattes2003`, whose derivative by a sample is a difference of
    two values in a table. That by the weight of a sample is what lies between them,
    minus the information.

    References
    ----------
    .. footbibliography::
    """
    bins = np.minimum(moving.astype(np.intp), BINS - 2)
    share = moving - bins  # of the upper bin
    cells = static * BINS + bins
    upper = share if weights is None else share * weights
    upper = np.bincount(cells, upper, BINS * BINS)
    counts = np.bincount(cells, weights, BINS * BINS) - upper
    counts[1:] += upper[:-1]
    total = counts.sum()
    if total <= 0:
        zeros = np.zeros(len(moving), np.float32)
        return 0.0, zeros, None if weights is None else zeros
    joint = _smooth(counts.reshape(BINS, BINS) / total)
    of_static, of_moving = joint.sum(1, keepdims=True), joint.sum(0, keepdims=True)
    table = np.log((joint + _TINY) / (of_static * of_moving + _TINY))
    information = float((joint * table).sum())
    if not derivative:
        return information, None, None
    # The derivatives of the logarithms add up to zero, since the sums are constant.
    table = _smooth(table).ravel() / total
    by_moving = np.diff(table).take(cells)
    if weights is None:
        return information, by_moving, None
    by_weights = table.take(cells) + share * by_moving - information / total
    return information, weights * by_moving, by_weights


def _smooth(array):
    # With 32 bins, a product of matrices takes a quarter of the time of a filter.
    return _SMOOTHING @ array @ _SMOOTHING
