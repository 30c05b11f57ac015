import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.checks.images import (
    check_contrast,
    check_images,
    check_pairs,
    check_training_pairs,
)

LAYOUT = {"ndim": 2, "num_channels": 1}


def test_layouts_of_pairs():
    moving = np.ones((3, 5, 4))
    for static in (np.ones((5, 4)), np.ones((5, 4, 1)), np.ones((1, 5, 4))):
        checked = check_pairs(moving, static, **LAYOUT)
        assert [c.shape for c in checked] == [(3, 5, 4, 1), (1, 5, 4, 1)]
    checked = check_pairs(moving[..., None], moving, **LAYOUT)
    assert [c.shape for c in checked] == [(3, 5, 4, 1)] * 2
    moving = np.ones((3, 5, 4, 6, 2))
    checked = check_pairs(moving, moving[0], ndim=3, num_channels=2)
    assert [c.shape for c in checked] == [(3, 5, 4, 6, 2), (1, 5, 4, 6, 2)]


def test_images_are_not_copied():
    images = np.ones((3, 5, 4), np.uint8)
    checked = check_images(images, name="moving", **LAYOUT)
    assert np.shares_memory(checked, images)
    npt.assert_array_equal(checked[..., 0], images)


@pytest.mark.parametrize(
    ("moving", "message"),
    [
        (np.ones((5, 4)), r"moving of shape \(n, x, y, 1\) or \(n, x, y\).*\(5, 4\)"),
        (np.ones((2, 5, 4, 3)), r"moving of shape.*\(2, 5, 4, 3\)"),
        (np.ones((0, 5, 4)), r"at least one image.*\(0, 5, 4\)"),
        (np.ones((2, 0, 4)), "two voxels or more"),
        (np.ones((28, 28, 1)), r"two voxels or more.*\(28, 28, 1\)"),
        (np.array([[[-3e38, 3e38]] * 2], np.float32), "range of float32"),
        (np.full((2, 5, 4), np.nan), "finite values in .*moving.*nan"),
        (np.full((2, 5, 4), -np.inf), "finite values in moving.*-inf"),
        (np.full((2, 5, 4), 1e39), "range of float32"),
        (np.full((2, 5, 4), "a"), "real numbers in moving.*<U1"),
        (np.ones((2, 5, 4), complex), "real numbers in moving.*complex128"),
    ],
)
def test_invalid_images_are_refused(moving, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        check_images(moving, name="moving", **LAYOUT)


@pytest.mark.parametrize(
    ("static", "message"),
    [
        (np.ones((5, 3)), r"size of the moving ones, \(5, 4\). Received.*\(5, 3\)"),
        (np.ones((1, 5, 3)), r"size of the moving ones, \(5, 4\). Received.*\(5, 3\)"),
        (np.ones((2, 5, 4)), "one for each of the 3 moving images. Received 2"),
        (np.full((5, 4), np.nan), "finite values in static"),
        (None, "static of shape"),
    ],
)
def test_static_images_of_another_size_or_number_are_refused(static, message):
    with pytest.raises(ValueError, match=message):
        check_pairs(np.ones((3, 5, 4)), static, **LAYOUT)


def test_training_pairs_need_a_static_image_or_two_images():
    moving, static = check_training_pairs(np.ones((2, 5, 4)), None, **LAYOUT)
    assert moving.shape == (2, 5, 4, 1)
    assert static is None
    with pytest.raises(ValueError, match="one moving image and static=None"):
        check_training_pairs(np.ones((1, 5, 4)), None, **LAYOUT)


def test_contrast_that_float32_loses_is_refused(rng):
    contrast = rng.random((1, 5, 4, 1))
    check_contrast(100 + contrast, name="static")
    with pytest.raises(ValueError, match="Expected static with contrast.*Received"):
        check_contrast(1e8 + contrast, name="static")


@pytest.mark.parametrize("channels", [1, 2])
def test_contrast_is_checked_for_each_image_and_channel(channels, rng):
    images = rng.random((2, 12, 11, channels)) * 1e9
    images[1, ..., -1] = 1e8 + rng.random((12, 11))  # constant in float32
    with pytest.raises(ValueError, match="contrast that float32 holds"):
        check_pairs(images, images[:1], ndim=2, num_channels=channels)
