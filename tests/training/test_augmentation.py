"""Random augmentation of pairs of images."""

import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import metrics
from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.training.augmentation import augment

SHAPES = [(3, 28, 31), (2, 24, 20, 22)]


@pytest.mark.parametrize("shape", SHAPES, ids=["2D", "3D"])
def test_labels_and_mask_are_deformed_with_their_images(shape, rng, blobs):
    images = (blobs(rng, shape[0], shape[1:])[..., None] > 0.5).astype(np.float32)
    pair = {"moving": images, "static": images}
    labels = Annotations(moving_labels=images, static_labels=images, mask=images)
    seen, annotations = augment(pair, labels, rng)
    for warped, image in (
        (annotations.moving_labels, "moving"),
        (annotations.mask, "static"),
    ):
        assert metrics.dice(images, warped) < 0.97
        assert metrics.dice(seen[image], warped) > 0.93
        assert set(np.unique(warped)) == {0, 1}
    assert not np.allclose(seen["moving"], seen["static"])
    npt.assert_array_equal(annotations.static_labels, annotations.mask)


def test_range_of_intensities_is_kept(rng):
    flat = np.full((2, 20, 20, 1), 7.0, np.float32)
    flat[:, 5:15, 5:15] = 9
    images, _ = augment({"moving": flat - 7, "static": flat - 7}, Annotations(), rng)
    for image in images.values():
        npt.assert_allclose([image.min(), image.max()], [0, 2], atol=1e-5)


def test_same_generator_gives_the_same_images(blobs):
    image = blobs(np.random.default_rng(0), 2, (20, 22))[..., None]
    first, second = (
        augment({"moving": image}, Annotations(), np.random.default_rng(5))[0]["moving"]
        for _ in range(2)
    )
    npt.assert_array_equal(first, second)


def test_strength_scales_displacements(blobs):
    image = blobs(np.random.default_rng(0), 1, (40, 42))[..., None]

    def difference(strength):
        rng = np.random.default_rng(5)
        seen, _ = augment({"moving": image}, Annotations(), rng, strength=strength)
        return np.abs(seen["moving"] - image).mean()

    # At a strength of 0 the contrast alone changes.
    assert difference(0) < difference(0.1) < difference(0.3) < difference(1)
