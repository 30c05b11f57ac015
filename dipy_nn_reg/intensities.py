"""Background, missing values and range of the intensities of an image.

NumPy only. All values are looked at in float64: an offset or a scale of the
intensities is to change nothing.
"""

from dipy.utils.logging import logger
import numpy as np

# Smallest contrast, as a share of the largest value and by itself, that float32 keeps
# well enough for a registration: to a thousandth.
_MIN_CONTRAST, _MIN_SPAN = 1e-4, 1e-30
# How far outside of the range of most voxels a value may be, in widths of that range.
_REACH = 10
# Largest number of voxels along each axis that are looked at for the range.
_VOXELS_PER_AXIS = 64


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
    image = _as_numbers(image, "the image")
    faces = [
        np.take(image, end, axis=axis)
        for axis, size in enumerate(image.shape)
        if size > 1
        for end in (0, -1)
    ]
    medians = [_lower_median(face) for face in faces or [image]]
    background = _lower_median(np.array(medians))
    return float(np.nanmin(image)) if np.isnan(background) else float(background)


def estimate_backgrounds(image, ndim):
    """Return the background of an image, or a list of that of each of its channels.

    Parameters
    ----------
    image : ndarray, shape (*spatial,) or (*spatial, channels)
    ndim : int
        Number of spatial axes.
    """
    if image.ndim == ndim:
        return estimate_background(image)
    return [estimate_background(channel) for channel in np.moveaxis(image, -1, 0)]


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
    image = _as_numbers(image, name)
    if image.dtype.kind != "f":
        return image
    missing = np.isnan(image)
    number = int(missing.sum())
    if not number:
        return image
    if number == image.size:
        raise ValueError(f"Expected finite values in {name}. Received nan everywhere.")
    background = estimate_background(image)
    logger.warning(
        f"{number} of {image.size} values of {name} are NaN. They count as its "
        f"background, {background:g}."
    )
    return np.where(missing, image.dtype.type(background), image)


def float_type(image):
    """Return the type that holds the contrast of an image: float32, or float64.

    Parameters
    ----------
    image : ndarray

    Returns
    -------
    dtype : type
    """
    if image.dtype.kind == "b" or image.dtype.itemsize <= 2 or not image.size:
        return np.float32
    low, high = float(np.min(image)), float(np.max(image))
    span, largest = high - low, max(abs(low), abs(high))
    # Float32 keeps 24 bits of the largest value, and has no numbers near 1e-40.
    fits = span >= largest * _MIN_CONTRAST and span >= _MIN_SPAN
    return np.float32 if fits or span == 0 else np.float64


def normalize(image):
    """Bring an image of any range to one that float32 holds, around its background.

    Parameters
    ----------
    image : ndarray, shape (*spatial,)
        One channel, without NaN.

    Returns
    -------
    image : ndarray, float32, shape (*spatial,)
        Its background is 0. The range of all but the outermost percent of its voxels is
        between 1 and 2: it is divided by a power of two, so that nothing is rounded
        but what float32 cannot hold. What is farther outside of that range than ten
        times its width is clipped: a single voxel is not to hide all others.
    """
    values = _as_float64(image)
    background = estimate_background(values)
    low, high = _robust_range(values)
    if high <= low:
        return np.zeros(image.shape, np.float32)
    reach = _REACH * (high - low)
    np.clip(values, low - reach, high + reach, out=values)
    values -= np.clip(background, low - reach, high + reach)
    _, exponent = np.frexp(high - low)
    return np.ldexp(values, 1 - exponent).astype(np.float32)


def _as_numbers(image, name):
    """Return an array of real numbers, one or more, or raise ValueError."""
    try:
        image = np.asarray(image)
    except ValueError:  # lists of several lengths
        image = np.asarray(None)
    if image.dtype.kind not in "biuf" or not image.size:
        raise ValueError(
            f"Expected real numbers in {name}, one or more. Received an array of shape "
            f"{image.shape} and type {image.dtype}."
        )
    return image


def _as_float64(image):
    """Return the values, of large integers less the lowest one, as float64."""
    if image.dtype.kind in "iu" and image.dtype.itemsize == 8:
        # Unsigned integers overflow to the right difference.
        return (image.astype(np.uint64) - np.uint64(int(image.min()) % 2**64)).astype(
            np.float64
        )
    return image.astype(np.float64)


def _robust_range(values):
    """Return the ends of all but the outermost percent of values, if they differ."""
    step = tuple(slice(None, None, -(-n // _VOXELS_PER_AXIS)) for n in values.shape)
    sample = values[step]
    for outside in (0.5, 0.05):
        low, high = np.percentile(sample, (outside, 100 - outside), method="nearest")
        if high > low:
            return low, high
    return values.min(), values.max()


def _lower_median(values):
    """Return the median of what is not NaN, the lower one of two; NaN if all is."""
    values = np.asarray(values, np.float64).ravel()
    values = values[~np.isnan(values)]
    if not values.size:
        return np.nan
    middle = (values.size - 1) // 2
    return np.partition(values, middle)[middle]
