import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import gaussian_filter

from dipy_nn_reg import register
from dipy_nn_reg.mapping.maps import displacement_of
from dipy_nn_reg.pairwise.channels import default_losses
from dipy_nn_reg.pairwise.options import LOSS, LOSS_OF_TWO_CONTRASTS

STILL = np.eye(8, 9)


def texture(rng, shape):
    return gaussian_filter(rng.normal(size=shape), 2).astype(np.float32)


def test_the_default_depends_on_the_contrast_of_each_channel():
    assert default_losses([True, False]) == [LOSS, LOSS_OF_TWO_CONTRASTS]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"moving": [STILL]}, "a list of 1 and a list of 2"),
        ({"moving": STILL}, "one image and a list of 2"),
        ({"loss": ["ncc"]}, "Expected loss for each of 2 channels"),
        ({"loss": ["ncc", "dice"]}, "Expected loss to be one of.*dice"),
        ({"channel_weights": [1, 2, 3]}, "channel_weights for each of 2 channels"),
        ({"channel_weights": [1, -1]}, "each of channel_weights.*-1"),
        ({"num_channels": 3}, "num_channels=2, one for each image"),
    ],
)
def test_other_numbers_are_refused(options, message):
    options = {"moving": [STILL, STILL], "static": [STILL, STILL], **options}
    with pytest.raises(ValueError, match=message):
        register(**options, prealign=None)


@pytest.mark.parametrize(
    "shape", [(40, 44), pytest.param((28, 30, 26), marks=pytest.mark.slow)]
)
def test_each_channel_adds_what_the_other_one_does_not_show(shape, rng):
    """Each image is flat in one half, where the other one shows the motion."""
    half = np.zeros(shape, np.float32)
    half[shape[0] // 2 :] = 1
    static = [texture(rng, shape) * half, texture(rng, shape) * (1 - half)]
    moving = [np.roll(image, 2, axis=1) for image in static]
    # The contrast of the second one is another in the moving person.
    moving[1] = moving[1].max() - moving[1]
    mapping, outcome = register(
        moving, static, prealign=None, loss=["lncc", "mi"], smoothness=2
    )
    assert outcome.loss == "lncc, mi"
    inner = tuple(slice(n // 5, -(n // 5)) for n in shape)
    shift = displacement_of(mapping)[inner][..., 1]
    for part in np.array_split(shift, 2):
        npt.assert_allclose(np.median(part), 2, atol=0.35)


def test_a_weight_gives_one_channel_the_say(rng):
    shape = (40, 44)
    static = [texture(rng, shape), texture(rng, shape)]
    moving = [np.roll(static[0], 2, axis=1), np.roll(static[1], -2, axis=1)]
    for weights, expected in (([1, 1e-3], 2), ([1e-3, 1], -2)):
        mapping, _ = register(moving, static, prealign=None, channel_weights=weights)
        inner = displacement_of(mapping)[8:-8, 8:-8, 1]
        npt.assert_allclose(np.median(inner), expected, atol=0.3)


def test_the_loss_of_each_channel_is_chosen(rng):
    shape = (48, 44)
    static = [texture(rng, shape), texture(rng, shape)]
    moving = [np.roll(image, 1, axis=0) for image in static]
    moving[1] = -moving[1]
    _, outcome = register(moving, static, prealign=None)
    assert outcome.loss == "lncc, mi"
