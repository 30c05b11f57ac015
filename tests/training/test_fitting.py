"""Options of a training, and the annotations that it can use."""

import numpy as np
import pytest

from dipy_nn_reg import DeformableRegistration
from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.losses.images import mse
from dipy_nn_reg.training.fitting import FitOptions, check_annotations_fit

OPTIONS = FitOptions(
    epochs=1, warm_up=0, batch_size=1, mirror=None, augment=False, resume=False
)
LANDMARKS = np.ones((3, 5, 2))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"epochs": np.int16(7), "batch_size": np.uint8(200)},
        {"warm_up": 3},
        {"mirror": 0},
        {"mirror": 1},
        {"augment": True},
        {"augment": 0},
        {"augment": 0.5},
        {"resume": True},
    ],
    ids=str,
)
def test_valid_options_are_accepted(changes):
    OPTIONS._replace(**changes).check(2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs to be an integer >= 1. Received 0"),
        ({"epochs": 2.0}, "epochs to be an integer >= 1. Received 2.0"),
        ({"epochs": None}, "epochs to be an integer >= 1. Received None"),
        ({"warm_up": -1}, "warm_up to be an integer >= 0. Received -1"),
        ({"batch_size": 0}, "batch_size to be an integer >= 1. Received 0"),
        ({"mirror": -1}, "mirror to be an integer >= 0. Received -1"),
        (
            {"mirror": 2},
            "mirror to be one of the 2 axes of the images.*Received mirror=2",
        ),
        ({"augment": -0.1}, "augment.*-0.1"),
        ({"augment": "strong"}, "augment.*'strong'"),
        ({"augment": np.nan}, "augment.*nan"),
    ],
    ids=str,
)
def test_invalid_options_are_refused(changes, message):
    with pytest.raises(ValueError, match=f"Expected {message}"):
        OPTIONS._replace(**changes).check(2)


def test_third_axis_can_be_mirrored_in_3d():
    OPTIONS._replace(mirror=2).check(3)


def test_mask_needs_a_loss_that_takes_one():
    masked = Annotations(mask=np.ones((3, 4, 5, 1)))
    for loss in ("mse", "lncc", mse):
        check_annotations_fit(masked, loss=loss)
    check_annotations_fit(Annotations(), loss=lambda static, warped: 0)
    with pytest.raises(ValueError, match="Expected a loss that takes a mask"):
        check_annotations_fit(masked, loss=lambda static, warped: 0)


def test_landmarks_are_not_augmented():
    landmarks = Annotations(moving_landmarks=LANDMARKS, static_landmarks=LANDMARKS)
    check_annotations_fit(landmarks, loss="mse")
    check_annotations_fit(landmarks, loss="mse", augment=0)
    check_annotations_fit(Annotations(), loss="mse", augment=True)
    with pytest.raises(ValueError, match="augment=False with landmarks.*augment=0.5"):
        check_annotations_fit(landmarks, loss="mse", augment=0.5)


def test_invalid_options_and_annotations_leave_the_model_unchanged(rng):
    registration = DeformableRegistration(
        input_shape=(16, 17), network="voxelmorph1", loss=_squares, seed=0
    )
    weights = registration.model.get_weights()
    images = rng.random((3, 16, 17))
    for options in (
        {"epochs": 0},
        {"batch_size": 0},
        {"warm_up": -1},
        {"mirror": 2},
        {"augment": -0.1},
        {"mask": np.ones((16, 17))},
        {"moving_landmarks": LANDMARKS, "augment": 0.5},
    ):
        with pytest.raises(ValueError, match="Expected .* Received "):
            registration.fit(images, verbose=0, **options)
    for before, after in zip(weights, registration.model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def _squares(static, warped):
    return (static - warped) ** 2


@pytest.mark.parametrize(
    "which", ["training", pytest.param("validation", marks=pytest.mark.slow)]
)
def test_another_training_may_have_other_labels(which, rng, blobs):
    images = blobs(rng, 4, (16, 17))
    labels = (images > 0.3).astype(int) + (images > 0.6)
    registration = DeformableRegistration(
        input_shape=(16, 17), network="voxelmorph1", seed=0
    )
    for number in (2, 1, 2):
        few = np.minimum(labels, number)
        moving_labels = few if which == "training" else labels
        options = {"epochs": 1, "moving_labels": moving_labels, "verbose": 0}
        if which == "validation":
            options["validation_data"] = {"moving": images, "moving_labels": few}
        history = registration.fit(images, **options).history
        assert 0 < history["label_overlap"][0] <= 1
