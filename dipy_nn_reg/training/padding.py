"""Padding of images of several sizes to one size."""

import numpy as np

from dipy_nn_reg.checks import as_array
from dipy_nn_reg.intensities import estimate_background

IMAGES = ("moving", "static")


def pad_to_one_size(arrays, ndim):
    """Pad lists of images, after their last voxels, to the largest size.

    Images are padded with their background, label maps and masks with 0. Training
    then compiles once, and positions in voxels do not change.

    Parameters
    ----------
    arrays : dict
        Images, label maps and masks by name. Only lists of arrays of shape (*spatial,)
        or (*spatial, channels) are padded.
    ndim : int
        Number of spatial axes.

    Returns
    -------
    arrays : dict

    Examples
    --------
    >>> images = {"moving": [np.ones((2, 3)), np.ones((4, 2))]}
    >>> pad_to_one_size(images, ndim=2)["moving"].shape
    (2, 4, 3)
    """
    lists = {
        name: [as_array(name, image) for image in images]
        for name, images in arrays.items()
        if isinstance(images, (list, tuple)) and "landmarks" not in name
    }
    sizes = {image.shape[:ndim] for images in lists.values() for image in images}
    if len(sizes) < 2 or any(len(size) < ndim for size in sizes):
        return arrays
    largest = np.max(list(sizes), axis=0)
    padded = {
        name: np.stack([_pad(image, largest, name in IMAGES) for image in images])
        for name, images in lists.items()
    }
    return {**arrays, **padded}


def _pad(image, size, has_background):
    ndim = len(size)
    channels = image.reshape(*image.shape[:ndim], -1)
    padded = np.zeros((*size, channels.shape[-1]), image.dtype)
    if has_background and image.size:
        padded[:] = [estimate_background(c) for c in np.moveaxis(channels, -1, 0)]
    padded[tuple(map(slice, image.shape[:ndim]))] = channels
    return padded.reshape(*size, *image.shape[ndim:])
