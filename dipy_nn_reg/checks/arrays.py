"""Checks of arrays."""

import numpy as np


def as_array(name, values):
    """Return values as an array; raise ValueError for lists of different lengths.

    Parameters
    ----------
    name : str
        Name of the argument in the error.
    values : array-like

    Returns
    -------
    array : ndarray
    """
    _check_unmasked(name, values)
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Expected {name} to be an array of real numbers. Received {error}."
        ) from error


def _check_unmasked(name, array):
    if np.ma.is_masked(array):
        raise ValueError(
            f"Expected {name} without masked values. Received a masked array with "
            f"{np.ma.count_masked(array)} of {np.size(array)} values masked."
        )


def check_where(name, where, shape):
    """Return an array of bool of a shape, or raise ValueError if it is something else.

    Parameters
    ----------
    name : str
        Name of the array in an error.
    where : array-like of bool
    shape : tuple of int

    Returns
    -------
    where : ndarray of bool
    """
    where = as_array(name, where)
    if where.shape != shape or where.dtype != bool:
        raise ValueError(
            f"Expected {name} to be of bool, of shape {shape}. Received "
            f"{name}.dtype={where.dtype} and {name}.shape={where.shape}."
        )
    return where


def check_real(name, array):
    """Return an array of real numbers, or raise ValueError.

    Parameters
    ----------
    name : str
        Name of the argument in an error.
    array : array-like

    Returns
    -------
    array : ndarray
        Array of the same type.

    Raises
    ------
    ValueError
        If the values are not real numbers, if the array is empty, or if values are
        masked, since no measure would ignore them.
    """
    array = as_array(name, array)
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
