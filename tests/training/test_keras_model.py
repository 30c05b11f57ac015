"""Losses, measures and outputs of the model that Keras trains."""

import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import metrics
from dipy_nn_reg.losses import penalties
from dipy_nn_reg.losses.supervision import one_hot
from dipy_nn_reg.training.keras_model import RegistrationModel
from dipy_nn_reg.transform.functions import integrate, sample, warp

OPTIONS = {
    "input_shape": [12, 13],
    "num_channels": 1,
    "network": "unet",
    "transform": "velocity",
    "spacing": 1,
    "field_stride": 1,
    "symmetric": False,
    "precision": "float32",
    "loss": "mse",
    "penalty": "gradient",
    "smoothness": 0.5,
    "label_weight": 2.0,
    "landmark_weight": 0.5,
    "affine": None,
    "passes": 1,
    "learning_rate": None,
    "seed": 0,
}


def random_pair(rng, shape=(12, 13)):
    images = rng.random((2, 3, *shape, 1), dtype=np.float32)
    return dict(zip(("moving", "static"), images))


@pytest.mark.parametrize("transform", ["displacement", "velocity"])
@pytest.mark.parametrize("shape", [(12, 13), (7, 8, 9)])
def test_outputs_are_consistent(transform, shape, rng):
    model = RegistrationModel(
        **OPTIONS | {"transform": transform, "input_shape": list(shape)}
    )
    kernel = [layer for layer in model.layers if "conv" in layer.name][-1]
    kernel.set_weights([rng.normal(0, 0.1, w.shape) for w in kernel.get_weights()])
    pair = random_pair(rng, shape)
    outputs = model.predict_on_batch(pair)
    axes = (1, 2, 3)[: len(shape)]
    low, high = np.percentile(pair["moving"], [0.1, 99.9], axis=axes, keepdims=True)
    moving = np.clip((pair["moving"] - low) / (high - low), 0, 1).astype("f4")
    assert np.abs(outputs["field"]).max() > 0.1
    expected = outputs["field"]
    if transform == "velocity":
        expected = integrate(expected, steps=5)
    npt.assert_allclose(outputs["displacement"], expected, atol=1e-4)
    # Outside an image is the median of the medians of its faces.
    backgrounds = np.stack([median_of_faces(image[..., 0]) for image in moving])
    expected = warp(moving, outputs["displacement"], fill=backgrounds[:, None])
    npt.assert_allclose(outputs["warped"], expected, atol=1e-4)


def median_of_faces(image):
    faces = [np.take(image, end, axis) for axis in range(image.ndim) for end in (0, -1)]
    medians = [np.quantile(face, 0.5, method="lower") for face in faces]
    return np.quantile(medians, 0.5, method="lower")


def make_outputs(rng, shape=(12, 13)):
    static, warped = rng.random((2, 3, *shape, 1), dtype=np.float32)
    field, displacement = rng.normal(0, 2, (2, 3, *shape, len(shape))).astype("f4")
    return {
        "static": static,
        "warped": warped,
        "field": field,
        "displacement": displacement,
    }


def gradient_penalty(field):
    squares = [np.mean(np.diff(field, axis=axis) ** 2) for axis in (1, 2)]
    return np.mean(squares)


def test_loss_and_tracked_measures(rng):
    model, outputs = RegistrationModel(**OPTIONS), make_outputs(rng)
    static, warped = outputs["static"], outputs["warped"]
    loss = float(model.compute_loss(y_pred=outputs))
    penalty = 0.5 * gradient_penalty(outputs["field"])
    npt.assert_allclose(loss, np.mean((static - warped) ** 2) + penalty, rtol=1e-5)
    tracked = {name: float(r) for name, r in model.get_metrics_result().items()}
    similarity = np.mean([metrics.ncc(s, w) for s, w in zip(static, warped)])
    assert set(tracked) == {"ncc", "penalty"}
    npt.assert_allclose(tracked["penalty"], penalty, rtol=1e-5)
    npt.assert_allclose(tracked["ncc"], similarity, atol=1e-5)


