"""Checks of options: names, integers, numbers, sizes of grids and paths."""

from numbers import Integral, Real
import os
from pathlib import Path

import numpy as np

from dipy_nn_reg.checks.arrays import as_array

# Largest size of an axis of a grid, in voxels.
_MAX_SIZE = 2**31


def check_name(option, name, names):
    """Raise ValueError unless ``name`` is one of ``names``."""
    if not isinstance(name, str) or name not in names:
        raise ValueError(
            f"Expected {option} to be one of {sorted(names)}. Received {name!r}."
        )


def check_both(what, **values):
    """Raise ValueError if one image alone has something.

    Parameters
    ----------
    what : str
        Name of these things in the message.
    **values
        That of the moving and that of the static image, by the names of options.
    """
    there = [name for name, value in values.items() if value is not None]
    if len(there) == 1:
        raise ValueError(
            f"Expected {what} of both images or of none. Received {there[0]} alone."
        )


def check_defaults(needed, names, values, defaults):
    """Raise ValueError unless options that go with another one have their defaults.

    Parameters
    ----------
    needed : str
        The option that is missing.
    names, values, defaults : sequence
        Of the options, in one order.
    """
    options = zip(names, values, defaults)
    idle = [f"{n}={value!r}" for n, value, default in options if value != default]
    if idle:
        raise ValueError(
            f"Expected {needed}, with which other options go. Received "
            f"{', '.join(idle)} alone."
        )


def check_input_shape(input_shape):
    """Raise ValueError unless ``input_shape`` is the size of a 2D or 3D image."""
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) not in (2, 3):
        raise ValueError(
            f"Expected input_shape of two or three axes. Received {input_shape!r}."
        )
    for size in input_shape:
        check_integer("each axis of input_shape", size, lowest=2)


def check_integer(option, value, *, lowest, highest=None):
    """Raise ValueError unless ``value`` is an integer in a range with its ends."""
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
        Name of the argument in an error.
    shape : sequence of int
        Size of the grid in voxels.
    ndim : int, optional
        Expected number of axes; by default any.

    Returns
    -------
    shape : tuple of int
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
    """Return ``path`` as a Path, or raise ValueError if it is not one."""
    try:
        text = os.fspath(path)
    except TypeError:
        text = None
    if not isinstance(text, str) or "\0" in text:
        raise ValueError(f"Expected {option} to be a path. Received {_shown(path)}.")
    return Path(text)


def check_flag(option, value):
    """Raise ValueError unless ``value`` is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"Expected {option} to be True or False. Received {value!r}.")


def check_number(option, value, *, or_zero=False, highest=np.inf):
    """Raise ValueError unless ``value`` is finite and positive, or 0 where allowed.

    The same must hold in float32, the type of all computations.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    in_range = is_number and (0 < value < np.inf or (value == 0 and or_zero))
    fits = in_range and _fits_float32(value)
    if not fits or value > highest:
        to_highest = "" if highest == np.inf else f" and <= {highest}"
        raise ValueError(
            f"Expected {option} to be a finite number {'>=' if or_zero else '>'} 0"
            f"{to_highest}. "
            f"Received {_shown(value)}"
            f"{', which float32 cannot hold' if in_range and not fits else ''}."
        )


def check_fill(fill):
    """Raise ValueError unless ``fill`` is None or a finite number."""
    if fill is None:
        return
    is_number = isinstance(fill, Real) and not isinstance(fill, bool)
    if not is_number or not np.isfinite(float(fill)):
        raise ValueError(f"Expected fill to be a finite number. Received {fill!r}.")


def fill_of_type(fill, dtype):
    """Return values outside of an image in its type.

    Parameters
    ----------
    fill : float or array-like
    dtype : dtype

    Returns
    -------
    fill : ndarray

    Raises
    ------
    ValueError
        If a value is not finite, since weights of 0 would spread it over the image; or
        if the type has no such value: integers are kept exactly, and other numbers to
        one in a hundred, so that float16 holds them as well.
    """
    array, dtype = as_array("fill", fill), np.dtype(dtype)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"Expected fill to be a number. Received {fill!r}.")
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        converted = array.astype(dtype)
    if dtype.kind == "f":
        fits = np.allclose(converted.astype(float), array, rtol=1e-2, atol=0)
    else:  # Python compares integers of any size with floats exactly
        fits = np.all(converted.astype(object) == array.astype(object))
    if not fits or not np.all(np.isfinite(array)):
        raise ValueError(
            f"Expected fill to be a value of the type {dtype}. Received "
            f"{array.tolist()}."
        )
    return converted


def _fits_float32(value):
    """Return whether float32 holds a number: neither overflow nor underflow to 0."""
    with np.errstate(over="ignore", under="ignore"):
        try:
            number = np.float32(float(value))
        except OverflowError:  # raised for large integers and fractions
            return False
    return bool(np.isfinite(number)) and (number != 0) == (value != 0)


def _shown(value):
    """Return the repr of a value; Python raises for that of very long integers."""
    try:
        return repr(value)
    except ValueError:
        return f"a number of type {type(value).__name__} with very many digits"
