from itertools import combinations, product

import numpy as np
import pytest


def self_similarity(image, radius, dilation):
    *shape, channels = image.shape
    grid = np.indices(shape)

    def read(array, offset):  # with the border repeated
        axes = zip(grid, offset, shape)
        return array[tuple(np.clip(i + o, 0, n - 1) for i, o, n in axes)]

    unit = np.eye(len(shape), dtype=int)
    neighbours = dilation * np.concatenate([unit, -unit])
    patch = list(product(range(-radius, radius + 1), repeat=len(shape)))
    distances = []
    for one, other in combinations(neighbours, 2):
        if one @ other == 0:  # not opposite each other
            squares = (read(image, one) - read(image, other)) ** 2
            distances.append(np.mean([read(squares, step) for step in patch], axis=0))
    assert len(distances) == {2: 4, 3: 12}[len(shape)]
    distances = distances - np.min(distances, axis=0)
    variance = np.mean(distances, axis=0)
    usual = variance.reshape(-1, channels).mean(axis=0)
    return np.exp(-distances / np.clip(variance, 1e-3 * usual, 1e3 * usual))


@pytest.fixture
def mind_reference():
    """Return MIND-SSC of one image, by loops over voxels and patches in NumPy."""

    def mind_reference(static, warped, weights, *, radius=1, dilation=2):
        static, warped = (
            self_similarity(i, radius, dilation) for i in (static, warped)
        )
        squares = np.mean((static - warped) ** 2, axis=(0, -1))
        return np.average(squares, weights=weights)

    return mind_reference


@pytest.fixture
def make_images(rng):
    """Return a maker of two dependent images."""

    def make(shape):
        static, noise = rng.random((2, *shape), dtype=np.float32)
        return static, 0.7 * (1 - static) ** 2 + 0.3 * noise

    return make


@pytest.fixture
def make_mask(rng):
    """Return a maker of masks: 0 or 1 for "voxels", from 0 to 1 for "fractions"."""

    def make(shape, kind):
        if kind is None:
            return None
        shape = (*shape[:-1], 1)
        inside = rng.integers(0, 2, shape).astype(np.float32)
        # A warped mask has fractions at its border.
        return inside if kind == "voxels" else inside * rng.random(shape, np.float32)

    return make
