"""Files and copies of a model."""

import copy
import pickle
import subprocess
import sys

import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import AffineRegistration, DeformableRegistration


def test_interruption_while_saving_keeps_the_old_file(tmp_path, monkeypatch):
    registration = DeformableRegistration(seed=0)
    registration.save(tmp_path / "model.keras")
    before = (tmp_path / "model.keras").read_bytes()

    def interrupt(path, *args, **kwargs):
        path.write_bytes(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(registration.model, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        registration.save(tmp_path / "model.keras")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_file_of_an_earlier_version_predicts_the_same(request):
    """Saved at commit 2d78d12, with what was predicted then."""
    files = request.path.with_name("files")
    registration = DeformableRegistration.load(files / "dirnet_2d.keras")
    with np.load(files / "dirnet_2d.npz") as before:
        warped, displacement = registration.predict(
            before["moving"], before["static"], return_field=True
        )
        npt.assert_allclose(warped, before["warped"], atol=1e-6)
        npt.assert_allclose(displacement, before["displacement"], atol=1e-5)


PREDICT_IN_A_NEW_PROCESS = """
import sys
import numpy as np
from dipy_nn_reg import AffineRegistration, DeformableRegistration
images = np.load(sys.argv[2])
registration = DeformableRegistration.load(sys.argv[1])
np.save(sys.argv[3], registration.predict_field(images, images[0]))
"""


@pytest.mark.slow
def test_saved_model_predicts_the_same_in_a_new_process(
    rng, tmp_path, blobs, train_briefly
):
    shape = (8, 9, 10)
    registration = train_briefly(shape, loss="mse", smoothness=0)
    images = blobs(rng, 3, shape)
    expected = registration.predict_field(images, images[0])
    assert np.any(expected)
    path = tmp_path / "model.keras"
    registration.save(path)
    assert list(tmp_path.iterdir()) == [path]
    np.save(tmp_path / "images.npy", images)
    subprocess.run(
        [sys.executable, "-c", PREDICT_IN_A_NEW_PROCESS]
        + [str(tmp_path / name) for name in ("model.keras", "images.npy", "field.npy")],
        check=True,
    )
    npt.assert_array_equal(np.load(tmp_path / "field.npy"), expected)


@pytest.mark.slow
def test_loaded_model_trains_as_the_saved_one(rng, tmp_path, blobs, train_briefly):
    registration = train_briefly()
    registration.save(tmp_path / "model.keras")
    loaded = DeformableRegistration.load(str(tmp_path / "model.keras"))
    assert loaded.model.get_config() == registration.model.get_config()
    images = blobs(rng, 4, (16, 17))
    losses = [r.fit(images, verbose=0).history["loss"] for r in (registration, loaded)]
    npt.assert_allclose(*losses, rtol=1e-5)


def test_weights_are_saved_alone(rng, tmp_path, blobs, train_briefly):
    registration = train_briefly()
    registration.save_weights(tmp_path / "a.weights.h5")
    other = DeformableRegistration(input_shape=(16, 17))
    other.load_weights(tmp_path / "a.weights.h5")
    images = blobs(rng, 2, (16, 17))
    npt.assert_array_equal(
        other.predict(images, images[0]), registration.predict(images, images[0])
    )


def test_other_files_than_models_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.keras"):
        DeformableRegistration.load(tmp_path / "nothing.keras")
    (tmp_path / "text.keras").write_text("no model")
    with pytest.raises(ValueError, match="written by.*text.keras.*no zip archive"):
        DeformableRegistration.load(tmp_path / "text.keras")
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    other.save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match="Expected a file written by.*Sequential"):
        DeformableRegistration.load(tmp_path / "other.keras")
    with pytest.raises(ValueError, match="ends with '.keras'"):
        DeformableRegistration().save(tmp_path / "model.h5")


@pytest.mark.parametrize("kind", [DeformableRegistration, AffineRegistration])
@pytest.mark.parametrize("loader", [DeformableRegistration, AffineRegistration])
def test_a_file_is_loaded_as_what_it_is(kind, loader, tmp_path):
    kind().save(tmp_path / "model.keras")
    assert type(loader.load(tmp_path / "model.keras")) is kind


def squares(static, warped):
    return keras.ops.mean((static - warped) ** 2, axis=(1, 2, 3))


@pytest.mark.parametrize(
    "loss", [squares, lambda static, warped: squares(static, warped)]
)
def test_unregistered_loss_is_not_saved(loss, tmp_path):
    registration = DeformableRegistration(loss=loss, smoothness=1.0)
    with pytest.raises(ValueError, match="Expected loss to be registered"):
        registration.save(tmp_path / "model.keras")
    assert not list(tmp_path.iterdir())


class Unregistered(keras.layers.Layer):
    def call(self, x):
        return 0.5 * x


@keras.saving.register_keras_serializable(package="tests")
class Registered(keras.layers.Layer):
    """A layer whose variable is made of a value and not by an initializer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scale = keras.Variable(np.array([0.5], "f4"), name="scale")

    def call(self, x):
        return self.scale * x


def network_with(layer, ndim=2):
    images = keras.Input((*[None] * ndim, 2))
    return keras.Model(images, layer(images))


def halves(x):
    return 0.5 * x


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.layers.Lambda(lambda x: 0.5 * x),
        lambda: keras.layers.Lambda(halves),
        Unregistered,
        lambda: keras.layers.Activation(halves),
        lambda: network_with(keras.layers.Lambda(halves)),
    ],
    ids=["lambda", "Lambda", "unregistered", "activation", "nested"],
)
def test_unregistered_network_is_not_saved(make, tmp_path):
    registration = DeformableRegistration(
        input_shape=(8, 8), network=network_with(make())
    )
    with pytest.raises(ValueError, match="Expected network to be made of layers"):
        registration.save(tmp_path / "model.keras")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", [Registered, keras.layers.BatchNormalization])
def test_network_of_registered_layers_is_saved_and_loaded(make, tmp_path, rng):
    registration = DeformableRegistration(
        input_shape=(8, 8), network=network_with(make()), smoothness=0.1
    )
    images = rng.random((3, 8, 8))
    registration.fit(images, epochs=1, verbose=0)
    registration.save(tmp_path / "model.keras")
    loaded = DeformableRegistration.load(tmp_path / "model.keras")
    expected = registration.predict(images, images[0])
    npt.assert_array_equal(loaded.predict(images, images[0]), expected)


@pytest.mark.slow
def test_pickled_and_copied_models_train_as_the_first(rng, blobs):
    images = blobs(rng, 5, (16, 17))
    affine = AffineRegistration(input_shape=(16, 17), seed=1)
    first = DeformableRegistration(input_shape=(16, 17), affine=affine, seed=0)
    options = {"epochs": 1, "batch_size": 2, "verbose": 0}
    first.fit(images, **options)
    twins = [pickle.loads(pickle.dumps(first)), copy.deepcopy(first)]
    assert type(copy.deepcopy(affine)) is AffineRegistration
    expected = first.predict_field(images, images[0])
    first.fit(images, **options)
    for twin in twins:
        assert type(twin) is DeformableRegistration
        npt.assert_array_equal(twin.predict_field(images, images[0]), expected)
        twin.fit(images, **options)
        for one, other in zip(first.model.get_weights(), twin.model.get_weights()):
            npt.assert_array_equal(one, other)


def test_unregistered_loss_is_not_pickled():
    registration = DeformableRegistration(loss=squares, smoothness=1.0)
    with pytest.raises(ValueError, match="Expected loss to be"):
        pickle.dumps(registration)
