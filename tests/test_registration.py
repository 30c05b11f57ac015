"""Registrations of the user: training, prediction and evaluation."""

import keras
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg import DeformableRegistration

slow = pytest.mark.slow


@slow
@pytest.mark.parametrize("shape", [(33, 50), (20, 24, 17)])
def test_any_size_trains_and_predicts(shape, rng, blobs):
    moving, static = blobs(rng, 4, shape), blobs(rng, 1, shape)[0]
    registration = DeformableRegistration(input_shape=shape, seed=0)
    history = registration.fit(
        moving, static, epochs=8, batch_size=2, verbose=0
    ).history
    assert history["loss"][-1] < history["loss"][0]
    assert history["ncc"][-1] > history["ncc"][0]
    warped = registration.predict(moving, static)
    field = registration.predict_field(moving, static)
    assert warped.shape == moving.shape
    assert field.shape == (*moving.shape, len(shape))
    assert warped.dtype == field.dtype == np.float32
    positions = np.moveaxis(field[1], -1, 0) + np.indices(shape)
    expected = map_coordinates(moving[1], positions, order=1, mode="grid-constant")
    npt.assert_allclose(warped[1], expected, atol=1e-5)
    results = registration.evaluate(moving, static, verbose=0)
    assert results["ncc_after"] > results["ncc_before"]
    assert results["folding"] == results["strict_folding"] == 0
    assert np.isfinite(results["loss"])


@slow
def test_digits_are_registered(sevens):
    train, test = sevens[:-20], sevens[-20:]
    registration = DeformableRegistration(input_shape=(28, 28), seed=0)
    epochs = max(4, 2400 // len(train))
    registration.fit(train, epochs=epochs, batch_size=16, verbose=0)
    results = registration.evaluate(test, np.roll(test, 1, axis=0), verbose=0)
    before, after = (results[f"ncc_{when}"] for when in ("before", "after"))
    assert 1 - after < 0.5 * (1 - before)
    assert results["folding"] < 0.1


@slow
def test_model_takes_images_of_another_size(rng, blobs, train_briefly):
    registration = train_briefly(network="voxelmorph1")
    images = blobs(rng, 3, (28, 24))
    assert registration.predict(images, images[0]).shape == (3, 28, 24)
    registration.fit(images, epochs=1, verbose=0)


@slow
def test_several_channels(rng, blobs):
    images = np.stack([blobs(rng, 4, (16, 17))] * 2, axis=-1)
    registration = DeformableRegistration(
        input_shape=(16, 17), network="voxelmorph1", num_channels=2
    )
    registration.fit(images, epochs=1, verbose=0)
    assert registration.predict(images, images[0]).shape == images.shape


@slow
def test_same_seed_gives_the_same_result(blobs):
    def fields(seed):
        images = blobs(np.random.default_rng(0), 6, (16, 17))
        registration = DeformableRegistration(
            input_shape=(16, 17), network="voxelmorph1", seed=seed
        )
        registration.fit(images, epochs=2, batch_size=4, verbose=0)
        return registration.predict_field(images, images[0])

    first = fields(1)
    npt.assert_array_equal(fields(1), first)
    assert np.any(fields(2) != first)


def test_validation_data_callbacks_and_optimizer_are_used(rng, blobs):
    images = blobs(rng, 6, (16, 17))
    epochs = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda e, logs: epochs.append(e)
    )
    registration = DeformableRegistration(
        input_shape=(16, 17),
        network="voxelmorph1",
        optimizer=keras.optimizers.SGD(0.01),
    )
    for validation_data in ((images, images[0]), (images, None), [images, images]):
        history = registration.fit(
            images,
            epochs=2,
            validation_data=validation_data,
            callbacks=[watch],
            verbose=0,
        ).history
        assert set(history) == {
            f"{prefix}{name}"
            for prefix in ("", "val_")
            for name in ("loss", "ncc", "penalty")
        } | {"val_folding"}
    assert epochs == [0, 1] * 3
    npt.assert_allclose(float(registration.model.optimizer.learning_rate), 0.01)


