import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.intensities import estimate_background, replace_nan


@pytest.mark.parametrize("shape", [(30, 40), (20, 24, 18), (30, 40, 1), (1, 30, 40)])
@pytest.mark.parametrize("background", [0, -1000, 255, 0.25])
def test_an_object_may_touch_some_faces(rng, shape, background):
    image = np.full(shape, background, np.float64)
    inner = tuple(slice(n // 4, None) if n > 1 else slice(None) for n in shape)
    image[inner] = background + 10 + rng.random(image[inner].shape)
    assert estimate_background(image) == background


def test_noise_around_an_object(rng):
    image = rng.normal(100, 2, (40, 40, 40))
    image[10:30, 10:30] += 500
    assert abs(estimate_background(image) - 100) < 1


def test_a_thick_stack_whose_object_fills_the_slices(rng):
    image = np.full((40, 44, 3), -1000.0)
    image[4:-4, 4:-4] = rng.random((32, 36, 3))
    assert estimate_background(image) == -1000


def test_an_affine_change_of_intensities_changes_the_background_alike(rng):
    image = rng.integers(0, 4000, (12, 13, 11))
    background = estimate_background(image)
    assert background in image
    npt.assert_allclose(estimate_background(image * 2.0 - 3e4), background * 2 - 3e4)


def test_nan_becomes_background_with_a_warning(dipy_log):
    image = np.full((8, 9), 7, np.float32)
    image[3:5, 3:5] = 20
    image[:2] = np.nan
    filled = replace_nan(image, name="the scan")
    assert filled.dtype == np.float32
    npt.assert_array_equal(filled[:2], 7)
    npt.assert_array_equal(filled[2:], image[2:])
    assert np.isnan(image[0, 0])  # what came is left as it is
    assert "18 of 72 values of the scan are NaN" in dipy_log.text


def test_what_has_no_nan_is_not_copied():
    for image in (np.ones((3, 3)), np.ones((3, 3), np.uint8)):
        assert replace_nan(image, name="it") is image


def test_nothing_but_nan_is_refused():
    with pytest.raises(ValueError, match="NaN everywhere"):
        replace_nan(np.full((3, 3), np.nan), name="it")
