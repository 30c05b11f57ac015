"""Images and maps of the tests of quality."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.mapping.maps import displacement_to_mapping


@pytest.fixture(params=[(40, 44), (30, 32, 34)], ids=["2D", "3D"])
def image(request, rng):
    return gaussian_filter(rng.random(request.param), 1.5).astype(np.float32)


@pytest.fixture
def shifted(image):
    """Return a maker of maps that read some voxels further along the first axis."""

    def make(by):
        displacement = np.zeros((*image.shape, image.ndim), np.float32)
        displacement[..., 0] = by
        return displacement_to_mapping(displacement, inverse=-displacement)

    return make
