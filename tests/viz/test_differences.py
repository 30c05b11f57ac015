import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.viz.differences import match_brightness


@pytest.fixture(params=[(60, 61), (24, 26, 25)], ids=["2D", "3D"])
def image(request, rng):
    image = gaussian_filter(rng.random(request.param), 1.5)
    return (image - image.min()) / np.ptp(image)


CURVES = [
    lambda image: image,
    lambda image: 300 - 200 * image,
    lambda image: image**2,
    lambda image: np.sin(3 * image),  # up, then down
]


@pytest.mark.parametrize("curve", CURVES)
def test_no_difference_is_left_where_contrast_alone_differs(curve, image):
    reference = curve(image)
    matched = match_brightness(image, reference)(image)
    assert np.abs(matched - reference).mean() < 0.01 * np.ptp(reference)


def test_an_image_is_matched_to_itself_exactly(image):
    npt.assert_allclose(match_brightness(image, image)(image), image, atol=0.05)
    inner = (image > 0.1) & (image < 0.9)
    npt.assert_allclose(match_brightness(image, image)(image)[inner], image[inner])


@pytest.mark.parametrize("curve", CURVES)
def test_structure_elsewhere_stays_a_difference(curve, image):
    reference = curve(image)
    moved = np.roll(image, 4, axis=0)
    matched = match_brightness(moved, reference)(moved)
    assert np.abs(matched - reference).mean() > 0.1 * np.ptp(reference) * image.std()
    # More than where they fit, by far.
    still = np.abs(match_brightness(image, reference)(image) - reference).mean()
    assert np.abs(matched - reference).mean() > 10 * still


def test_the_curve_has_the_means_of_the_reference():
    image = np.repeat([0.0, 1.0], 50)
    reference = np.concatenate([np.tile([2.0, 4.0], 25), np.full(50, 7.0)])
    match = match_brightness(image, reference)
    npt.assert_allclose(match(np.array([0, 1, 0.5])), [3, 7, 5])


def test_constant_and_unfit_images():
    match = match_brightness(np.ones((4, 4)), np.arange(16.0).reshape(4, 4))
    npt.assert_allclose(match(np.ones(3)), 7.5)
    with pytest.raises(ValueError, match="Expected arrays of one shape.*image.shape"):
        match_brightness(np.ones(3), np.ones(4))
