"""Difference of two images of any brightness and contrast."""

import numpy as np

from dipy_nn_reg.metrics.images import check_same_shape

# Largest number of values from which a brightness is estimated, about.
_MANY = 2**18


def match_brightness(image, reference):
    """Give each intensity of an image the mean brightness of the reference there.

    The images may differ by brightness, contrast or its sign, and by any curve. What
    is left of their difference is structure that one of them has in another place, or
    not at all.

    Parameters
    ----------
    image, reference : ndarray, of one shape
        Finite values. A constant image gets the mean of the reference.

    Returns
    -------
    match : callable
        Function from intensities of the image to those of the reference, in float64.
        Between the means of classes of intensity it is linear.

    Raises
    ------
    ValueError
        If the shapes differ, or if an image is empty or not of real numbers.

    Examples
    --------
    >>> image = np.linspace(0, 1, 50)
    >>> match = match_brightness(image, 9 - 3 * image)
    >>> match(np.array([0.25, 0.5])).round(6).tolist()
    [8.25, 7.5]
    """
    image, reference = check_same_shape(image, reference, "image", "reference")
    step = -(-image.size // _MANY)
    image, reference = image.ravel()[::step], reference.ravel()[::step]
    low, high = image.min(), image.max()
    # Few values make few classes: one voxel each would match anything.
    number = max(4, min(64, round(image.size ** (1 / 3))))
    classes = np.minimum(number * (image - low) / (high - low or 1), number - 1)
    classes = classes.astype(np.intp)
    counts = np.bincount(classes, minlength=number)
    taken = counts > 0
    means = [
        np.bincount(classes, weights=values, minlength=number)[taken] / counts[taken]
        for values in (image, reference)
    ]
    return lambda values: np.interp(values, *means)
