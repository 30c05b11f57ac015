"""Background, missing values and range of the intensities of an image.

NumPy only. All values are looked at in float64: an offset or a scale of the
intensities is to change nothing.
"""

from dipy.utils.logging import logger
import numpy as np


def estimate_background(image):
    """Return the value of an image where there is nothing.

    Parameters
    ----------
    image : ndarray, shape (*spatial,)
        One channel. Axes of size 1 do not count; NaN is passed over.

    Returns
    -------
    background : float
        The median of the medians of its faces, so that an object may touch some of
        them. It is a value of the image: of an even number of values, the lower of
        the two in the middle is taken.

    Examples
    --------
    >>> ct = np.full((6, 6), -1000)
    >>> ct[2:5, 1:] = 40
    >>> estimate_background(ct)
    -1000.0
    """
    image = np.asarray(image)
    faces = [
        np.take(image, end, axis=axis)
        for axis, size in enumerate(image.shape)
        if size > 1
        for end in (0, -1)
    ]
    medians = [_lower_median(face) for face in faces or [image]]
    background = _lower_median(np.array(medians))
    return float(np.nanmin(image)) if np.isnan(background) else float(background)


def replace_nan(image, *, name):
    """Put the background in the place of NaN, and warn of how much was replaced.

    Parameters
    ----------
    image : ndarray, shape (*spatial,)
        One channel.
    name : str
        What to call it in the warning.

    Returns
    -------
    image : ndarray
        The same array if there is no NaN.

    Raises
    ------
    ValueError
        If there is nothing else.
    """
    if image.dtype.kind != "f":
        return image
    missing = np.isnan(image)
    number = int(missing.sum())
    if not number:
        return image
    if number == image.size:
        raise ValueError(f"Expected numbers in {name}. Received NaN everywhere.")
    background = estimate_background(image)
    logger.warning(
        f"{number} of {image.size} values of {name} are NaN. They count as its "
        f"background, {background:g}."
    )
    return np.where(missing, image.dtype.type(background), image)


def _lower_median(values):
    """Return the median of what is not NaN, the lower one of two; NaN if all is."""
    values = np.asarray(values, np.float64).ravel()
    values = values[~np.isnan(values)]
    if not values.size:
        return np.nan
    middle = (values.size - 1) // 2
    return np.partition(values, middle)[middle]
