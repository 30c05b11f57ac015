"""Check what a user gives, before anything is computed."""

from numbers import Integral, Real
import os
from pathlib import Path

import numpy as np

from dipy_nn_reg.intensities import float_type, replace_nan

# Largest number of values of an array: more than any memory holds. An array that
# repeats one value, by strides of 0, may seem to have them.
_MAX_SIZE = 2**31
_MAX_VALUES = 2**34


def check_name(option, name, known):
    """Raise ValueError unless ``name`` is one of the known names."""
    if not isinstance(name, str) or name not in known:
        raise ValueError(
            f"Expected {option} to be one of {sorted(known)}. Received {name!r}."
        )


def check_input_shape(input_shape):
    """Raise ValueError unless this is the size of a 2D or 3D image."""
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) not in (2, 3):
        raise ValueError(
            f"Expected input_shape of two or three axes. Received {input_shape!r}."
        )
    for size in input_shape:
        check_integer("each axis of input_shape", size, lowest=2)


def check_integer(option, value, *, lowest, highest=None):
    """Raise ValueError unless ``value`` is an integer in a range."""
    is_integer = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_integer or value < lowest or (highest is not None and value > highest):
        to_highest = "" if highest is None else f" and <= {highest}"
        raise ValueError(
            f"Expected {option} to be an integer >= {lowest}{to_highest}. "
            f"Received {_shown(value)}."
        )


def check_shape(option, shape, *, ndim=None):
    """Return the size of a grid as a tuple of int, or raise ValueError.

    Parameters
    ----------
    option : str
    shape : sequence of int
    ndim : int, optional
        Number of axes that it has to have.
    """
    is_sequence = isinstance(shape, (tuple, list, np.ndarray))
    if not is_sequence or getattr(shape, "ndim", 1) != 1:
        raise ValueError(
            f"Expected {option} to be a sequence of integers. Received {shape!r}."
        )
    if len(shape) == 0 or ndim not in (None, len(shape)):
        raise ValueError(
            f"Expected {option} of {'one axis or more' if ndim is None else ndim}. "
            f"Received {tuple(shape)}."
        )
    for size in shape:
        check_integer(f"each axis of {option}", size, lowest=1, highest=_MAX_SIZE)
    return tuple(int(size) for size in shape)


def check_path(option, path):
    """Return a path, or raise ValueError for what is none."""
    try:
        text = os.fspath(path)
    except TypeError:
        text = None
    if not isinstance(text, str) or "\0" in text:
        raise ValueError(f"Expected {option} to be a path. Received {_shown(path)}.")
    return Path(text)


