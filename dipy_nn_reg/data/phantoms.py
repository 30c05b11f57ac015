"""Brains that nobody has: made images with labels, to try things and to test them."""

from math import prod

import numpy as np
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.checks import check_integer, check_name
from dipy_nn_reg.memory import check_memory
from dipy_nn_reg.transform.functions import identity_grid, warp
from dipy_nn_reg.transform.random import random_displacements

# What the labels 0, 1, 2 ... stand for.
STRUCTURES = (
    "background",
    "cortex",
    "white matter",
    "ventricles",
    "left putamen",
    "right putamen",
    "left thalamus",
    "right thalamus",
)
# Of each structure. Within the brain one contrast falls where the other rises.
INTENSITIES = {
    "t1": np.array([0, 0.55, 0.9, 0.2, 0.68, 0.68, 0.76, 0.76]),
    "t2": np.array([0, 0.6, 0.35, 1.0, 0.5, 0.5, 0.44, 0.44]),
}
# Positions and sizes are shares of half an axis. Of what is inside: the labels on the
# left and on the right, its position in the right half, and its size.
_BRAIN = 0.82, 0.7, 0.76
_INSIDE = (
    (3, 3, (-0.05, 0.12, 0.1), (0.34, 0.07, 0.22)),
    (4, 5, (-0.12, 0.38, 0.0), (0.22, 0.1, 0.22)),
    (6, 7, (0.18, 0.25, 0.0), (0.16, 0.1, 0.18)),
)
# Smaller ones have no room for all structures.
_SMALLEST, _LARGEST = 24, 2**20
_MAX_PEOPLE = 2**30
# Labels, image and displacement, each some times over.
_BYTES_PER_VOXEL = 100


def make_phantoms(n, *, shape=(64, 64), contrast="t1", seed=None):
    """Make images of people's brains, and their label maps.

    All people have the structures of :data:`STRUCTURES`, each deformed by a smooth
    random field of its own, see
    :func:`~dipy_nn_reg.transform.random.random_displacements`. Tissue is a little
    brighter or darker from one to another, and there is noise.

    Parameters
    ----------
    n : int
        Number of people.
    shape : tuple of int, optional
        Of an image, in 2D or 3D, of 24 voxels or more along each axis: from front to
        back, from left to right, and from bottom to top.
    contrast : {"t1", "t2"}, optional
        The same seed gives the same people in either.
    seed : int, optional
        The same seed gives the same images.

    Returns
    -------
    images : ndarray, float32, shape (n, *shape)
        From 0 to about 1.
    labels : ndarray, int32, shape (n, *shape)
        Indices of :data:`STRUCTURES`, 0 for background.

    Raises
    ------
    ValueError
        If an option is not one of those listed.
    MemoryError
        If more memory is needed than there is.

    Examples
    --------
    >>> images, labels = make_phantoms(2, shape=(32, 32), seed=0)
    >>> images.shape, int(labels.max())
    ((2, 32, 32), 7)
    >>> _, same_labels = make_phantoms(2, shape=(32, 32), contrast="t2", seed=0)
    >>> bool(np.all(labels == same_labels))
    True
    """
    _check(n, shape, contrast, seed)
    n, shape = int(n), tuple(int(size) for size in shape)
    check_memory(
        n * prod(shape) * _BYTES_PER_VOXEL,
        what=f"Making {n} images of {shape}",
        advice="Fewer or smaller ones need less.",
    )
    # Noise of its own for each contrast: were it the same, it would tell where a voxel
    # of one image is in the other.
    anatomy, *scanners = np.random.default_rng(seed).spawn(1 + len(INTENSITIES))
    scanner = scanners[list(INTENSITIES).index(contrast)]
    labels = _draw_brain(shape)
    displacement = random_displacements((n, *shape), anatomy)
    brightness = INTENSITIES[contrast] * scanner.normal(1, 0.03, (n, len(STRUCTURES)))
    images = np.stack([gaussian_filter(b[labels], 0.5) for b in brightness])
    images = warp(images.astype(np.float32), displacement)
    images += scanner.normal(0, 0.02, images.shape).astype(np.float32)
    labels = warp(labels[None], displacement, interpolation="nearest")
    return np.maximum(images, 0), labels


def _check(n, shape, contrast, seed):
    check_integer("n", n, lowest=1, highest=_MAX_PEOPLE)
    if not isinstance(shape, (tuple, list)) or len(shape) not in (2, 3):
        raise ValueError(f"Expected shape of two or three axes. Received {shape!r}.")
    for size in shape:
        check_integer("each axis of shape", size, lowest=_SMALLEST, highest=_LARGEST)
    check_name("contrast", contrast, INTENSITIES)
    if seed is not None:
        check_integer("seed", seed, lowest=0)


def _draw_brain(shape):
    """Return the label map that all people are deformed from."""
    half = (np.array(shape) - 1) / 2
    place = (identity_grid(shape) - half) / half
    side = place[..., 1].copy()
    radius, folds = _length(place, _BRAIN), _folds(place)
    labels = np.zeros(shape, np.int32)
    labels[radius < 1 - 0.04 * folds] = 1
    # There is cortex between the halves as well, but not where fibers join them.
    between = (np.abs(side) < 0.05) & (radius > 0.55)
    labels[(radius < 0.82 - 0.09 * folds) & ~between] = 2
    place[..., 1] = np.abs(side)
    for left, right, center, size in _INSIDE:
        inside = _length(place - center[: len(shape)], size) < 1
        labels[inside] = np.where(side > 0, right, left)[inside]
    return labels


def _length(vectors, radii):
    """Return how long vectors are, where an ellipsoid of these radii is the unit."""
    return np.linalg.norm(vectors / radii[: vectors.shape[-1]], axis=-1)


def _folds(place):
    """Return a wave around the brain, from -1 on a gyrus to 1 in a sulcus."""
    direction = place / np.maximum(_length(place, (1, 1, 1))[..., None], 1e-6)
    # A sum of waves of several directions, always the same, repeats itself nowhere.
    waves = 11 * np.random.default_rng(0).normal(size=(place.shape[-1], 8))
    return np.clip(np.cos(direction @ waves).mean(axis=-1) / 0.3, -1, 1)