@slow
def test_warm_up_on_small_images_helps(rng, blobs):
    shape = (28, 31)
    images = blobs(rng, 4, shape)
    options = {"moving_labels": halves(images), "batch_size": 2, "verbose": 0}
    results = []
    for warm_up in (0, 20):
        registration = DeformableRegistration(
            input_shape=shape, network="voxelmorph1", seed=0
        )
        history = registration.fit(images, warm_up=warm_up, epochs=1, **options)
        # The history is that of whole images alone.
        assert history.epoch == [0]
        assert int(registration.model.optimizer.iterations) == 2 * (warm_up + 1)
        results.append(registration.evaluate(images, images[0], verbose=0))
    alone, warmed_up = (each["ncc_after"] for each in results)
    assert warmed_up > alone + 0.02


@slow
def test_evaluate_agrees_with_validation_in_fit(rng, blobs):
    # Flat at the top and at the bottom, so that rescaling clips nothing.
    images = np.clip(blobs(rng, 7, (16, 17)), 0.05, 0.8) - 0.05
    registration = DeformableRegistration(input_shape=(16, 17), seed=0)
    history = registration.fit(
        images, epochs=3, batch_size=4, validation_data=(images, images[0]), verbose=0
    ).history
    results = registration.evaluate(images, images[0], verbose=0)
    npt.assert_allclose(results["loss"], history["val_loss"][-1], rtol=1e-4)
    after = results["ncc_after"]
    npt.assert_allclose(after, history["val_ncc"][-1], atol=1e-4)
    npt.assert_allclose(results["folding"], history["val_folding"][-1], atol=1e-4)


@slow
def test_validation_averages_over_pairs_with_a_smaller_last_batch(rng, blobs):
    registration = DeformableRegistration(input_shape=(16, 17), seed=0)
    for weight in registration.model.trainable_weights:
        weight.assign_add(0.08 * rng.normal(size=weight.shape))
    images = rng.random((5, 16, 17))
    history = registration.fit(
        images, epochs=1, batch_size=4, validation_data=(images, images[0]), verbose=0
    ).history
    results = registration.evaluate(images, images[0], verbose=0)
    assert results["folding"] > 1
    npt.assert_allclose(history["val_folding"], results["folding"], rtol=1e-3)
    npt.assert_allclose(history["val_loss"], results["loss"], rtol=1e-3)


@slow
def test_scheduler_of_the_user_starts_from_the_learning_rate(rng, blobs):
    images = blobs(rng, 4, (16, 17))
    registration = DeformableRegistration(
        input_shape=(16, 17), network="voxelmorph1", learning_rate=0.01
    )
    registration.fit(images, epochs=1, verbose=0)  # leaves another rate behind
    half = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    registration.fit(images, epochs=2, callbacks=half, verbose=0)
    rate = float(registration.model.optimizer.learning_rate)
    npt.assert_allclose(rate, 0.0025, rtol=1e-5)


def test_summary_lists_the_layers(capsys):
    DeformableRegistration().summary()
    printed = capsys.readouterr().out
    assert "conv2d" in printed
    assert "integrate_velocity" in printed
    assert "Total params" in printed


