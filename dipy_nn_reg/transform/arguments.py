"""Arguments of sampling, warping and composition: conversion and checks of shapes."""

from functools import wraps

import keras
from keras import ops
import numpy as np

from dipy_nn_reg.checks import check_real, fill_of_type
from dipy_nn_reg.transform.tensors import as_float32


def arrays_for_arrays(function):
    """Return a function that returns a NumPy array unless an argument is a tensor."""

    @wraps(function)
    def wrapper(*args, **kwargs):
        result = function(*args, **kwargs)
        has_tensor = _has_tensor(args, kwargs)
        return result if has_tensor else ops.convert_to_numpy(result)

    return wrapper


def all_bits(function):
    """Return a function of an image that keeps all bits of numbers of 64 bits.

    Nearest interpolation only moves bits, so that arrays are moved as integers with a
    sign, which every backend has: JAX those of 32 bits, unless a user asks it for more.
    """

    @wraps(function)
    def wrapper(image, *args, **kwargs):
        if kwargs.get("interpolation") != "nearest":
            return function(image, *args, **kwargs)
        if not _has_tensor((image, *args), kwargs):
            return _moved_in_pieces(function, image, args, kwargs)
        # JAX and PyTorch compute with no tensors of uint64.
        if keras.backend.backend() != "tensorflow" or not _is_uint64(image):
            return function(image, *args, **kwargs)
        if kwargs.get("fill") is not None and not ops.is_tensor(kwargs["fill"]):
            kwargs["fill"] = fill_of_type(kwargs["fill"], np.uint64).view(np.int64)
        return ops.cast(function(_with_sign(image), *args, **kwargs), "uint64")

    return wrapper


def _moved_in_pieces(function, image, args, kwargs):
    """Call a function of an array for one or two integers in place of each number."""
    image = check_real("image", image)
    kind = image.dtype.newbyteorder("=")
    if kind.itemsize != 8:  # PyTorch takes uint16 as int32
        return function(image, *args, **kwargs).astype(kind, copy=False)
    fill = kwargs.get("fill")
    pieces, fills = _pieces(image, kind), [fill, fill]
    # With a border that is repeated, the function refuses a fill as it was passed.
    if fill is not None and kwargs.get("border", "zero") == "zero":
        fills = _pieces(fill_of_type(fill, kind), kind)
    found = [
        function(piece, *args, **{**kwargs, "fill": fill})
        for piece, fill in zip(pieces, fills)
    ]
    return np.stack(found, axis=-1).view(kind)[..., 0]


def _pieces(array, kind):
    """Return numbers of 64 bits as integers of the backend, one or two of each."""
    widest = ops.convert_to_tensor(np.zeros(1, np.int64)).dtype
    widest = keras.backend.standardize_dtype(widest)
    array = np.asarray(array, kind, order="C")[..., None]
    return np.moveaxis(array.view(widest), -1, 0)


def _is_uint64(image):
    """Return whether a tensor or an array is of uint64."""
    if ops.is_tensor(image):
        return keras.backend.standardize_dtype(image.dtype) == "uint64"
    return check_real("image", image).dtype.newbyteorder("=") == np.uint64


def _with_sign(image):
    """Return integers of uint64 as those of int64 with the same bits."""
    if ops.is_tensor(image):
        return ops.cast(image, "int64")
    return np.ascontiguousarray(image, np.uint64).view(np.int64)


def _has_tensor(args, kwargs):
    return any(ops.is_tensor(a) for a in (*args, *kwargs.values()))


def batches_match(image, field):
    """Return whether the batch sizes are equal, unknown, or one of them is 1."""
    return len({image.shape[0], field.shape[0]} - {1, None}) <= 1


