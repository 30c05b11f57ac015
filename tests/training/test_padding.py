import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.intensities import estimate_background
from dipy_nn_reg.training.padding import pad_to_one_size


@pytest.mark.parametrize("channels", [(), (2,)])
@pytest.mark.parametrize("sizes", [[(4, 7), (5, 6)], [(4, 7, 3), (5, 6, 8)]])
def test_all_lists_get_the_largest_size_along_each_axis(sizes, channels, rng):
    images = [rng.random((*size, *channels)) for size in sizes]
    masks = [np.ones(size, bool) for size in sizes[::-1]]
    landmarks = [[[1.0, 2.0]], [[3.0, 4.0]]]
    given = {"moving": images, "mask": masks, "landmarks": landmarks, "static": None}
    found = pad_to_one_size(given, len(sizes[0]))
    largest = tuple(np.max(sizes, axis=0))
    assert found["moving"].shape == (2, *largest, *channels)
    assert found["mask"].shape == (2, *largest)
    assert found["landmarks"] is landmarks and found["static"] is None
    for image, padded in zip(images, found["moving"]):
        where = tuple(slice(0, n) for n in image.shape)
        npt.assert_array_equal(padded[where], image)
        beyond = np.ones(largest, bool)
        beyond[where[: len(largest)]] = False
        values = np.moveaxis(image.reshape(*image.shape[: len(largest)], -1), -1, 0)
        expected = [estimate_background(channel) for channel in values]
        assert np.all(padded[beyond].reshape(beyond.sum(), -1) == expected)
    for mask, padded in zip(masks, found["mask"]):
        assert np.count_nonzero(padded) == np.count_nonzero(mask)


def test_what_needs_no_padding_stays_as_it_is(rng):
    given = {"moving": [rng.random((4, 5))] * 2, "static": rng.random((6, 7))}
    assert pad_to_one_size(given, 2) is given
