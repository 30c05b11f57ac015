"""Checks of tensors that are arguments of losses, penalties and transforms.

Only the rank, the sizes and the type of a tensor are checked: in a function that is
being compiled, a tensor has no values yet.
"""

import keras
from keras import ops
import numpy as np

from dipy_nn_reg.checks import check_real

# Numbers of axes in 2D and 3D, with batch and channels.
_RANKS = (4, 5)


def check_field(name, field):
    """Return a field as a tensor of float32, or raise ValueError.

    Parameters
    ----------
    name : str
        Name of the argument in an error.
    field : tensor or array-like, shape (batch, *spatial, ndim)

    Returns
    -------
    field : tensor
        The same tensor if it is of float32 already.
    """
    field = as_float32(name, field)
    ndim = len(field.shape) - 2
    if len(field.shape) not in _RANKS or field.shape[-1] != ndim:
        raise ValueError(
            f"Expected {name} of shape (batch, *spatial, ndim) in 2D or 3D. Received "
            f"{name}.shape={tuple(field.shape)}."
        )
    return field


def check_image_pair(static, warped, mask=None):
    """Return two images and a mask as tensors of float32, or raise ValueError.

    Parameters
    ----------
    static, warped : tensor or array-like, shape (batch, *spatial, channels)
    mask : tensor or array-like, shape (batch, *spatial, 1), optional

    Returns
    -------
    static, warped, mask : tensor
        The mask is None if no mask is passed.
    """
    static, warped = as_float32("static", static), as_float32("warped", warped)
    shapes = (
        f"static.shape={tuple(static.shape)} and warped.shape={tuple(warped.shape)}"
    )
    same_channels = static.shape[-1] == warped.shape[-1]
    same_shape = _match(static.shape, warped.shape) and same_channels
    if len(static.shape) not in _RANKS or not same_shape:
        raise ValueError(
            f"Expected images of one shape (batch, *spatial, channels) in 2D or 3D. "
            f"Received {shapes}."
        )
    if mask is None:
        return static, warped, None
    mask = as_float32("mask", mask)
    if not _match(mask.shape, static.shape) or mask.shape[-1] != 1:
        raise ValueError(
            f"Expected mask of shape (batch, *spatial, 1), like the images. Received "
            f"mask.shape={tuple(mask.shape)} and {shapes}."
        )
    return static, warped, mask


def as_float32(name, values):
    """Return a tensor of float32, or raise ValueError.

    Parameters
    ----------
    name : str
        Name of the argument in an error.
    values : tensor or array-like
        Real numbers.

    Returns
    -------
    tensor : tensor
        The same tensor if it is of float32 already.
    """
    if not ops.is_tensor(values) and not isinstance(values, keras.KerasTensor):
        values = _from_array(name, values)
    if 0 in tuple(values.shape):
        raise ValueError(
            f"Expected {name} with one value or more. Received {name}.shape="
            f"{tuple(values.shape)}."
        )
    dtype = keras.backend.standardize_dtype(values.dtype)
    if dtype == "float32":
        return values
    if dtype.startswith(("complex", "string")):
        raise ValueError(f"Expected real numbers in {name}. Received {dtype}.")
    return ops.cast(values, "float32")


def _from_array(name, values):
    """Return an array as a tensor of float32, or raise ValueError on overflow."""
    array = check_real(name, values)
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    if not np.array_equal(np.isfinite(single), np.isfinite(array)):
        raise ValueError(
            f"Expected values of {name} in the range of float32. Received values from "
            f"{array.min()} to {array.max()}."
        )
    return ops.convert_to_tensor(single)


def _match(one, other):
    """Return whether shapes match, except for channels.

    A batch of one matches any other, and so does an unknown size.
    """
    if len(one) != len(other):
        return False
    unknown_or_one = {one[0], other[0]} & {1, None}
    same = [a == b or None in (a, b) for a, b in zip(one[:-1], other[:-1])]
    return all(same[1:]) and (same[0] or bool(unknown_or_one))
