import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dipy_nn_reg import register
from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.data.phantoms import make_phantoms
from dipy_nn_reg.mapping.pair_on_grid import PairOnGrid
from dipy_nn_reg.pairwise.contrast import (
    contrasts_agree,
    contrasts_agree_after,
    local_agreements,
)
from dipy_nn_reg.pairwise.options import LOSS
from dipy_nn_reg.transform.functions import warp


def pair_of(static, moving, mask=None):
    annotations = Annotations(mask=mask)
    moving, static = (i[..., None].astype(np.float32) for i in (moving, static))
    return PairOnGrid(moving, static, annotations, np.eye(static.ndim))


def agree(pair):
    (one,) = contrasts_agree(pair)
    return one


def agreement_of(pair):
    ((agreement, _),) = local_agreements(pair)
    return agreement


def invert(image):
    return np.where(image > 0.1, 1.2 - image, 0)


@pytest.mark.parametrize("shape", [(60, 52), (36, 40, 33), (130, 97)])
def test_people_of_one_contrast_agree_and_inverted_contrast_does_not(shape):
    (one, other), _ = make_phantoms(2, shape=shape, seed=1)
    assert agree(pair_of(one, other))
    assert agree(pair_of(one, 100 * other + 3))
    assert not agree(pair_of(one, invert(other)))


def test_the_agreement_of_an_image_with_itself_is_one():
    (image,), _ = make_phantoms(1, shape=(50, 44), seed=2)
    assert agreement_of(pair_of(image, image)) == pytest.approx(1)
    assert agreement_of(pair_of(image, -image)) == pytest.approx(-1)


def test_only_the_mask_counts():
    (image,), _ = make_phantoms(1, shape=(50, 44), seed=2)
    mask = np.zeros(image.shape)
    mask[:22] = 1
    half = np.where(mask > 0, image, -image)
    assert agreement_of(pair_of(image, half)) < 0.6
    assert agreement_of(pair_of(image, half, mask)) > 0.9


def test_flat_images_agree():
    flat = np.zeros((20, 20))
    assert np.isnan(agreement_of(pair_of(flat, flat)))
    assert agree(pair_of(flat, flat))


def test_the_error_is_the_spread_over_independent_samples(rng):
    """Windows of noise that is made anew are as independent as those far apart."""
    shape, found = (40, 40), []
    for _ in range(200):
        one, noise = rng.random((2, *shape))
        found += local_agreements(pair_of(one, one + 3 * noise))
    agreements, errors = np.transpose(found)
    # Windows that overlap are partly independent, so the error is an upper bound.
    assert agreements.std() < errors.mean() < 4 * agreements.std()


def test_thin_strokes_that_hardly_overlap_are_of_one_contrast():
    """Beside a stroke there is nothing, so the correlation of small windows is low."""
    x, y = np.indices((28, 28))
    strokes = [
        np.clip(2.5 - np.abs(x - 14 - a * np.sin(y / 4 + b)), 0, 1) * (abs(y - 14) < 10)
        for a, b in [(5, 0), (3, 1), (2, 4), (3, -0.5)]
    ]
    for one in strokes:
        for other in strokes:
            assert agree(pair_of(one, other))
        assert not agree(pair_of(one, 1 - one))


@pytest.mark.slow
def test_register_chooses_the_loss_and_says_which(dipy_log):
    (one, other), _ = make_phantoms(2, shape=(40, 44), seed=1)
    options = {"prealign": None, "level_iters": [2]}
    assert register(other, one, **options)[1].loss == "lncc"
    assert register(invert(other), one, **options)[1].loss == "mi"
    assert "contrasts of the images differ" in dipy_log.text
    assert register(invert(other), one, loss="mind", **options)[1].loss == "mind"


@pytest.mark.parametrize("shape", [(48, 44), (32, 34, 30)])
def test_contrasts_agree_after_the_true_displacement(shape, rng, smooth_field):
    """Motion larger than the structures hides before that the contrasts agree."""
    image = gaussian_filter(rng.random(shape), 1.5)
    image = np.clip((image - image.min()) / np.ptp(image), 0.2, None)
    field = smooth_field(shape, sigma=8, largest=6.0)
    moved = warp(image.astype(np.float32), field)
    for change, expected in ((lambda x: 3 * x + 1, True), (lambda x: 2 - x, False)):
        pair = pair_of(change(moved), image)
        assert contrasts_agree_after(pair, field) == [expected]
        assert contrasts_agree_after(pair, 0 * field) == [False]


def test_what_the_moving_image_has_not_seen_does_not_count(rng):
    image = gaussian_filter(rng.random((40, 44)), 1.5).astype(np.float32)
    seen = np.ones(image.shape)
    seen[:, 22:] = 0
    moving = np.where(seen > 0, image, -image)
    still = np.zeros((*image.shape, 2), np.float32)
    pair = pair_of(image, moving)
    assert contrasts_agree_after(pair, still) == [False]
    pair = pair._replace(annotations=Annotations(moving_mask=seen))
    assert contrasts_agree_after(pair, still) == [True]


@pytest.mark.slow
def test_images_that_agree_once_registered_are_registered_again(rng, dipy_log):
    """Bars half of their distance apart are dark where the others are bright."""
    x = np.arange(64) + np.zeros((48, 1))
    inside = gaussian_filter(np.pad(np.ones((32, 48)), 8), 2)
    static, moving = (
        inside * (1 + np.cos((x + shift * inside) * np.pi / 6)) for shift in (0, 4)
    )
    assert not agree(pair_of(static, moving))
    options = {"prealign": None, "smoothness": 0.5}
    mapping, outcome = register(moving, static, **options)
    assert outcome.loss == "lncc"
    assert "differ" in dipy_log.text and "agree" in dipy_log.text
    named, _ = register(moving, static, loss=LOSS, **options)
    np.testing.assert_array_equal(mapping.backward, named.backward)


def test_images_of_two_voxels_along_an_axis_can_be_large(rng):
    image = np.kron(rng.random((90, 45)), np.ones((5, 10)))[..., None] * np.ones(2)
    assert agreement_of(pair_of(image, 2 * image)) == pytest.approx(1)
    assert agreement_of(pair_of(image, -image)) == pytest.approx(-1)
