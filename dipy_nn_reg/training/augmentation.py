"""Random augmentation: affine and B-spline deformation, change of contrast."""

import numpy as np

from dipy_nn_reg.intensities import estimate_background
from dipy_nn_reg.transform.functions import warp
from dipy_nn_reg.transform.random import random_displacements

# Standard deviation of the logarithm of gamma.
_LOG_GAMMA = 0.2


def augment(images, annotations, rng, *, strength=1.0):
    """Deform images at random, with labels and mask, and change the image contrast.

    Parameters
    ----------
    images : dict of ndarray, shape (n, *spatial, channels)
        ``moving`` and ``static``, which are deformed independently.
    annotations : Annotations
        Label maps and a mask, shape (n, *spatial, any).
    rng : numpy.random.Generator
    strength : float, optional
        Factor on the displacements.

    Returns
    -------
    images : dict of ndarray
    annotations : Annotations
    """
    images, displacements = dict(images), {}
    for name, image in images.items():
        displacements[name] = strength * random_displacements(image.shape[:-1], rng)
        warped = warp(image, displacements[name], fill=_backgrounds(image))
        images[name] = _change_contrast(warped, rng)

    def deform(array, place):
        return warp(array, displacements[place.image], interpolation="nearest")

    return images, annotations.map(deform)


def _backgrounds(images):
    """Return the background of each image and channel, shape (n, channels)."""
    return np.array(
        [
            [estimate_background(image[..., c]) for c in range(image.shape[-1])]
            for image in images
        ],
        np.float32,
    )


def _change_contrast(images, rng):
    """Raise intensities, rescaled from their range to 0 to 1, to a random power."""
    axes = tuple(range(1, images.ndim - 1))
    low = images.min(axis=axes, keepdims=True)
    span = images.max(axis=axes, keepdims=True) - low
    gamma = np.exp(_LOG_GAMMA * rng.normal(size=span.shape)).astype(np.float32)
    span = np.where(span > 0, span, 1)
    return low + span * ((images - low) / span) ** gamma
