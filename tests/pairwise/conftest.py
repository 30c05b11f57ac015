"""Images for the descents of a displacement and of a velocity."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates


@pytest.fixture
def texture():
    """Return a maker of random images from 0 to 1."""

    def make(rng, shape):
        image = gaussian_filter(rng.random(shape), 1.5)
        return ((image - image.min()) / np.ptp(image)).astype(np.float32)

    return make


@pytest.fixture
def make_pair(rng, smooth_field, texture):
    """Return a maker of two images and the displacement from static to moving."""

    def make(shape, largest=2.0):
        displacement = smooth_field(shape, sigma=6, largest=largest)
        moving = texture(rng, shape)
        positions = np.indices(shape) + np.moveaxis(displacement, -1, 0)
        static = map_coordinates(moving, positions, order=1, mode="grid-constant")
        return moving, static, displacement

    return make
