import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.cohort.people import _composed
from dipy_nn_reg.metrics import folding


def waves(points, size, length=7.0):
    """Return smooth vectors at points, shape (*spatial, ndim)."""
    return size * np.sin(2 * np.pi * np.roll(points, 1, axis=-1) / length)


@pytest.mark.parametrize("shape", [(20, 23, 18), (20, 23, 1), (24, 21)])
def test_a_map_after_a_correction_is_that_of_the_closed_form(shape):
    points = np.moveaxis(np.indices(shape, float), 0, -1)
    correction = waves(points, 0.4, length=19)
    if 1 in shape:
        correction[..., -1] = 0  # within the slice
    expected = correction + waves(points + correction, 0.25)
    found = _composed(np.float32(waves(points, 0.25)), np.float32(correction))
    inner = tuple(slice(4, -4) if n > 1 else slice(None) for n in shape)
    # Linear interpolation misses by 0.012 on average, and by 0.023.
    npt.assert_allclose(found[inner], expected[inner], atol=0.01)


def test_what_folds_is_mended(rng):
    steep = rng.normal(size=(12, 14, 11, 3)).astype(np.float32)
    still = np.zeros_like(steep)
    assert folding(steep, strict=True) > 1
    assert folding(_composed(steep, still), strict=True) == 0
