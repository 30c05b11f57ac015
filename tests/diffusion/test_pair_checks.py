import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.diffusion.pair_checks import (
    along,
    balanced,
    scale_of,
    without_noise_floor,
)


def noisy(rng, shape=(60, 60)):
    signal = np.zeros(shape)
    signal[20:40, 20:40] = 1
    real, imaginary = 0.1 * rng.normal(size=(2, *shape))
    return signal, np.hypot(signal + real, imaginary)


def test_noise_has_a_mean_of_zero_without_its_floor(rng):
    signal, image = noisy(rng)
    found = without_noise_floor(image)
    background = signal == 0
    assert image[background].mean() > 0.12
    assert np.abs(np.mean(found[background] * np.abs(found[background]))) < 0.002
    npt.assert_allclose(np.mean(found[~background] ** 2), 1, atol=0.03)


def test_integers_do_not_overflow(rng):
    _, image = noisy(rng)
    image = np.uint8(200 * image)
    expected = without_noise_floor(image.astype(np.float64))
    npt.assert_array_equal(without_noise_floor(image), expected)
    assert expected.max() > 190


@pytest.mark.parametrize("background", [0, -1, 0.5])
def test_other_backgrounds_stay(background):
    image = np.full((20, 20), background, np.float64)
    image[8:12, 8:12] = 1
    assert without_noise_floor(image) is image


def test_the_scale_is_that_of_both_images():
    images = np.ones((10, 10)), np.full((10, 10), 3.0)
    assert scale_of(*images) == 3
    assert scale_of(np.zeros((10, 10))) == 0
    # A few bright voxels count if there is nothing else.
    image = np.zeros((20, 20))
    image[3, 3] = 5
    assert scale_of(image) == 5


def test_the_axis_comes_first_in_units_of_the_scale(rng):
    image = rng.random((3, 4, 5))
    found = along(image, 2, 0.5)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    npt.assert_allclose(found, 2 * np.moveaxis(image, 2, 0), rtol=1e-6)


def test_a_difference_of_scale_is_undone(rng, dipy_log):
    up = rng.random((5, 6))
    down = up[::-1]
    npt.assert_array_equal(balanced(up, 1.05 * down)[1], 1.05 * down)
    assert not dipy_log.text
    npt.assert_allclose(balanced(up, 3 * down)[1], down)
    assert "differ by a factor of 0.333" in dipy_log.text
    with pytest.raises(ValueError, match="empty"):
        balanced(up, 0 * down)
    assert not balanced(0 * up, 0 * down)[1].any()
