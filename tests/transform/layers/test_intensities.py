import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.intensities import estimate_background
from dipy_nn_reg.transform.layers.intensities import Background, RescaleIntensity

pytestmark = pytest.mark.backends


@pytest.mark.parametrize("shape", [(40, 30), (12, 10, 11), (300, 280), (60, 50, 55)])
def test_rescale_each_image_and_channel(shape, rng):
    images = rng.normal(size=(2, *shape, 2)).astype(np.float32)
    images[0, ..., 1] = 7
    rescaled = keras.ops.convert_to_numpy(RescaleIntensity()(images))
    npt.assert_array_equal(rescaled[0, ..., 1], 0)
    max_size = {2: 256, 3: 48}[len(shape)]
    every = tuple(slice(None, None, -(-n // max_size)) for n in shape)
    for item, channel in ((0, 0), (1, 0), (1, 1)):
        values = images[item, ..., channel]
        low, high = np.percentile(values[every], [0.1, 99.9])
        expected = np.clip((values - low) / (high - low), 0, 1)
        npt.assert_allclose(rescaled[item, ..., channel], expected, atol=1e-5)


def test_rescale_is_not_misled_by_outliers(rng):
    image = rng.random((1, 30, 30, 30, 1)).astype(np.float32)
    spoilt = image.copy()
    spoilt[0, 3, :2, :4] = 50
    clean, actual = (
        keras.ops.convert_to_numpy(RescaleIntensity()(x)) for x in (image, spoilt)
    )
    assert np.abs(clean - actual)[spoilt == image].max() < 0.01


def test_rescale_of_a_small_object_on_a_constant_background_is_by_the_extremes():
    images = np.zeros((1, 50, 50, 50, 1), np.float32)
    images[0, 20:22, 20:22, 20:22] = 4
    npt.assert_array_equal(
        keras.ops.convert_to_numpy(RescaleIntensity()(images)), images / 4
    )


@pytest.mark.parametrize("shape", [(9, 12), (300, 5), (7, 8, 9), (60, 50, 4)])
def test_background_agrees_with_that_of_arrays(shape, rng):
    """Only some voxels of large faces are used, which hardly changes a median."""
    images = rng.random((2, *shape, 3)).astype(np.float32)
    images[:, 2:-2, 2:-2] += 5
    actual = keras.ops.convert_to_numpy(Background()(images))
    expected = [
        [estimate_background(image[..., c]) for c in range(3)] for image in images
    ]
    exact = max(shape) <= 48
    npt.assert_allclose(actual, expected, atol=1e-7 if exact else 0.1)