def test_validation_averages_over_pairs_and_not_batches(rng):
    """The last batch has one pair, which does not fold."""
    model, outputs = RegistrationModel(**OPTIONS), make_outputs(rng)
    for name in outputs:
        outputs[name][2] *= 0.01
    labels = {
        f"{image}_labels": one_hot(rng.integers(0, 3, (3, 12, 13)), np.array([1, 2]))
        for image in ("moving", "static")
    }
    tracked = []
    for batches in (
        [slice(0, 3)],
        [slice(0, 2), slice(2, 3)],
        [slice(i, i + 1) for i in range(3)],
    ):
        model.reset_metrics()
        for batch in batches:
            y_pred, y = (
                {name: array[batch] for name, array in arrays.items()}
                for arrays in (outputs, labels)
            )
            model.compute_loss(y=y, y_pred=y_pred, training=False)
        results = {n: float(r) for n, r in model.get_metrics_result().items()}
        tracked.append(results)
    folding = [metrics.folding(u) for u in outputs["displacement"]]
    assert folding[0] > 10 and folding[2] == 0
    npt.assert_allclose(tracked[0]["folding"], np.mean(folding), rtol=1e-5)
    assert {"ncc", "penalty", "label_overlap"} < set(tracked[0])
    for other in tracked[1:]:
        for name, value in tracked[0].items():
            npt.assert_allclose(other[name], value, rtol=1e-5, err_msg=name)


def test_each_penalty_is_of_its_own_field(rng):
    weights = {"gradient": 0.25, "folding": 3.0}
    model = RegistrationModel(**OPTIONS | {"penalty": weights, "smoothness": None})
    outputs = make_outputs(rng)
    model.compute_loss(y_pred=outputs)
    folding = np.mean(
        keras.ops.convert_to_numpy(penalties.folding(outputs["displacement"]))
    )
    expected = 0.25 * gradient_penalty(outputs["field"]) + 3 * folding
    assert folding > 0.1
    npt.assert_allclose(float(model.penalty.result()), expected, rtol=1e-5)


def test_penalty_of_the_user(rng):
    def magnitude(field):
        return keras.ops.mean(keras.ops.square(field), axis=(1, 2, 3))

    model = RegistrationModel(**OPTIONS | {"penalty": magnitude})
    outputs = make_outputs(rng)
    model.compute_loss(y_pred=outputs)
    expected = 0.5 * np.mean(outputs["field"] ** 2)
    npt.assert_allclose(float(model.penalty.result()), expected, rtol=1e-5)


def test_loss_is_that_inside_the_mask(rng):
    model, outputs = RegistrationModel(**OPTIONS), make_outputs(rng)
    mask = np.zeros((3, 12, 13, 1), np.float32)
    mask[:, 3:7, 2:9] = 1
    loss = float(model.compute_loss(y={"mask": mask}, y_pred=outputs))
    inside = (outputs["static"] - outputs["warped"])[:, 3:7, 2:9]
    penalty = 0.5 * gradient_penalty(outputs["field"])
    npt.assert_allclose(loss, np.mean(inside**2) + penalty, rtol=1e-5)


def test_labels_and_landmarks_add_to_the_loss(rng):
    model, outputs = RegistrationModel(**OPTIONS), make_outputs(rng)
    labels = {
        f"{image}_labels": one_hot(rng.integers(0, 3, (3, 12, 13)), np.array([1, 2]))
        for image in ("moving", "static")
    }
    landmarks = {
        f"{image}_landmarks": rng.uniform(2, 9, (3, 4, 2)).astype(np.float32)
        for image in ("moving", "static")
    }
    plain = float(model.compute_loss(y_pred=outputs))
    both = float(model.compute_loss(y=labels | landmarks, y_pred=outputs))
    warped = warp(labels["moving_labels"], outputs["displacement"])
    static = labels["static_labels"]
    axes = (1, 2)
    overlap = 2 * (warped * static).sum(axes) / (warped.sum(axes) + static.sum(axes))
    at = landmarks["static_landmarks"]
    mapped = at + sample(outputs["displacement"], at)
    error = np.mean(np.sum((mapped - landmarks["moving_landmarks"]) ** 2, axis=-1))
    npt.assert_allclose(both, plain + 2 * np.mean(1 - overlap) + 0.5 * error, rtol=1e-4)
    tracked = {name: float(r) for name, r in model.get_metrics_result().items()}
    npt.assert_allclose(tracked["label_overlap"], np.mean(overlap), rtol=1e-4)
    npt.assert_allclose(tracked["landmark_error"], error, rtol=1e-4)


def give_random_weights(model, rng):
    """Let a model predict some motion before it is trained."""
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.05, weight.shape))


