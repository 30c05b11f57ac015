"""Checks of images, and of moving and static images that are registered."""

import numpy as np

from dipy_nn_reg.checks.arrays import as_array
from dipy_nn_reg.intensities import loses_contrast, replace_nan

# Largest number of values of an array, more than any memory holds. An array that
# repeats one value, with strides of 0, can have more.
_MAX_VALUES = 2**34


def check_images(images, *, name, ndim, num_channels):
    """Return images with a channel axis, or raise ValueError.

    NaN is replaced by the background of its image, with a warning.

    Parameters
    ----------
    images : array-like, shape (n, *spatial) or (n, *spatial, channels)
    name : str
        Name of the argument in an error.
    ndim, num_channels : int
        Expected number of spatial axes and of channels.

    Returns
    -------
    images : ndarray, shape (n, *spatial, channels)
        Images of the same type; a view where possible.

    Raises
    ------
    ValueError
        If the number of axes or of channels differs, if there is no image, or if a
        value is not a real number in the range of float32.
    """
    images = as_array(name, images)
    images = _with_channels(images, name, ndim, num_channels)
    _check_values(images, name)
    lowest, highest = images.min(), images.max()  # NaN if a value is NaN
    if np.isnan(lowest):
        images = _without_nan(images, name)
        lowest, highest = images.min(), images.max()
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(np.float32(highest) - np.float32(lowest)):
            raise ValueError(
                f"Expected finite values in {name}, in the range of float32. "
                f"Received values from {lowest} to {highest}."
            )
    return images


def _with_channels(images, name, ndim, num_channels):
    """Return images with a channel axis, or raise ValueError for another layout."""
    shape = images.shape
    if images.ndim == ndim + 1 and num_channels == 1:
        images = images[..., None]
    if images.ndim != ndim + 2 or images.shape[-1] != num_channels:
        layout = ", ".join(["n", *"xyz"[:ndim]])
        without = f" or ({layout})" if num_channels == 1 else ""
        raise ValueError(
            f"Expected {name} of shape ({layout}, {num_channels}){without}. "
            f"Received {name}.shape={shape}."
        )
    if images.size == 0 or min(images.shape[1:-1]) < 2:
        raise ValueError(
            f"Expected at least one image in {name}, of two voxels or more along each "
            f"axis. Received {name}.shape={shape}."
        )
    return images


def _check_values(images, name):
    """Raise ValueError unless images hold real numbers, not too many of them."""
    if images.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected real numbers in {name}. Received {name}.dtype={images.dtype}."
        )
    if images.size > _MAX_VALUES:
        raise ValueError(
            f"Expected images that fit into memory. "
            f"Received {name}.shape={images.shape}."
        )


def _without_nan(images, name):
    """Return a copy of images with NaN replaced by the background."""
    filled = images.copy()
    for i, image in enumerate(images):
        for c in range(image.shape[-1]):
            which = f"image {i} of {name}" if len(images) > 1 else name
            filled[i, ..., c] = replace_nan(image[..., c], name=which)
    return filled


def check_contrast(images, *, name):
    """Raise ValueError if the contrast of images is lost in float32.

    Parameters
    ----------
    images : ndarray, shape (n, *spatial, channels)
    name : str
        Name of the argument in the error.
    """
    if loses_contrast(images):
        raise ValueError(
            f"Expected {name} with contrast that float32 holds: subtract the smallest "
            f"value, or divide by the range. Received values from {images.min()} to "
            f"{images.max()}."
        )


def check_pairs(moving, static, *, ndim, num_channels):
    """Return moving and static images with channel axes, or raise ValueError.

    Parameters
    ----------
    moving : array-like, shape (n, *spatial) or (n, *spatial, channels)
    static : array-like
        One image, with or without a batch axis, or n images.
    ndim, num_channels : int
        Expected number of spatial axes and of channels.

    Returns
    -------
    moving : ndarray, shape (n, *spatial, channels)
    static : ndarray, shape (1, *spatial, channels) or (n, *spatial, channels)

    Raises
    ------
    ValueError
        As :func:`check_images`; also if the number or the size of the static images
        does not match the moving images.
    """
    moving = check_images(moving, name="moving", ndim=ndim, num_channels=num_channels)
    spatial = moving.shape[1:-1]
    static = as_array("static", static)
    if static.ndim == ndim or static.shape in (spatial, (*spatial, num_channels)):
        static = static[None]
    static = check_images(static, name="static", ndim=ndim, num_channels=num_channels)
    if static.shape[1:-1] != spatial:
        raise ValueError(
            f"Expected static images of the size of the moving ones, {spatial}. "
            f"Received static images of size {static.shape[1:-1]}."
        )
    if len(static) not in (1, len(moving)):
        raise ValueError(
            f"Expected one static image, or one for each of the {len(moving)} moving "
            f"images. Received {len(static)}."
        )
    check_contrast(moving, name="moving")
    check_contrast(static, name="static")
    return moving, static


def check_training_pairs(moving, static, *, ndim, num_channels):
    """Return moving and static images for training, or raise ValueError.

    Parameters
    ----------
    moving, static, ndim, num_channels
        As for :func:`check_pairs`. If ``static`` is None, pairs are made of the moving
        images.

    Returns
    -------
    moving : ndarray, shape (n, *spatial, channels)
    static : ndarray or None

    Raises
    ------
    ValueError
        As :func:`check_pairs`; also if there is only one image to make pairs of.
    """
    if static is not None:
        return check_pairs(moving, static, ndim=ndim, num_channels=num_channels)
    moving = check_images(moving, name="moving", ndim=ndim, num_channels=num_channels)
    if len(moving) < 2:
        raise ValueError(
            "Expected a static image, or two moving images or more to make pairs of. "
            "Received one moving image and static=None."
        )
    check_contrast(moving, name="moving")
    return moving, None
