import keras
import numpy.testing as npt
import pytest

from dipy_nn_reg.networks.unet import encode

pytestmark = pytest.mark.backends


def test_encoder_halves_the_resolution_and_keeps_skip_connections():
    x = keras.Input((9, 12, 1))
    features, skips = encode(x, (4, 8), seed=lambda: 0)
    assert features.shape == (None, 3, 3, 8)
    assert [skip.shape[1:] for skip in skips] == [(9, 12, 1), (5, 6, 4)]


@pytest.mark.parametrize("spacing", [3, 6, 32])
def test_any_spacing(spacing, predict):
    points = [-(-n // spacing) for n in (45, 33)]
    assert predict("unet", (45, 33), spacing=spacing).shape == (1, *points, 3)


def test_it_is_compact_and_starts_at_zero(build, predict):
    network = build("unet", ndim=2)
    assert network.count_params() < 300_000
    npt.assert_array_equal(predict("unet", (9, 9)), 0)
