"""Several images of one person, as the channels of one image."""

import os

from nibabel.spatialimages import SpatialImage
import numpy as np

from dipy_nn_reg.checks import check_real
from dipy_nn_reg.io.nifti import array_and_affine
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.regridding import read_on_grid


def is_several(image):
    """Return whether this is a sequence of images, rather than one in nested lists."""
    if not isinstance(image, (list, tuple)):
        return False
    kinds = (str, os.PathLike, SpatialImage)
    return bool(image) and all(
        isinstance(one, kinds) or (isinstance(one, np.ndarray) and one.ndim > 1)
        for one in image
    )


def read_channels(number, name, image, affine):
    """Return an image, or several of one person, as an array with its affine.

    Parameters
    ----------
    number : int
        Of channels.
    name : {"moving", "static"}
        In messages.
    image : array-like, nibabel image, string, Path, or sequence of them
    affine : ndarray or None
        In place of that of the image.

    Returns
    -------
    array : ndarray, shape (*spatial,) or (*spatial, channels)
    affine : ndarray or None

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`stack_channels`.
    """
    if is_several(image):
        return stack_channels(image, affine, name)
    array, affine = array_and_affine(image, affine, series=number > 1)
    return check_real(name, array), affine


def stack_channels(images, affine, name):
    """Read several images on the grid of the first one, as channels.

    Parameters
    ----------
    images : sequence of ndarray, nibabel image, string or Path
        Images of one channel. Files and images of nibabel may lie on any grids; arrays
        are on that of the first image.
    affine : ndarray or None
        Of the first image, in place of its own.
    name : {"moving", "static"}
        In messages.

    Returns
    -------
    channels : ndarray, shape (*spatial, number)
    affine : ndarray or None
        That of the first image; None for an array without ``affine``.

    Raises
    ------
    FileNotFoundError, ValueError
        If an image cannot be read, is constant, has other axes than the first one, or
        lies elsewhere.
    """
    first, affine = array_and_affine(images[0], affine)
    first = check_real(name, first)
    channels = [first]
    _check_contrast(first, name)
    for image in images[1:]:
        array, own = array_and_affine(image, None)
        array = check_real(name, array)
        _check_contrast(array, name)
        if array.ndim != first.ndim:
            raise ValueError(
                f"Expected {name} images with as many axes as the first one, of shape "
                f"{first.shape}. Received one of shape {array.shape}."
            )
        if own is not None and affine is None:
            raise ValueError(
                f"Expected {name}_affine with an array first, and files or images of "
                f"nibabel after it. Received None."
            )
        if own is not None:
            array = _on_grid_of(first, affine, array, own)
        if array.shape != first.shape:
            raise ValueError(
                f"Expected {name} images on the grid of the first one, of shape "
                f"{first.shape}. Received one of shape {array.shape}."
            )
        channels.append(array)
    return np.stack(channels, axis=-1), affine


def _check_contrast(image, name):
    # Without NaN, unless there is nothing else.
    if not np.fmin.reduce(image, axis=None) < np.fmax.reduce(image, axis=None):
        raise ValueError(
            f"Expected {name} images with contrast. Received one of shape "
            f"{image.shape} and a single value."
        )


def _on_grid_of(first, affine, array, own):
    """Return an image on the grid of another."""
    moved = read_on_grid(array, own, [], Grid(first.shape, affine))
    if moved.min() == moved.max():
        raise ValueError(
            f"Expected images of one person that overlap. Received one of shape "
            f"{array.shape} outside of the first one."
        )
    return moved
