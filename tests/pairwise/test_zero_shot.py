import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import correlate1d

from dipy_nn_reg import DeformableRegistration, register
from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.checks import Pretrained
from dipy_nn_reg.data.phantoms import make_phantoms
from dipy_nn_reg.mapping.maps import displacement_of
from dipy_nn_reg.mapping.pair_on_grid import PairOnGrid
from dipy_nn_reg.pairwise.zero_shot import _factor, predict_pretrained

SHAPES = {2: (39, 44), 3: (27, 32, 30)}


@pytest.mark.parametrize("ndim", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_the_prediction_is_that_of_the_model(ndim):
    moving, static = make_phantoms(2, shape=SHAPES[ndim], seed=0)[0]
    pair = PairOnGrid(
        moving[..., None], static[..., None], Annotations(), np.eye(ndim + 1)
    )
    dials = {"smoothness": 0.8, "passes": 2}
    parts, velocity, stride = predict_pretrained(Pretrained(**dials), pair)
    model = DeformableRegistration.pretrained(ndim=ndim, **dials)
    expected = model.predictor.predict_on_grid(*pair[:2])
    npt.assert_allclose(parts.displacement, expected.parts.displacement, atol=1e-4)
    npt.assert_allclose(parts.invert(), expected.parts.invert(), atol=1e-4)
    npt.assert_allclose(velocity, expected.velocity, atol=1e-4)
    assert stride == expected.stride and np.abs(parts.displacement).max() > 0.5


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((80, 96, 80), 1),
        ((160, 205, 165), 2),
        ((400, 400, 70), 2),
        ((400, 400, 20), 1),
        ((28, 28), 1),
        ((192, 160), 1),
        ((300, 400), 2),
        ((800, 900), 4),
    ],
)
def test_large_images_are_shrunk_for_the_model(shape, expected):
    assert _factor(shape) == expected


@pytest.mark.slow
def test_the_field_of_large_images_is_that_of_shrunk_ones():
    shape = (512, 400)
    (small,), _ = make_phantoms(1, shape=(256, 200), seed=0)
    # Each pixel repeated, so that the mean of four is the pixel of the small image.
    images = [np.kron(i, np.ones((2, 2)))[..., None] for i in (small, small[::-1])]
    images = [image.astype(np.float32) for image in images]
    pair = PairOnGrid(*images, Annotations(), np.eye(3))
    parts, _, stride = predict_pretrained(Pretrained(), pair)
    model = DeformableRegistration.pretrained(ndim=2)
    expected = model.predict_field(small[None], small[::-1])[0]
    assert stride == 2 and parts.displacement.shape == (*shape, 2)
    # Linear interpolation at a quarter of a pixel to both sides, and the mean of it.
    for axis in (0, 1):
        expected = correlate1d(expected, [1 / 8, 3 / 4, 1 / 8], axis, mode="nearest")
    found = parts.displacement.reshape(256, 2, 200, 2, 2).mean((1, 3))
    npt.assert_allclose(found, 2 * expected, atol=1e-3)


@pytest.mark.slow
def test_register_starts_from_it_and_chooses_the_loss():
    (moving,), _ = make_phantoms(1, shape=SHAPES[3], contrast="t2", seed=1)
    (static,), _ = make_phantoms(1, shape=SHAPES[3], seed=2)
    options = {"prealign": None, "model": "pretrained"}
    mapping, outcome = register(moving, static, **options)
    assert outcome.used == "model, optimized" and outcome.loss == "mi"
    assert outcome.loss_after < outcome.loss_before
    mapping, outcome = register(moving, static, optimize=False, **options)
    assert outcome.used == "model"
    assert np.abs(displacement_of(mapping)).max() > 0.3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "nothing"}, r"model to be one of \['pretrained'\].*'nothing'"),
        ({"model": 3}, "model to be a DeformableRegistration.*'pretrained'.*3"),
        ({"model": "pretrained", "num_channels": 2}, "one channel.*num_channels=2"),
    ],
)
def test_what_it_does_not_take_is_refused_at_once(options, message, rng):
    images = rng.random((2, 20, 20, 20, 2))
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        register(*images, **options)
