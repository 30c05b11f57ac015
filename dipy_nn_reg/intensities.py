"""Background, missing values and range of the intensities of an image.

NumPy only. All values are examined in float64, so that an offset or a scale of the
intensities changes no result.
"""

from dipy.utils.logging import logger
import numpy as np

# Smallest contrast, relative to the largest value and absolute, that float32 keeps
# precisely enough for a registration: to a thousandth.
_MIN_CONTRAST, _MIN_SPAN = 1e-4, 1e-30
# Largest distance of a value from the robust range, in widths of that range.
_REACH = 10
# Largest number of voxels per axis that are sampled for the robust range.
_MAX_PER_AXIS = 64


def estimate_background(image):
    """Return the background value of an image.

    Parameters
    ----------
    image : ndarray, shape (*spatial,)
        One channel. Axes of size 1 and NaN are ignored.

    Returns
    -------
    background : float
        The median of the medians of the faces of the image, so that an object may
        touch some of them. It is always a value of the image: for an even number of
        values, the lower of the two middle ones.

    Examples
    --------
    >>> ct = np.full((6, 6), -1000)
    >>> ct[2:5, 1:] = 40
    >>> estimate_background(ct)
    -1000.0
    """
    image = _as_numbers(image, "the image")
    faces = [
        np.moveaxis(image, axis, 0)[end]
        for axis, size in enumerate(image.shape)
        if size > 1
        for end in (0, -1)
    ]
    medians = [_lower_median(face) for face in faces or [image]]
    background = _lower_median(np.array(medians))
    return float(np.nanmin(image)) if np.isnan(background) else float(background)


def estimate_backgrounds(image, ndim):
    """Return the background of an image, or a list with that of each channel.

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
    """Replace NaN by the background, and log how many values were replaced.

    Parameters
    ----------
    image : ndarray, shape (*spatial,)
        One channel.
    name : str
        Name of the image in messages.

    Returns
    -------
    image : ndarray
        The same array if it has no NaN.

    Raises
    ------
    ValueError
        If all values are NaN.
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
    """Return the type that preserves the contrast of an image: float32 or float64.

    Parameters
    ----------
    image : ndarray

    Returns
    -------
    dtype : type
    """
    return np.float64 if loses_contrast(image[None, ..., None]) else np.float32


def loses_contrast(images):
    """Return whether float32 would not preserve the contrast of a channel of an image.

    Parameters
    ----------
    images : ndarray, shape (n, *spatial, channels)

    Returns
    -------
    loses_contrast : bool
    """
    if images.dtype.kind == "b" or images.dtype.itemsize <= 2 or not images.size:
        return False
    axes = tuple(range(1, images.ndim - 1))
    low, high = (f(images, axis=axes).astype(np.float64) for f in (np.min, np.max))
    with np.errstate(over="ignore", invalid="ignore"):
        span, largest = high - low, np.maximum(np.abs(low), np.abs(high))
    # float32 has 24 significant bits, and full precision only above about 1e-38.
    fits = (span >= largest * _MIN_CONTRAST) & (span >= _MIN_SPAN)
    fits &= largest <= np.finfo(np.float32).max
    return not np.all(fits | (span == 0))


def normalize(image):
    """Rescale an image of any range to float32, with its background at 0.

    Parameters
    ----------
    image : ndarray, shape (*spatial,)
        One channel, without NaN.

    Returns
    -------
    image : ndarray, float32, shape (*spatial,)
        The background is 0. The range of all but the outermost percent of the voxels
        has a width between 1 and 2: the image is divided by a power of two, so that
        the only rounding is that to float32. Values farther outside of this range
        than ten times its width are clipped, lest a single voxel hide all others.
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
    """Return an array of one real number or more, or raise ValueError."""
    try:
        image = np.asarray(image)
    except ValueError:  # lists of unequal lengths
        image = np.asarray(None)
    if image.dtype.kind not in "biuf" or not image.size:
        raise ValueError(
            f"Expected real numbers in {name}, one or more. Received an array of shape "
            f"{image.shape} and type {image.dtype}."
        )
    return image


def _as_float64(image):
    """Return a copy as float64; of 64-bit integers, less the lowest value.

    Its order in memory is that of NumPy. In the order of files, sums would be rounded
    differently.
    """
    image = np.ascontiguousarray(image)
    if image.dtype.kind in "iu" and image.dtype.itemsize == 8:
        # Unsigned integers wrap around, which gives the right difference.
        return (image.astype(np.uint64) - np.uint64(int(image.min()) % 2**64)).astype(
            np.float64
        )
    return image.astype(np.float64)


def _robust_range(values):
    """Return the range of all but the outermost percent of the values.

    Where that range is empty, it is widened to all but a thousandth, then to all.
    """
    step = tuple(slice(None, None, -(-n // _MAX_PER_AXIS)) for n in values.shape)
    sample = values[step]
    for outside in (0.5, 0.05):
        low, high = np.percentile(sample, (outside, 100 - outside), method="nearest")
        if high > low:
            return low, high
    return values.min(), values.max()


def _lower_median(values):
    """Return the lower median of the values that are not NaN; NaN without any."""
    values = np.asarray(values, np.float64).ravel()
    values = values[~np.isnan(values)]
    if not values.size:
        return np.nan
    middle = (values.size - 1) // 2
    return np.partition(values, middle)[middle]
