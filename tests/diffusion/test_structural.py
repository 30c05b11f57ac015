import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.data.distortions import distort, make_distortion
from dipy_nn_reg.data.phantoms import make_phantoms
from dipy_nn_reg.diffusion.structural import _predict, estimate_distortion_to


@pytest.mark.parametrize(
    ("shape", "axis", "bound"),
    [
        ((64, 64), 1, 0.9),
        ((40, 47, 36), 1, 0.4),
        pytest.param((64, 72, 48), 0, 0.4, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("contrast", ["t1", "t2"])
def test_errors_are_a_part_of_the_distortion(contrast, shape, axis, bound):
    """An image in the contrast of T2, beside an undistorted one in the same or T1."""
    (image,), (labels,) = make_phantoms(1, shape=shape, contrast="t2", seed=2)
    (reference,), _ = make_phantoms(1, shape=shape, contrast=contrast, seed=2)
    field = make_distortion(shape, seed=2)
    found = estimate_distortion_to(
        distort(image, field, axis=axis), reference, axis=axis
    )
    inside = labels > 0
    before, error = np.abs(field)[inside].mean(), np.abs(found - field)[inside].mean()
    assert found.dtype == np.float32 and found.shape == shape
    assert error < bound and error < 0.3 * before
    assert np.abs(np.diff(found, axis=axis)).max() < 1


def test_the_sign_is_that_of_the_image():
    image = np.zeros((40, 36), np.float32)
    image[14:24, 12:22] = np.random.default_rng(0).random((10, 10)) + 1
    for shift in (2, -2):
        field = estimate_distortion_to(np.roll(image, shift, 0), 3 - image, axis=0)
        npt.assert_allclose(field[16:22, 14:20], shift, atol=0.3)


def test_empty_images_have_no_distortion():
    image = np.random.default_rng(0).random((20, 20))
    npt.assert_array_equal(estimate_distortion_to(image, 0 * image, axis=0), 0)


def test_a_prediction_is_the_mean_at_an_intensity(rng):
    reference = rng.choice(np.float32([0, 0.3, 0.6, 0.9]), (30, 30))
    image = 2 - reference + 0.1 * rng.normal(size=(30, 30)).astype(np.float32)
    found = _predict(image, reference)
    for value in (0, 0.3, 0.6, 0.9):
        there = reference == np.float32(value)
        npt.assert_allclose(found[there], image[there].mean(), atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": np.ones((20, 21))}, r"image and reference of one shape"),
        ({"image": np.full((20, 20), np.inf)}, "finite values in image"),
        ({"axis": 2}, "axis to be an integer"),
        ({"smoothness": -1}, "smoothness"),
    ],
)
def test_invalid_input_is_refused(change, message):
    options = {"image": np.ones((20, 20)), "reference": np.ones((20, 20)), "axis": 0}
    options |= change
    with pytest.raises(ValueError, match=message):
        estimate_distortion_to(
            options.pop("image"), options.pop("reference"), **options
        )
