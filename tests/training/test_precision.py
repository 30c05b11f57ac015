"""Networks in bfloat16."""

import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import DeformableRegistration


@pytest.mark.parametrize(
    ("shape", "network"),
    [
        pytest.param(
            shape,
            network,
            marks=[] if (len(shape), network) == (2, "unet") else pytest.mark.slow,
        )
        for shape, networks in (
            ((19, 22), ("unet", "fcn", "encoder_decoder", "pyramid")),
            ((13, 14, 11), ("unet", "voxelmorph2")),
        )
        for network in networks
    ],
)
def test_fields_and_losses_are_float32(shape, network, train_briefly, rng, tmp_path):
    registration = DeformableRegistration(
        input_shape=shape, network=network, precision="bfloat16", seed=0
    )
    convolutions = [w for w in registration.model.layers if "conv" in w.name]
    policies = {layer.compute_dtype for layer in convolutions}
    assert policies == {"bfloat16", "float32"}  # the last of them
    assert {w.dtype for w in registration.model.weights} == {"float32"}
    images = rng.random((3, *shape), dtype=np.float32)
    history = registration.fit(images, epochs=1, batch_size=2, verbose=0)
    assert np.isfinite(history.history["loss"][0])
    field = registration.predict_field(images, images[0])
    assert field.dtype == np.float32 and np.abs(field).max() > 0
    registration.save(tmp_path / "model.keras")
    loaded = DeformableRegistration.load(tmp_path / "model.keras")
    assert loaded.options["precision"] == "bfloat16"
    npt.assert_array_equal(loaded.predict_field(images, images[0]), field)


@pytest.mark.slow
def test_both_precisions_agree_roughly(rng):
    fields = []
    images = rng.random((2, 12, 14, 13), dtype=np.float32)
    for precision in ("float32", "bfloat16"):
        registration = DeformableRegistration(
            input_shape=(12, 14, 13), precision=precision, seed=0
        )
        for weights in registration.model.trainable_weights:
            weights.assign_add(
                0.02 * np.random.default_rng(1).normal(size=weights.shape)
            )
        fields.append(registration.predict_field(images, images[::-1]))
    scale = np.abs(fields[0]).max()
    assert scale > 0.5
    npt.assert_allclose(fields[0], fields[1], atol=0.05 * scale)
    assert np.any(fields[0] != fields[1])


@pytest.mark.slow
def test_coarse_layers_are_float32_and_gradients_finite(rng):
    # The gradient of oneDNN in bfloat16 is wrong for features of two voxels per axis.
    registration = DeformableRegistration(
        input_shape=(13, 14, 11), network="voxelmorph2", precision="bfloat16", seed=0
    )
    images = rng.random((4, 13, 14, 11), dtype=np.float32)
    history = registration.fit(images, epochs=3, batch_size=2, verbose=0)
    assert np.all(np.isfinite(history.history["loss"]))
    strides = [w for w in registration.model.layers if w.name.startswith("conv")]
    # The first halves the images; the next two are at coarser resolutions.
    assert [w.compute_dtype for w in strides[:3]] == ["bfloat16", "float32", "float32"]


def test_images_too_small_for_bfloat16_are_refused_for_training(rng):
    registration = DeformableRegistration(
        input_shape=(16, 16, 16), precision="bfloat16"
    )
    images = rng.random((2, 16, 16, 8), dtype=np.float32)
    with pytest.raises(ValueError, match=r"5 voxels or more.*\(8, 8, 4\)"):
        registration.fit(images, epochs=1, verbose=0)
    assert registration.predict(images, images).shape == images.shape


@pytest.mark.parametrize(
    ("transform", "shape"),
    [
        ("tps", (24, 22)),
        pytest.param("affine", (12, 14, 13), marks=pytest.mark.slow),
        pytest.param("bspline_velocity", (12, 14, 13), marks=pytest.mark.slow),
    ],
)
def test_transforms_of_control_points_and_matrices_train(transform, shape, rng):
    registration = DeformableRegistration(
        input_shape=shape, transform=transform, precision="bfloat16", seed=0
    )
    images = rng.random((2, *shape), dtype=np.float32)
    history = registration.fit(images, epochs=2, batch_size=2, verbose=0)
    assert np.all(np.isfinite(history.history["loss"]))
    assert np.abs(registration.predict_field(images, images[::-1])).max() > 0


def test_coarse_layers_of_the_users_network_are_float32():
    def network(moving, static):
        x = keras.layers.Concatenate()([moving, static])
        for _ in range(3):
            x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(x)
        x = keras.layers.UpSampling2D(8)(x)
        return keras.layers.Conv2D(2, 3, padding="same")(x)

    registration = DeformableRegistration(
        input_shape=(32, 32), network=network, precision="bfloat16"
    )
    layers = [w for w in registration.model.layers if w.name.startswith("conv")]
    found = [layer.compute_dtype for layer in layers]
    assert found == ["bfloat16", "float32", "float32", "bfloat16"]
