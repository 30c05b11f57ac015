"""Checks, noise floor and scale of images that are compared for their distortion."""

from dipy.utils.logging import logger
import numpy as np

from dipy_nn_reg.checks import check_integer, check_number, check_real
from dipy_nn_reg.intensities import estimate_background
from dipy_nn_reg.memory import check_memory

# Percentile of the intensities of both images that counts as 1.
_BRIGHT = 99
# Brightest background that is taken for noise, as a part of a bright intensity.
_BRIGHTEST_NOISE = 0.25
# Ratio of the sums of two images up to which they count as of one scale.
_SAME = 1.1
# Memory needed per voxel, for arrays of the descent.
_BYTES_PER_VOXEL = 160


def check_pair(one, other, axis, smoothness):
    """Return two images as arrays, or raise an error if they cannot be compared.

    Parameters
    ----------
    one, other : tuple of str and ndarray
        Name of each image in an error, and the image.
    axis : int
    smoothness : float

    Returns
    -------
    images : list of ndarray
    """
    images = {name: check_real(name, image) for name, image in (one, other)}
    up, down = images.values()
    if up.shape != down.shape or up.ndim not in (2, 3):
        raise ValueError(
            f"Expected {one[0]} and {other[0]} of one shape, in 2D or 3D. Received "
            f"{up.shape} and {down.shape}."
        )
    for name, image in images.items():
        if not np.all(np.isfinite(image)):
            raise ValueError(f"Expected finite values in {name}. Received others.")
    check_integer("axis", axis, lowest=0, highest=up.ndim - 1)
    check_number("smoothness", smoothness)
    if up.shape[axis] < 2:
        raise ValueError(
            f"Expected two voxels or more along axis {axis}. Received images of shape "
            f"{up.shape}."
        )
    check_memory(
        up.size * _BYTES_PER_VOXEL,
        what=f"Estimating the distortion of images of {up.shape}",
        advice="Images with larger voxels need less.",
    )
    return [up, down]


def without_noise_floor(image):
    """Return a magnitude image less the mean square of the noise in its background.

    The floor of noise does not move with the tissue, and would look like a field.

    Parameters
    ----------
    image : ndarray, shape (*spatial,)

    Returns
    -------
    image : ndarray
        Root of the squared intensities less that of the noise, with its sign. If the
        background is brighter than a quarter of the object, it is taken to be no noise,
        and the image is returned as it is.
    """
    floor = estimate_background(image)
    if not 0 < floor < _BRIGHTEST_NOISE * scale_of(image):
        return image
    image = image.astype(np.float64)
    # Rayleigh's distribution, which noise has in the background, has this ratio of the
    # mean square to the square of the median.
    square = image * np.abs(image) - floor**2 / np.log(2)
    return np.sign(square) * np.sqrt(np.abs(square))


def balanced(up, down):
    """Return two images with opposite distortion, with the same sum of intensities.

    Distortion moves intensities and keeps their sum, but for tissue that leaves the
    image. The second image is scaled if the sums differ by more than a tenth.

    Parameters
    ----------
    up, down : ndarray, shape (*spatial,)
        Without a floor of noise.

    Raises
    ------
    ValueError
        If one image alone is empty, or if one has no contrast.
    """
    totals = [float(image.sum(dtype=np.float64)) for image in (up, down)]
    if max(totals) <= 0:
        return up, down
    if min(totals) <= 0:
        raise ValueError(
            "Expected two images of the same object. Received an empty one."
        )
    if not all(map(np.ptp, (up, down))):
        raise ValueError("Expected images with contrast. Received one of one value.")
    ratio = totals[0] / totals[1]
    if abs(np.log(ratio)) <= np.log(_SAME):
        return up, down
    logger.warning(
        f"The sums of the intensities of both images differ by a factor of "
        f"{ratio:.3g}, by which the second one is multiplied: they should be of one "
        f"scale."
    )
    return up, down * ratio


def scale_of(*images):
    """Return the intensity of images that counts as 1, or 0 without any."""
    values = np.abs(np.stack(images, dtype=np.float64))
    return np.percentile(values, _BRIGHT) or values.max()


def along(image, axis, scale):
    """Return an image in float32, with an axis first, in units of a scale."""
    scaled = np.moveaxis(image, axis, 0) / scale
    return np.ascontiguousarray(scaled, dtype=np.float32)
