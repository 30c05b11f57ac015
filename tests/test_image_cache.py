import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.image_cache import cache_images, compact


@pytest.mark.parametrize("dtype", [np.float16, np.int32])
def test_images_are_in_their_order_in_a_file(dtype, rng, tmp_path):
    images = (100 * rng.random((7, 4, 5, 3))).astype(dtype)
    found = cache_images(range(7), lambda i: images[i], tmp_path, name="moving")
    assert isinstance(found, np.memmap) and found.dtype == dtype
    npt.assert_array_equal(found, images)
    del found
    npt.assert_array_equal(np.load(tmp_path / "moving.npy"), images)


def test_an_error_comes_through(tmp_path):
    def fail(i):
        raise ValueError(f"Nothing in image {i}.")

    with pytest.raises(ValueError, match=r"^Nothing in image 0\.$"):
        cache_images(range(3), fail, tmp_path, name="moving")


def test_compact_images_keep_their_contrast(rng):
    image = rng.normal(size=(9, 8, 7)) * 1e5 - 3e6
    small = compact(image)
    assert small.dtype == np.float16 and small.min() == 0 and small.max() == 1
    npt.assert_allclose(small, (image - image.min()) / np.ptp(image), atol=5e-4)
    npt.assert_array_equal(compact(np.full((2, 2), 7)), 0)
