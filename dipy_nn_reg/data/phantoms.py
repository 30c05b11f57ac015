"""Synthetic head images with label maps, for examples and tests."""

from math import prod

import numpy as np
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.checks import check_integer, check_name
from dipy_nn_reg.memory import check_memory
from dipy_nn_reg.transform.functions import identity_grid, warp
from dipy_nn_reg.transform.random import random_displacements

#: Names of the labels 0, 1, 2 ...
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
# Mean intensity of each structure. Within the brain, T2 is dark where T1 is bright.
INTENSITIES = {
    "t1": np.array([0, 0.55, 0.9, 0.2, 0.68, 0.68, 0.76, 0.76]),
    "t2": np.array([0, 0.6, 0.35, 1.0, 0.5, 0.5, 0.44, 0.44]),
}
# Semi-axes of the brain, in units of half the image size along each axis.
_BRAIN = 0.82, 0.7, 0.76
# Inner structures: label on the left, label on the right, centre in the right half,
# and semi-axes, both in units of half the image size.
_INNER_STRUCTURES = (
    (3, 3, (-0.05, 0.12, 0.1), (0.34, 0.07, 0.22)),
    (4, 5, (-0.12, 0.38, 0.0), (0.22, 0.1, 0.22)),
    (6, 7, (0.18, 0.25, 0.0), (0.16, 0.1, 0.18)),
)
# Smallest size of an axis that has room for all structures, and largest one accepted.
_MIN_SIZE, _MAX_SIZE = 24, 2**20
# Largest number of people.
_MAX_PEOPLE = 2**30
# Memory needed per voxel, for copies of labels, image and displacement.
_BYTES_PER_VOXEL = 100


def make_phantoms(n, *, shape=(64, 64), contrast="t1", seed=None):
    """Make synthetic brain images of several people, and their label maps.

    All people have the structures of :data:`STRUCTURES`. Each person is deformed by a
    different smooth random field, see
    :func:`~dipy_nn_reg.transform.random.random_displacements`. The brightness of each
    structure varies a little between people, and noise is added.

    Parameters
    ----------
    n : int
        Number of people.
    shape : tuple of int, optional
        Shape of an image in 2D or 3D, with 24 voxels or more along each axis. The
        axes lead from front to back, from left to right, and from bottom to top.
    contrast : {"t1", "t2"}, optional
        Contrast of the images. The same seed gives the same people in both.
    seed : int, optional
        Seed of the random numbers. The same seed gives the same images.

    Returns
    -------
    images : ndarray, float32, shape (n, *shape)
        Intensities from 0 to about 1.
    labels : ndarray, int32, shape (n, *shape)
        Indices into :data:`STRUCTURES`, 0 for background.

    Raises
    ------
    ValueError
        If a parameter is invalid.
    MemoryError
        If more memory is needed than is available.

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
        advice="Fewer or smaller images need less.",
    )
    # Each contrast has independent noise. Shared noise would reveal which voxels of
    # two images correspond.
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
        check_integer("each axis of shape", size, lowest=_MIN_SIZE, highest=_MAX_SIZE)
    check_name("contrast", contrast, INTENSITIES)
    if seed is not None:
        check_integer("seed", seed, lowest=0)


def _draw_brain(shape):
    """Return the label map that is deformed to that of each person."""
    half = (np.array(shape) - 1) / 2
    position = (identity_grid(shape) - half) / half
    side = position[..., 1].copy()
    radius, folds = _length(position, _BRAIN), _folds(position)
    labels = np.zeros(shape, np.int32)
    labels[radius < 1 - 0.04 * folds] = 1
    # Cortex also lies between the hemispheres, except where fibres join them.
    between = (np.abs(side) < 0.05) & (radius > 0.55)
    labels[(radius < 0.82 - 0.09 * folds) & ~between] = 2
    position[..., 1] = np.abs(side)
    for left, right, center, size in _INNER_STRUCTURES:
        inside = _length(position - center[: len(shape)], size) < 1
        labels[inside] = np.where(side > 0, right, left)[inside]
    return labels


def _length(vectors, radii):
    """Return the lengths of vectors in units of an ellipsoid with these radii."""
    return np.linalg.norm(vectors / radii[: vectors.shape[-1]], axis=-1)


def _folds(position):
    """Return a wave around the brain, from -1 on a gyrus to 1 in a sulcus."""
    direction = position / np.maximum(_length(position, (1, 1, 1))[..., None], 1e-6)
    # The sum of waves along several fixed directions is not periodic.
    waves = 11 * np.random.default_rng(0).normal(size=(position.shape[-1], 8))
    return np.clip(np.cos(direction @ waves).mean(axis=-1) / 0.3, -1, 1)
