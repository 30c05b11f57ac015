"""Fixture of phantoms with a known distortion."""

from typing import NamedTuple

import numpy as np
import pytest

from dipy_nn_reg.data.distortions import distort, make_distortion
from dipy_nn_reg.data.phantoms import make_phantoms


class Distorted(NamedTuple):
    """An image, where its object is, its field, and what EPI shows of it."""

    image: np.ndarray
    inside: np.ndarray
    field: np.ndarray
    up: np.ndarray
    down: np.ndarray


@pytest.fixture(scope="session")
def make_distorted():
    """Return a maker of pairs with opposite distortion, up to 8 voxels by default."""

    def make(shape, *, axis, seed, noise=0.0, **options):
        images, labels = make_phantoms(1, shape=shape, seed=seed)
        field = make_distortion(shape, seed=seed, **options)
        rng = np.random.default_rng(100 + seed)
        # Noise of the magnitude of a complex number, as scanners have it.
        pair = [
            np.hypot(
                distort(images[0], field, axis=axis, sign=sign)
                + noise * rng.normal(size=shape),
                noise * rng.normal(size=shape),
            )
            for sign in (1, -1)
        ]
        return Distorted(images[0], labels[0] > 0, field, *np.float32(pair))

    return make
