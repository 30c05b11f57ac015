"""Padding of images of several sizes."""

import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.intensities import estimate_background
from dipy_nn_reg.training.padding import pad_to_one_size


@pytest.mark.parametrize("channels", [(), (2,)])
@pytest.mark.parametrize("sizes", [[(4, 7), (5, 6)], [(4, 7, 3), (5, 6, 8)]])
def test_lists_are_padded_to_the_largest_size(sizes, channels, rng):
    images = [rng.random((*size, *channels)) for size in sizes]
    masks = [np.ones(size, bool) for size in sizes[::-1]]
    landmarks = [[[1.0, 2.0]], [[3.0, 4.0]]]
    arrays = {"moving": images, "mask": masks, "landmarks": landmarks, "static": None}
    padded = pad_to_one_size(arrays, len(sizes[0]))
    largest = tuple(np.max(sizes, axis=0))
    assert padded["moving"].shape == (2, *largest, *channels)
    assert padded["mask"].shape == (2, *largest)
    assert padded["landmarks"] is landmarks and padded["static"] is None
    for image, result in zip(images, padded["moving"]):
        where = tuple(slice(0, n) for n in image.shape)
        npt.assert_array_equal(result[where], image)
        beyond = np.ones(largest, bool)
        beyond[where[: len(largest)]] = False
        values = np.moveaxis(image.reshape(*image.shape[: len(largest)], -1), -1, 0)
        expected = [estimate_background(channel) for channel in values]
        assert np.all(result[beyond].reshape(beyond.sum(), -1) == expected)
    for mask, result in zip(masks, padded["mask"]):
        assert np.count_nonzero(result) == np.count_nonzero(mask)


def test_arrays_of_one_size_are_not_padded(rng):
    arrays = {"moving": [rng.random((4, 5))] * 2, "static": rng.random((6, 7))}
    assert pad_to_one_size(arrays, 2) is arrays
