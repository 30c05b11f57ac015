"""Several predictions of a field, each for the image that those before have warped."""

import keras
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from dipy_nn_reg import AffineRegistration, DeformableRegistration
from dipy_nn_reg.training.keras_model import RegistrationModel


def plateaus(rng, shape):
    """Return an image with plateaus of 0 and 1, whose range warping does not change."""
    noise = gaussian_filter(rng.normal(size=shape), 3)
    inner = np.zeros(shape)
    inner[tuple(slice(4, -4) for _ in shape)] = 1
    image = np.clip(0.5 + noise / noise.std(), 0, 1) * inner
    return image.astype(np.float32)


def moved(displacement):
    return np.indices(displacement.shape[:-1]) + np.moveaxis(displacement, -1, 0)


def twin_models(shape, rng, *, scale=0.02, **options):
    """Return models of one pass and of two, with the same random weights."""
    options = {"input_shape": shape, "seed": 0, "network": "voxelmorph1", **options}
    once, twice = (DeformableRegistration(passes=n, **options) for n in (1, 2))
    weights = [w + scale * rng.normal(size=w.shape) for w in once.model.get_weights()]
    for model in (once, twice):
        model.model.set_weights(weights)
    return once, twice


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((37, 42), {"transform": "displacement"}),
        ((36, 44), {"transform": "bspline_velocity", "scale": 0.04}),
        ((27, 34, 29), {"network": "pyramid", "scale": 0.1}),
    ],
)
@pytest.mark.usefixtures("tiny_pyramid")
def test_the_second_pass_sees_the_image_after_the_first(shape, options, rng):
    assert_twice_is_after_once(*twin_models(shape, rng, **options), shape, rng)


@pytest.mark.parametrize("smoothness", [0.1, 0.9])
def test_the_dial_reaches_each_pass(smoothness, tiny_pyramid, rng):
    options = {"network": "pyramid", "smoothness": "any", "scale": 0.1}
    models = twin_models((37, 42), rng, **options)
    assert_twice_is_after_once(*models, (37, 42), rng, smoothness=smoothness)


def assert_twice_is_after_once(once, twice, shape, rng, **dial):
    """Compare two passes with one after the other, composed by SciPy."""
    moving, static = plateaus(rng, shape), plateaus(rng, shape)
    first = once.predict_field(moving[None], static, **dial)[0]
    positions = moved(first)
    warped = map_coordinates(moving, positions, order=1, mode="grid-constant")
    second = once.predict_field(np.float32(warped)[None], static, **dial)[0]
    read = [
        map_coordinates(component, moved(second), order=1, mode="nearest")
        for component in np.moveaxis(first, -1, 0)
    ]
    expected = second + np.stack(read, axis=-1)
    found = twice.predict_field(moving[None], static, **dial)[0]
    npt.assert_allclose(found, expected, atol=2e-3)
    assert np.abs(expected - first).max() > 0.3


@pytest.mark.parametrize("stage", [False, True])
def test_the_map_is_that_of_all_passes_and_its_inverse_leads_back(stage, rng):
    shape = (37, 42)
    affine = None
    if stage:
        affine = AffineRegistration(input_shape=shape, seed=0)
        weights = affine.model.get_weights()
        weights[-1] = np.float32([0.03, 0.05, 1, -0.05, 0.02, -2]) / 10
        affine.model.set_weights(weights)
    _, model = twin_models(shape, rng, affine=affine)
    moving, static = plateaus(rng, shape), plateaus(rng, shape)
    mapping = model.predict_mapping(moving, static)
    warped = model.predict(moving[None], static)[0]
    assert np.abs(warped - moving).max() > 0.1
    inside = np.s_[4:-4, 4:-4]
    npt.assert_allclose(mapping.transform(moving)[inside], warped[inside], atol=2e-3)
    points = np.argwhere(np.ones(shape))[::7].astype(float)
    points = points[np.all((points > 8) & (points < np.array(shape) - 9), axis=1)]
    back = mapping.transform_points_inverse(mapping.transform_points(points))
    assert np.linalg.norm(back - points, axis=1).mean() < 0.05


def test_the_passes_are_trained_together_and_saved(rng, tmp_path):
    _, model = twin_models((20, 24), rng)
    images = np.stack([plateaus(rng, (20, 24)) for _ in range(4)])
    before = model.model.get_weights()
    history = model.fit(images, epochs=1, batch_size=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert any(np.any(a != b) for a, b in zip(before, model.model.get_weights()))
    model.save(tmp_path / "model.keras")
    loaded = DeformableRegistration.load(tmp_path / "model.keras")
    expected = model.predict_field(images[:1], images[1])
    found = loaded.predict_field(images[:1], images[1])
    assert loaded.model.options["passes"] == 2
    npt.assert_allclose(found, expected, atol=1e-5)


def test_models_of_earlier_versions_predict_once(rng):
    """They had no option symmetric, and a number of passes that was not used."""
    once, twice = twin_models((20, 24), rng)
    config = twice.model.get_config()
    del config["symmetric"]
    model = RegistrationModel.from_config({**config, "passes": 3})
    model.set_weights(once.model.get_weights())
    images = rng.random((2, 1, 20, 24, 1), np.float32)
    images = dict(zip(("moving", "static"), images))
    found, expected, other = (
        keras.ops.convert_to_numpy(m(images)["displacement"])
        for m in (model, once.model, twice.model)
    )
    npt.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - other).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"passes": 0}, "passes to be an integer >= 1.*0"),
        ({"passes": 1.5}, "passes to be an integer.*1.5"),
        ({"passes": 101}, "passes to be at most 100.*101"),
        ({"passes": 2, "symmetric": True}, "passes=1 with symmetric=True.*passes=2"),
    ],
)
def test_other_passes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DeformableRegistration(input_shape=(20, 24), **options)