def halves(images):
    """Return label maps: where a blob is, on either side of the middle."""
    sides = 1 + (np.arange(images.shape[1]) >= images.shape[1] // 2)
    return (images > 0.4) * sides.reshape(-1, *[1] * (images.ndim - 2))


def centers(images):
    """Return the centre of mass of each blob as its landmark, shape (n, 1, ndim)."""
    grid = np.indices(images.shape[1:]).reshape(images.ndim - 1, -1)
    weights = images.reshape(len(images), -1)
    return (weights @ grid.T / weights.sum(axis=1, keepdims=True))[:, None]


@slow
@pytest.mark.parametrize(
    ("shape", "kind"),
    [((16, 17), "landmarks"), ((10, 9, 11), "labels")],
)
def test_labels_and_landmarks_improve(shape, kind, rng, blobs):
    images = blobs(rng, 8, shape)
    registration = DeformableRegistration(
        input_shape=shape,
        network="voxelmorph1",
        seed=0,
        smoothness=0.01,
        landmark_weight=0.1,
    )
    if kind == "labels":
        make, name = halves, "label_overlap"
    else:
        make, name = centers, "landmark_error"
    annotations = {
        f"moving_{kind}": make(images),
        f"static_{kind}": make(images[:1])[0],
    }
    history = registration.fit(
        images,
        images[0],
        epochs=30,
        validation_data=(images, None),
        verbose=0,
        **annotations,
    ).history
    assert set(history) == {
        f"{prefix}{n}" for prefix in ("", "val_") for n in ("loss", "ncc", "penalty")
    } | {name, "val_folding"}
    first, last = history[name][0], history[name][-1]
    if name == "label_overlap":
        assert last > first + 0.05
    else:
        assert last < 0.7 * first


def test_labels_of_random_partners_and_of_validation(rng, blobs):
    images = blobs(rng, 8, (16, 17))
    registration = DeformableRegistration(input_shape=(16, 17), seed=0)
    history = registration.fit(
        images,
        moving_labels=halves(images),
        mask=np.ones((16, 17)),
        validation_data={"moving": images, "moving_labels": halves(images)},
        epochs=2,
        batch_size=4,
        verbose=0,
    ).history
    assert 0 < history["label_overlap"][0] < 1
    assert 0 < history["val_label_overlap"][0] < 1


def test_loss_ignores_voxels_outside_the_mask(rng, blobs):
    """Different noise replaces half of each static image, outside the mask."""
    images = blobs(rng, 6, (16, 17))
    mask = np.zeros((16, 17))
    mask[:, :9] = 1
    fields = []
    for noise in rng.random((2, 16, 8)):
        static = images[0].copy()
        static[:, 9:] = noise
        static[0, -1], static[1, -1] = 0, 1  # the range of intensities stays
        registration = DeformableRegistration(
            input_shape=(16, 17), seed=0, loss="mse", network=blind_to_static
        )
        registration.fit(images, static, mask=mask, epochs=3, verbose=0)
        fields.append(registration.predict_field(images, static))
    assert np.abs(fields[0]).max() > 1e-3
    npt.assert_allclose(*fields, atol=1e-5)


def test_loss_ignores_voxels_outside_the_mask_of_the_moving_image(rng, blobs):
    """Different noise replaces half of each moving image, outside the mask."""
    images = blobs(rng, 6, (16, 17))
    mask = np.zeros((16, 17))
    mask[:, :9] = 1
    fields = []
    for noise in rng.random((2, 6, 16, 8)):
        moving = images.copy()
        moving[:, :, 9:] = noise
        moving[:, 0, -1], moving[:, 1, -1] = 0, 1  # the range of intensities stays
        registration = DeformableRegistration(
            input_shape=(16, 17), seed=0, loss="mse", network=blind_to_moving
        )
        registration.fit(
            moving, images[0], moving_mask=mask, epochs=3, batch_size=6, verbose=0
        )
        fields.append(registration.predict_field(images, images[0]))
    assert np.abs(fields[0]).max() > 1e-3
    # Voxels at the edge of the mask read a little of the noise.
    npt.assert_allclose(*fields, atol=2e-2)


def blind_to_moving(moving, static):
    return blind_to_static(static, moving)


def blind_to_static(moving, static):
    convolution = keras.layers.Conv2D(
        2, 3, padding="same", kernel_initializer="ones", use_bias=False
    )
    return convolution(moving)


def test_images_smaller_than_windows_or_spacing_are_refused(rng):
    registration = DeformableRegistration(loss="lncc")
    small = rng.random((2, 8, 8))
    with pytest.raises(ValueError, match="Expected window .*8 voxels.*window=9"):
        registration.fit(small, verbose=0)
    registration.predict(small, small)  # needs no window
    registration = DeformableRegistration(transform="bspline", spacing=9)
    for method in (registration.fit, registration.predict, registration.evaluate):
        with pytest.raises(ValueError, match="Expected spacing .*8 voxels.*spacing=9"):
            method(small, small)


@pytest.mark.parametrize(
    ("transform", "loss"),
    [
        pytest.param("tps", "lncc", marks=slow),
        pytest.param("bspline_velocity", "mi", marks=slow),
    ],
)
def test_one_model_takes_images_of_many_sizes(transform, loss, rng, blobs, tmp_path):
    """TensorFlow generalizes the shape of a graph after several sizes."""
    options = {"input_shape": (16, 17), "transform": transform, "loss": loss}
    options["network"] = "voxelmorph1"
    registration = DeformableRegistration(seed=0, **options)
    for shape in ((16, 17), (13, 24), (20, 12)):
        images = blobs(rng, 3, shape)
        registration.fit(images, epochs=1, verbose=0)
        field = registration.predict_field(images, images[0])
        registration.save_weights(tmp_path / "a.weights.h5")
        fresh = DeformableRegistration(**options)
        fresh.load_weights(tmp_path / "a.weights.h5")
        npt.assert_allclose(fresh.predict_field(images, images[0]), field, atol=1e-4)
        results = registration.evaluate(images, images[0], verbose=0)
        assert np.isfinite(results["loss"])


def test_evaluate_refuses_images_smaller_than_the_window(rng):
    registration = DeformableRegistration(loss="lncc")
    images = rng.random((2, 8, 8))
    with pytest.raises(ValueError, match="Expected window"):
        registration.evaluate(images, images[0], verbose=0)


def test_loss_without_mask_refuses_one(rng):
    registration = DeformableRegistration(
        network="voxelmorph1",
        loss=lambda static, warped: keras.ops.mean(keras.ops.abs(static - warped)),
    )
    images = rng.random((2, 28, 28))
    registration.fit(images, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="Expected a loss that takes a mask"):
        registration.fit(images, mask=np.ones((28, 28)), verbose=0)


def test_invalid_input_is_refused_before_training(rng):
    registration = DeformableRegistration(seed=0)
    weights = registration.model.get_weights()
    images = rng.random((3, 28, 28))
    bad = images.copy()
    bad[1, 3, 4] = np.inf
    for moving, static, options in [
        (bad, None, {}),
        (images, bad, {}),
        (images[0], None, {}),
        (images[:1], None, {}),
        (images[:0], None, {}),
        (images, images[:2], {}),
        (images, images[0, :20], {}),
        (images, None, {"validation_data": images}),
        (images, None, {"validation_data": (images[:1], None)}),
        (images, None, {"validation_data": (bad, images)}),
        (images, None, {"validation_data": {"moving": images, "labels": images}}),
        (images, None, {"validation_data": {"static": images}}),
        (images, None, {"moving_labels": np.ones((3, 28, 27), int)}),
        (images, None, {"static_labels": np.ones((3, 28, 28), int)}),
        (images, images, {"moving_labels": np.ones((3, 28, 28), int)}),
        (images, None, {"moving_landmarks": np.ones((3, 5, 3))}),
        (images, None, {"mask": np.zeros((28, 28))}),
    ]:
        with pytest.raises(ValueError, match="Expected .* Received "):
            registration.fit(moving, static, verbose=0, **options)
    for method in (registration.predict, registration.predict_field):
        with pytest.raises(ValueError, match="Expected .* Received "):
            method(images, bad)
    with pytest.raises(ValueError, match="Expected .* Received "):
        registration.evaluate(images, None)
    for before, after in zip(weights, registration.model.get_weights()):
        npt.assert_array_equal(before, after)