def check_number(option, value, *, or_zero=False):
    """Raise ValueError unless ``value`` is finite and positive, or 0 where allowed.

    It has to be so in float32 too, in which all is computed.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    in_range = is_number and (0 < value < np.inf or (value == 0 and or_zero))
    fits = in_range and _fits_float32(value)
    if not fits:
        raise ValueError(
            f"Expected {option} to be a finite number {'>=' if or_zero else '>'} 0. "
            f"Received {_shown(value)}"
            f"{', which float32 cannot hold' if in_range else ''}."
        )


def check_real(name, array):
    """Return an array of real numbers after looking for what would go wrong.

    Parameters
    ----------
    name : str
        What to call it in an error.
    array : array-like

    Returns
    -------
    array : ndarray
        In the type that came.

    Raises
    ------
    ValueError
        If it is no array of real numbers, if it is empty, or if values of it are
        masked, since no measure passes over them.
    """
    if np.ma.is_masked(array):
        raise ValueError(
            f"Expected {name} without masked values. Received a masked array with "
            f"{np.ma.count_masked(array)} of {np.size(array)} values masked."
        )
    try:
        array = np.asarray(array)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Expected {name} to be an array of real numbers. Received {error}."
        ) from error
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected real numbers in {name}. Received {name}.dtype={array.dtype}."
        )
    if array.ndim == 0 or array.size == 0:
        raise ValueError(
            f"Expected {name} to be an array of one value or more. Received "
            f"{name}.shape={array.shape}."
        )
    return array


def check_fill(fill):
    """Raise ValueError unless ``fill`` is None or a finite number."""
    if fill is None:
        return
    is_number = isinstance(fill, Real) and not isinstance(fill, bool)
    if not is_number or not np.isfinite(float(fill)):
        raise ValueError(f"Expected fill to be a finite number. Received {fill!r}.")


def check_images(images, *, name, ndim, num_channels):
    """Return images with a channel axis, after looking for what would go wrong.

    Parameters
    ----------
    images : array-like, shape (n, *spatial) or (n, *spatial, channels)
    name : str
        What to call them in an error.
    ndim, num_channels : int
        Number of spatial axes and of channels expected.

    Returns
    -------
    images : ndarray, shape (n, *spatial, channels)
        A view where that is possible, in the type that came.

    Raises
    ------
    ValueError
        If the rank or the number of channels is another, if there is no image, or
        if a value is not a real number that float32 holds. NaN counts as the background
        of its image, with a warning.
    """
    try:
        images = np.asarray(images)
    except ValueError as error:  # lists of several lengths
        raise ValueError(f"Expected {name} of one size. Received {error}") from error
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
    if images.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected real numbers in {name}. Received {name}.dtype={images.dtype}."
        )
    if images.size > _MAX_VALUES:
        raise ValueError(
            f"Expected images that fit into memory. Received {name}.shape={shape}."
        )
    lowest, highest = images.min(), images.max()  # NaN if there is one
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


def _without_nan(images, name):
    filled = images.copy()
    for i, image in enumerate(images):
        for c in range(image.shape[-1]):
            which = f"image {i} of {name}" if len(images) > 1 else name
            filled[i, ..., c] = replace_nan(image[..., c], name=which)
    return filled


def check_contrast(images, *, name):
    """Raise ValueError if float32 loses the contrast of images.

    Parameters
    ----------
    images : ndarray
    name : str
        What to call them in the error.
    """
    if float_type(images) == np.float64:
        raise ValueError(
            f"Expected {name} with contrast that float32 holds: subtract what all "
            f"values have in common, or divide by their range. Received values from "
            f"{images.min()} to {images.max()}."
        )


def check_pairs(moving, static, *, ndim, num_channels):
    """Return moving and static images that fit each other.

    Parameters
    ----------
    moving : array-like, shape (n, *spatial) or (n, *spatial, channels)
    static : array-like
        One image, with or without a batch axis, or n of them.
    ndim, num_channels : int
        Number of spatial axes and of channels expected.

    Returns
    -------
    moving : ndarray, shape (n, *spatial, channels)
    static : ndarray, shape (1, *spatial, channels) or (n, *spatial, channels)

    Raises
    ------
    ValueError
        As :func:`check_images`, and if the number or the size of the static images
        does not fit the moving ones.
    """
    moving = check_images(moving, name="moving", ndim=ndim, num_channels=num_channels)
    spatial = moving.shape[1:-1]
    static = np.asarray(static)
    if static.shape in (spatial, (*spatial, num_channels)):
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
    """Return moving and static images to train on.

    Parameters
    ----------
    moving, static, ndim, num_channels
        As for :func:`check_pairs`; static may be None, to make pairs of the moving
        images.

    Returns
    -------
    moving : ndarray, shape (n, *spatial, channels)
    static : ndarray or None

    Raises
    ------
    ValueError
        As :func:`check_pairs`, and if there is one image only to make pairs of.
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


def _fits_float32(value):
    """Tell whether a number becomes neither infinite nor, if it is not, zero."""
    with np.errstate(over="ignore", under="ignore"):
        try:
            number = np.float32(float(value))
        except OverflowError:  # of an integer or a fraction
            return False
    return bool(np.isfinite(number)) and (number != 0) == (value != 0)


def _shown(value):
    """Return what a value looks like; Python refuses to write very long integers."""
    try:
        return repr(value)
    except ValueError:
        return f"a number of type {type(value).__name__} with very many digits"
