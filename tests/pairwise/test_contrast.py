import numpy as np
import pytest

from dipy_nn_reg import register
from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.data.phantoms import make_phantoms
from dipy_nn_reg.mapping.pair_on_grid import PairOnGrid
from dipy_nn_reg.pairwise.contrast import contrasts_agree, local_agreement


def pair_of(static, moving, mask=None):
    annotations = Annotations(mask=mask)
    moving, static = (i[..., None].astype(np.float32) for i in (moving, static))
    return PairOnGrid(moving, static, annotations, np.eye(static.ndim))


def invert(image):
    return np.where(image > 0.1, 1.2 - image, 0)


@pytest.mark.parametrize("shape", [(60, 52), (36, 40, 33), (130, 97)])
def test_people_of_one_contrast_agree_and_inverted_contrast_does_not(shape):
    (one, other), _ = make_phantoms(2, shape=shape, seed=1)
    assert contrasts_agree(pair_of(one, other))
    assert contrasts_agree(pair_of(one, 100 * other + 3))
    assert not contrasts_agree(pair_of(one, invert(other)))


def test_the_agreement_of_an_image_with_itself_is_one():
    (image,), _ = make_phantoms(1, shape=(50, 44), seed=2)
    assert local_agreement(pair_of(image, image))[0] == pytest.approx(1)
    assert local_agreement(pair_of(image, -image))[0] == pytest.approx(-1)


def test_only_the_mask_counts():
    (image,), _ = make_phantoms(1, shape=(50, 44), seed=2)
    mask = np.zeros(image.shape)
    mask[:22] = 1
    half = np.where(mask > 0, image, -image)
    assert local_agreement(pair_of(image, half))[0] < 0.6
    assert local_agreement(pair_of(image, half, mask))[0] > 0.9


def test_flat_images_agree():
    flat = np.zeros((20, 20))
    assert np.isnan(local_agreement(pair_of(flat, flat))[0])
    assert contrasts_agree(pair_of(flat, flat))


def test_the_error_is_the_spread_over_independent_samples(rng):
    """Windows of noise that is made anew are as independent as those far apart."""
    shape, found = (40, 40), []
    for _ in range(200):
        one, noise = rng.random((2, *shape))
        found.append(local_agreement(pair_of(one, one + 3 * noise)))
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
            assert contrasts_agree(pair_of(one, other))
        assert not contrasts_agree(pair_of(one, 1 - one))


def test_register_chooses_the_loss_and_says_which(dipy_log):
    (one, other), _ = make_phantoms(2, shape=(40, 44), seed=1)
    options = {"prealign": None, "level_iters": [2]}
    assert register(other, one, **options)[1].loss == "lncc"
    assert register(invert(other), one, **options)[1].loss == "mi"
    assert "contrasts of the images differ" in dipy_log.text
    assert register(invert(other), one, loss="mind", **options)[1].loss == "mind"
