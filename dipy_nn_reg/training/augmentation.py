"""Images that were not there: deformed at random, and of other contrast."""

from keras import ops
import numpy as np

from dipy_nn_reg.backend import compiled
from dipy_nn_reg.intensities import estimate_background
from dipy_nn_reg.transform.control_points import bspline
from dipy_nn_reg.transform.functions import warp
from dipy_nn_reg.transform.sampling import voxel_grid

# Distance of control points as a share of the longest axis, and the standard deviation
# of their motion as a share of that distance: what people differ by, roughly, and too
# little to fold.
_SPACING, _MOTION = 1 / 6, 0.15
# Standard deviations of the entries of an affine, and of its translation as a share of
# the longest axis; and of the logarithm of gamma.
_LINEAR, _TRANSLATION, _LOG_GAMMA = 0.03, 0.01, 0.2


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


def random_displacements(shape, rng):
    """Return affine motion and a smooth B-spline field for each of some images.

    Parameters
    ----------
    shape : tuple of int
        (n, *spatial)
    rng : numpy.random.Generator

    Returns
    -------
    displacement : ndarray, shape (n, *spatial, ndim)
        Float32, in voxels.
    """
    n, *spatial = shape
    ndim, longest = len(spatial), max(spatial)
    spacing = max(2, round(_SPACING * longest))
    points = [-(-size // spacing) for size in spatial]
    parts = (
        _MOTION * spacing * rng.normal(size=(n, *points, ndim)),
        _LINEAR * rng.normal(size=(n, ndim, ndim)),
        _TRANSLATION * longest * rng.normal(size=(n, ndim)),
    )
    parts = [part.astype(np.float32) for part in parts]
    return ops.convert_to_numpy(_displace(*parts, tuple(spatial), spacing))


@compiled
def _displace(motion, linear, translation, spatial, spacing):
    offset = voxel_grid(spatial) - (np.array(spatial, np.float32) - 1) / 2
    affine = ops.einsum("...j,nij->n...i", offset, linear)
    affine += ops.reshape(translation, (-1, *[1] * len(spatial), len(spatial)))
    return bspline(motion, spatial, spacing) + affine


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
