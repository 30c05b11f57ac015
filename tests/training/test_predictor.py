"""Predictions of a model."""

import copy
import pickle

import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import AffineRegistration, DeformableRegistration, register
from dipy_nn_reg.intensities import estimate_background
from dipy_nn_reg.training import dataset
from dipy_nn_reg.transform.functions import warp


def test_no_motion_before_training(rng):
    images = rng.random((2, 9, 11), dtype=np.float32)
    registration = DeformableRegistration()
    npt.assert_array_equal(registration.predict(images, images[::-1]), images)
    npt.assert_array_equal(registration.predict_field(images, images[::-1]), 0)


def test_layouts_and_types_of_images_are_kept(rng, blobs, train_briefly):
    registration = train_briefly()
    moving = (255 * blobs(rng, 3, (16, 17))).astype(np.uint8)
    static = moving[2]
    expected = registration.predict(moving, static)
    assert expected.max() > 100  # in the intensities of the moving image
    for other in (moving.astype(np.float64), moving.astype(int)):
        npt.assert_allclose(registration.predict(other, static), expected, atol=1e-3)
    last = registration.predict(moving[..., None], static[..., None])
    npt.assert_array_equal(last[..., 0], expected)
    each = registration.predict(moving, np.stack([static] * 3))
    npt.assert_array_equal(each, expected)
    npt.assert_array_equal(registration.predict(moving, static[None]), expected)
    scaled = registration.predict_field(moving / 100 - 1, static)
    npt.assert_allclose(scaled, registration.predict_field(moving, static), atol=1e-3)


@pytest.mark.backends
def test_predictions_do_not_depend_on_batches(rng, monkeypatch, blobs, train_briefly):
    registration = train_briefly()
    images = blobs(rng, 5, (16, 17))
    at_once = registration.predict_field(images, images[0])
    monkeypatch.setattr("dipy_nn_reg.training.predictor.VOXELS_PER_BATCH", 2 * 16 * 17)
    in_batches = registration.predict_field(images, images[0])
    npt.assert_allclose(in_batches, at_once, atol=1e-5)


@pytest.mark.slow
def test_images_and_fields_are_of_one_prediction(train_briefly, rng):
    shape = (9, 12, 11)
    registration = train_briefly(shape)
    moving, static = rng.random((2, 5, *shape), dtype=np.float32)
    warped, field = registration.predict(moving, static, return_field=True)
    npt.assert_array_equal(warped, registration.predict(moving, static))
    npt.assert_allclose(field, registration.predict_field(moving, static), atol=1e-5)
    outside = np.array([[estimate_background(image)] for image in moving])
    expected = warp(moving[..., None], field, fill=outside)[..., 0]
    npt.assert_allclose(warped, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("2D", np.inf),
        pytest.param("3D", np.nan, marks=pytest.mark.slow),
        pytest.param("affine", np.inf, marks=pytest.mark.slow),
        pytest.param("after affine", np.nan, marks=pytest.mark.slow),
    ],
)
def test_prediction_that_is_not_finite_is_an_error(kind, wrong, rng):
    shape = (9, 8, 10) if kind == "3D" else (16, 17)
    affine = AffineRegistration(input_shape=shape, seed=0)
    registration = affine
    if kind != "affine":
        first = affine if kind == "after affine" else None
        registration = DeformableRegistration(input_shape=shape, affine=first, seed=0)
    weights = registration.model.get_weights()
    weights[-1] = np.full_like(weights[-1], wrong)
    registration.model.set_weights(weights)
    moving, static = rng.random((2, 3, *shape), dtype=np.float32)
    calls = [
        lambda: registration.predict(moving, static),
        lambda: registration.predict(moving, static, return_field=True),
        lambda: registration.predict_field(moving, static),
        lambda: registration.predict_mapping(moving[0], static[0]),
        lambda: registration.evaluate(moving, static, verbose=0),
    ]
    if kind == "affine":
        calls.append(lambda: registration.predict_affine(moving, static))
    for call in calls:
        with pytest.raises(ValueError, match="Expected a prediction with finite value"):
            call()


@pytest.mark.slow
def test_pair_is_registered_with_a_model_of_nan(blobs, rng):
    registration = DeformableRegistration(input_shape=(16, 17), seed=0)
    weights = [np.full_like(w, np.nan) for w in registration.model.get_weights()]
    registration.model.set_weights(weights)
    moving, static = blobs(rng, 2, (16, 17))
    _, report = register(
        moving, static, prealign=None, model=registration, level_iters=(3,)
    )
    assert report.used == "optimized"


def test_results_and_caches_can_be_pickled(blobs, rng):
    registration = DeformableRegistration(input_shape=(16, 17), seed=0)
    images = blobs(rng, 2, (16, 17))
    registration.predict(images, images[0])
    held = registration.predictor._memory
    assert pickle.loads(pickle.dumps(held)) == held != {}
    mapping, outcome = register(*images, prealign=None, level_iters=(1,))
    assert pickle.loads(pickle.dumps(outcome)) == outcome
    for again in (pickle.loads(pickle.dumps(mapping)), copy.deepcopy(mapping)):
        npt.assert_array_equal(again.forward, mapping.forward)


def test_a_process_that_shares_trainings_predicts_all_pairs(rng, blobs, monkeypatch):
    images = blobs(rng, 4, (16, 17))
    registration = DeformableRegistration(
        input_shape=(16, 17), network="voxelmorph1", seed=0
    )
    expected = registration.predict(images, images[0])
    monkeypatch.setattr(dataset, "own_part", lambda size: slice(size // 2, size))
    pairs = dataset.PairDataset(images[..., None], images[:1, ..., None], batch_size=4)
    assert len(pairs[0]["moving"]) == 2
    npt.assert_array_equal(registration.predict(images, images[0]), expected)


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "stride"), [((16, 16, 16), None), ((24, 20), 2)])
def test_networks_of_several_fields_take_masks(shape, stride, rng):
    images = rng.random((2, *shape), dtype=np.float32)
    mask = np.ones((2, *shape), np.uint8)
    losses = []
    for masks in ({}, {"mask": mask}):
        registration = DeformableRegistration(
            input_shape=shape, network="fcn", field_stride=stride, seed=0, loss="mse"
        )
        history = registration.fit(
            images, images[::-1], epochs=1, batch_size=2, verbose=0, **masks
        )
        losses.append(history.history["loss"][0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_coarse_levels_are_checked_in_their_size():
    """Of 36 voxels, the coarsest level of a field of every second voxel has 5."""
    with pytest.raises(ValueError, match="window"):
        DeformableRegistration(input_shape=(36,) * 3, network="fcn", loss="lncc")