def test_loss_is_the_same_in_both_directions(rng):
    """Swapped images and annotations give the same loss."""
    model = RegistrationModel(**OPTIONS | {"penalty": "inverse_consistency"})
    give_random_weights(model, rng)
    pair = random_pair(rng)
    labels = [one_hot(rng.integers(0, 2, (3, 12, 13)), np.array([1])) for _ in range(2)]
    losses = []
    for images, maps in (
        (("moving", "static"), labels),
        (("static", "moving"), labels[::-1]),
    ):
        x = {"moving": pair[images[0]], "static": pair[images[1]]}
        y = {"moving_labels": maps[0], "static_labels": maps[1]}
        outputs = model.predict_on_batch(x)
        assert np.abs(outputs["displacement"]).max() > 0.05
        losses.append(float(model.compute_loss(y=y, y_pred=outputs)))
    npt.assert_allclose(*losses, rtol=1e-4)
    assert float(model.penalty.result()) > 0


def test_mask_is_deformed_with_its_image_in_the_other_direction(rng):
    """Where both fields are 0, the other direction is masked by the mask itself."""
    model = RegistrationModel(**OPTIONS | {"penalty": "inverse_consistency"})
    pair = random_pair(rng)
    mask = np.zeros((3, 12, 13, 1), np.float32)
    mask[:, 3:7, 2:9] = 1
    outputs = model.predict_on_batch(pair)
    loss = float(model.compute_loss(y={"mask": mask}, y_pred=outputs))
    inside = (outputs["static"] - outputs["warped"])[:, 3:7, 2:9]
    npt.assert_allclose(loss, np.mean(inside**2), rtol=1e-5)


def test_each_resolution_has_its_own_loss(rng):
    model = RegistrationModel(**OPTIONS | {"network": "fcn", "penalty": "tv"})
    give_random_weights(model, rng)
    outputs = model.predict_on_batch(random_pair(rng))
    levels = [outputs, *outputs["coarser"]]
    assert [level["field"].shape[1:3] for level in levels] == [(12, 13), (6, 7), (3, 4)]
    expected = 0
    for weight, level in zip((1, 0.6, 0.3), levels):
        assert np.abs(level["field"]).max() > 1e-3
        tv = np.mean(keras.ops.convert_to_numpy(penalties.tv(level["field"])))
        mse = np.mean((level["static"] - level["warped"]) ** 2)
        expected += weight * (mse + 0.5 * tv)
    loss = float(model.compute_loss(y_pred=outputs))
    npt.assert_allclose(loss, expected, rtol=1e-4)


@pytest.mark.parametrize("shape", [(12, 13), (7, 8, 9)])
def test_affine_first_stage_is_frozen_and_composed(shape, rng):
    options = OPTIONS | {"input_shape": list(shape)}
    affine = RegistrationModel(**options | {"transform": "affine", "spacing": None})
    give_random_weights(affine, rng)
    model = RegistrationModel(**options | {"affine": affine})
    assert not any(w is v for v in affine.weights for w in model.weights)
    names = [w.path for w in model.trainable_weights]
    assert names and not any("affine" in name for name in names)
    pair = random_pair(rng, shape)
    outputs = model.predict_on_batch(pair)
    first = affine.predict_on_batch(pair)
    # The field is still 0: the map is the affine one.
    npt.assert_allclose(outputs["displacement"], first["displacement"], atol=1e-5)
    assert np.abs(first["displacement"]).max() > 0.05
    give_random_weights(model, rng)
    outputs = model.predict_on_batch(pair)
    field = integrate(outputs["field"], steps=5)
    matrix = first["matrix"]
    ndim = len(shape)
    positions = np.moveaxis(np.indices(shape), 0, -1) + field
    expected = np.einsum("bij,b...j->b...i", matrix[..., :ndim], positions)
    expected += matrix[..., ndim].reshape(-1, *[1] * ndim, ndim)
    found = outputs["displacement"] + np.moveaxis(np.indices(shape), 0, -1)
    npt.assert_allclose(found, expected, atol=1e-3)


def test_configuration_makes_the_same_model(rng):
    model = RegistrationModel(**OPTIONS)
    config = keras.saving.serialize_keras_object(model)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == model.get_config()
    for a, b in zip(model.get_weights(), copy.get_weights()):
        npt.assert_array_equal(a, b)
