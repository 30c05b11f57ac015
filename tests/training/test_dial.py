"""Models that are trained for any smoothness, and told one when they predict."""

import pickle

import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import AffineRegistration, DeformableRegistration

pytestmark = pytest.mark.usefixtures("tiny_pyramid")


@pytest.fixture
def dialled(rng):
    """Return a maker of models with random weights, which have a dial."""

    def make(shape, **options):
        model = DeformableRegistration(
            input_shape=shape, network="pyramid", smoothness="any", seed=0, **options
        )
        for weights in model.model.trainable_weights:
            weights.assign_add(0.1 * rng.normal(size=weights.shape))
        return model

    return make


@pytest.mark.backends
@pytest.mark.parametrize("shape", [(20, 23), (12, 11, 14)])
def test_each_way_to_predict_takes_a_smoothness(shape, dialled, rng):
    model = dialled(shape)
    moving, static = rng.random((2, 3, *shape), np.float32)
    inputs = {"moving": moving[..., None], "static": static[..., None]}
    for smoothness in (0.0, 0.25, 1.0):
        # The same network, given the smoothness of each pair by hand.
        dial = np.full((3, 1), smoothness, np.float32)
        outputs = model.model.predict_on_batch(inputs | {"smoothness": dial})
        field = model.predict_field(moving, static, smoothness=smoothness)
        npt.assert_allclose(field, outputs["displacement"], atol=1e-3)
        warped, other = model.predict(
            moving, static, smoothness=smoothness, return_field=True
        )
        npt.assert_allclose(other, field, atol=1e-3)
        mapping = model.predict_mapping(moving[0], static[0], smoothness=smoothness)
        inside = tuple(slice(3, -3) for _ in shape)
        found = mapping.transform(moving[0])[inside]
        npt.assert_allclose(found, warped[0][inside], atol=5e-3)
        measured = model.evaluate(moving, static, smoothness=smoothness, verbose=0)
        pairs = zip(static, warped)
        expected = [np.corrcoef(s.ravel(), w.ravel())[0, 1] for s, w in pairs]
        npt.assert_allclose(measured["ncc_after"], np.mean(expected), atol=1e-4)
    middle = model.predict_field(moving, static, smoothness=0.5)
    npt.assert_array_equal(model.predict_field(moving, static), middle)
    assert np.abs(middle - field).max() > 0.01


def test_exchanged_images_have_the_opposite_velocity_at_each_smoothness(dialled, rng):
    model = dialled((20, 23), symmetric=True)
    images = dict(zip(("moving", "static"), rng.random((2, 1, 20, 23, 1), np.float32)))
    swapped = {"moving": images["static"], "static": images["moving"]}
    for smoothness in (0.0, 0.7):
        dial = {"smoothness": np.full((1, 1), smoothness, np.float32)}
        one, other = (
            model.model.predict_on_batch(pair | dial)["field"]
            for pair in (images, swapped)
        )
        assert np.abs(one).max() > 0.01
        npt.assert_allclose(one, -other, atol=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(
            {"penalty": "inverse_consistency", "num_channels": 2},
            marks=pytest.mark.slow,
        ),
        {"loss": "mind", "penalty": "bending", "precision": "bfloat16"},
        pytest.param({"affine": True}, marks=pytest.mark.slow),
    ],
)
def test_it_goes_with_other_options(options, rng, tmp_path):
    shape, channels = (20, 23), options.get("num_channels", 1)
    if "affine" in options:
        options = {"affine": AffineRegistration(input_shape=shape, seed=0)}
    model = DeformableRegistration(
        input_shape=shape, network="pyramid", smoothness="any", seed=0, **options
    )
    images = rng.random((6, *shape, channels), np.float32)
    history = model.fit(
        images, epochs=1, batch_size=3, validation_data=(images, images[0]), verbose=0
    )
    assert np.isfinite(history.history["loss"] + history.history["val_loss"]).all()
    model.save(tmp_path / "model.keras")
    loaded = DeformableRegistration.load(tmp_path / "model.keras")
    assert loaded.options["smoothness"] == "any"
    for other in (loaded, pickle.loads(pickle.dumps(model))):
        found, expected = (
            m.predict_field(images[:1], images[1], smoothness=0.9)
            for m in (other, model)
        )
        npt.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_a_training_for_any_smoothness_teaches_what_it_is(rng, blobs):
    shape = (16, 20, 18)
    images = blobs(rng, 12, shape)
    model = DeformableRegistration(
        input_shape=shape, network="pyramid", smoothness="any", seed=0
    )
    model.fit(images, epochs=150, batch_size=4, verbose=0)
    roughness = []
    for smoothness in (0, 0.5, 1):
        fields = model.predict_field(images[1:], images[:-1], smoothness=smoothness)
        steps = [np.diff(fields, axis=1 + axis) for axis in range(len(shape))]
        roughness.append(np.mean([np.mean(np.square(step)) for step in steps]))
    rough, middle, smooth = roughness
    assert rough > 1.05 * middle > 1.1 * smooth > 0


@pytest.mark.slow
def test_a_training_resumes_with_the_same_draws(rng, tmp_path):
    images = rng.random((6, 20, 23), np.float32)

    def fit(model, **options):
        model.fit(images, epochs=3, batch_size=3, verbose=0, **options)
        return model.predict_field(images[:1], images[1], smoothness=0.1)

    def make():
        return DeformableRegistration(
            input_shape=(20, 23), network="pyramid", smoothness="any", seed=0
        )

    expected = fit(make())
    model = make()

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            model.save(tmp_path / "model.keras")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, callbacks=[Stop()])
    model = DeformableRegistration.load(tmp_path / "model.keras")
    npt.assert_array_equal(fit(model, resume=True), expected)


def test_a_training_goes_on_from_weights_of_the_same_kind_alone(dialled, tmp_path):
    dialled((20, 23)).save_weights(tmp_path / "any.weights.h5")
    plain = DeformableRegistration(input_shape=(20, 23), network="pyramid")
    with pytest.raises(ValueError, match="any.weights.h5"):
        plain.load_weights(tmp_path / "any.weights.h5")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smoothness": "any"}, "network.*'pyramid'.*'any'.*'unet'"),
        ({"smoothness": "some", "network": "pyramid"}, "smoothness.*'some'"),
        (
            {"smoothness": "any", "network": "pyramid", "penalty": {"tv": 1.0}},
            "smoothness=None.*'any'",
        ),
    ],
)
def test_other_models_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DeformableRegistration(input_shape=(20, 23), **options)


@pytest.mark.parametrize("smoothness", [-0.1, 1.5, "any", True])
def test_a_smoothness_out_of_range_is_refused(smoothness, dialled, rng):
    model = dialled((20, 23))
    images = rng.random((2, 20, 23), np.float32)
    for use in (
        model.predict,
        model.predict_field,
        model.evaluate,
        lambda m, s, **options: model.predict_mapping(m[0], s[0], **options),
    ):
        with pytest.raises(ValueError, match="smoothness.*>= 0 and <= 1"):
            use(images[:1], images[1:], smoothness=smoothness)


@pytest.mark.parametrize("smoothness", [0.5, 0])
def test_a_model_of_one_smoothness_takes_no_other(smoothness, rng):
    images = rng.random((2, 20, 23), np.float32)
    for model in (
        DeformableRegistration(input_shape=(20, 23)),
        AffineRegistration(input_shape=(20, 23)),
    ):
        with pytest.raises(ValueError, match="trained with smoothness='any'"):
            model.predict(images[:1], images[1:], smoothness=smoothness)