def check_warp_shapes(image, displacement):
    """Return the layout of an image and a displacement, or raise ValueError.

    Parameters
    ----------
    image : tensor, shape ([batch,] *spatial[, channels])
    displacement : tensor, shape ([batch,] *spatial, ndim)

    Returns
    -------
    batched, has_channels : bool
        Whether there is a batch axis, and whether the image has a channel axis.
    """
    ndim = displacement.shape[-1]
    batched = len(displacement.shape) == ndim + 2
    has_channels = len(image.shape) == ndim + batched + 1
    if (
        len(displacement.shape) != ndim + batched + 1
        or len(image.shape) != ndim + batched + has_channels
        or (batched and not batches_match(image, displacement))
        or (not batched and _is_batch_of(image, displacement))
    ):
        raise ValueError(
            f"Expected a displacement of shape ([batch,] *spatial, ndim) and an image "
            f"of shape ([batch,] *spatial[, channels]), with the same batch. "
            f"Received image.shape={tuple(image.shape)} and "
            f"displacement.shape={tuple(displacement.shape)}."
        )
    return batched, has_channels


def check_displacements(first, second):
    """Raise ValueError unless two displacements can be composed.

    Parameters
    ----------
    first, second : tensor, shape ([batch,] *spatial, ndim)
    """
    ndim = second.shape[-1]
    if (
        first.shape[-1] != ndim
        or len(first.shape) != len(second.shape)
        or len(second.shape) not in (ndim + 1, ndim + 2)
        or (len(second.shape) == ndim + 2 and not batches_match(first, second))
    ):
        raise ValueError(
            f"Expected two displacements of shape ([batch,] *spatial, ndim). Received "
            f"first.shape={tuple(first.shape)} and second.shape={tuple(second.shape)}."
        )


def as_image(image, interpolation):
    """Return an image as a tensor.

    Parameters
    ----------
    image : tensor or array-like
    interpolation : {"linear", "nearest"}
        Nearest interpolation keeps the type of the image; linear needs float32.

    Returns
    -------
    image : tensor
    """
    if interpolation == "linear":
        return as_float32("image", image)
    if ops.is_tensor(image):
        return image
    image = check_real("image", image)
    if image.dtype.itemsize > 8:
        raise ValueError(
            f"Expected an image of 64 bits at most. Received image.dtype={image.dtype}."
        )
    image = np.ascontiguousarray(image, image.dtype.newbyteorder("="))
    tensor = ops.convert_to_tensor(image)
    kind = keras.backend.standardize_dtype(tensor.dtype)
    # Without integers of 64 bits, JAX would keep the lowest 32.
    if image.dtype.kind in "iu" and kind != image.dtype.name:
        limits = np.iinfo(kind)
        if image.min() < limits.min or image.max() > limits.max:
            raise ValueError(
                f"Expected values that fit {kind}, the widest integers of the backend. "
                f"Received values from {image.min()} to {image.max()}."
            )
    return tensor


def as_fill(fill, image, border):
    """Return the values outside of images as a tensor that broadcasts to the images.

    Parameters
    ----------
    fill : None, or float, tensor or array-like of shape (batch, channels)
    image : tensor, shape (batch, *spatial, channels)
    border : {"zero", "repeat"}
        With "repeat", the fill must be None.

    Returns
    -------
    fill : tensor or None
        Shape (batch or 1, 1, ..., channels or 1).
    """
    if fill is None:
        return None
    if border != "zero":
        raise ValueError(
            f"Expected fill=None with border={border!r}, which defines the values "
            f"outside. Received fill={fill!r}."
        )
    if not ops.is_tensor(fill):
        kind = keras.backend.standardize_dtype(image.dtype)
        kind = "float32" if kind == "bfloat16" else kind  # which NumPy has not
        fill = ops.convert_to_tensor(fill_of_type(fill, kind))
    batch, *spatial, channels = image.shape
    shape = tuple(fill.shape)
    fits = len(shape) == 2 and shape[0] in (1, batch, None) and shape[1] == channels
    if shape and not fits:
        raise ValueError(
            f"Expected fill to be a number, or an array of shape (batch, channels). "
            f"Received fill.shape={shape} and image.shape={tuple(image.shape)}."
        )
    ones = [1] * len(spatial)
    return ops.reshape(fill, (-1, *ones, channels) if shape else (1, *ones, 1))


def _is_batch_of(image, field):
    """Return whether an image is a batch of images on the grid of a field."""
    spatial = tuple(field.shape[:-1])
    return tuple(image.shape[1:]) == spatial != tuple(image.shape[:-1])
