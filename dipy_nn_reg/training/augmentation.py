"""Random augmentation: affine and B-spline deformation, change of contrast."""

import numpy as np

from dipy_nn_reg.intensities import estimate_background
from dipy_nn_reg.transform.functions import warp
from dipy_nn_reg.transform.random import random_displacements

# Standard deviation of the logarithm of gamma.
_LOG_GAMMA = 0.2


def augment(images, annotations, rng, *, strength=1.0):
    """Deform each image at random, with its labels and mask, and change its contrast.

    Parameters
    ----------
    images : dict of ndarray, shape (n, *spatial, channels)
        ``moving`` and ``static``, which are deformed independently.
    annotations : dict of ndarray, shape (n, *spatial, any)
        Label maps, and a mask of the static image.
    rng : numpy.random.Generator
    strength : float, optional
        By which displacements are multiplied.

    Returns
    -------
    images, annotations : dict of ndarray
    """
    images, annotations = dict(images), dict(annotations)
    for kind, image in images.items():
        displacement = strength * random_displacements(image.shape[:-1], rng)
        images[kind] = _bend(warp(image, displacement, fill=_backgrounds(image)), rng)
        for name, array in annotations.items():
            if name.startswith(kind) or (name == "mask" and kind == "static"):
                annotations[name] = warp(array, displacement, interpolation="nearest")
    return images, annotations


def _backgrounds(images):
    """Return the background of each image and channel, shape (n, channels)."""
    return np.array(
        [
            [estimate_background(image[..., c]) for c in range(image.shape[-1])]
            for image in images
        ],
        np.float32,
    )


def _bend(images, rng):
    """Raise what is between the darkest and the brightest voxel to a random power."""
    axes = tuple(range(1, images.ndim - 1))
    low = images.min(axis=axes, keepdims=True)
    span = images.max(axis=axes, keepdims=True) - low
    gamma = np.exp(_LOG_GAMMA * rng.normal(size=span.shape)).astype(np.float32)
    span = np.where(span > 0, span, 1)
    return low + span * ((images - low) / span) ** gamma
