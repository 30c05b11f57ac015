"""Checks of images and annotations before a training."""

import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.training.data_checks import check_annotations, check_training_data

NAMES = (
    "moving_labels",
    "static_labels",
    "moving_landmarks",
    "static_landmarks",
    "mask",
)
MOVING, STATIC = np.zeros((3, 6, 5, 1)), np.zeros((1, 6, 5, 1))
LABELS = np.arange(90).reshape(3, 6, 5) % 4
POINTS = np.arange(24.0).reshape(3, 4, 2)
MASK = np.ones((1, 6, 5), bool)


def check(moving=MOVING, static=STATIC, **annotations):
    return check_annotations(dict.fromkeys(NAMES) | annotations, moving, static)


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize("shape", [(6, 5), (4, 6, 5)])
def test_annotations_become_arrays_of_full_shape(shape, rng):
    ndim = len(shape)
    moving, static = np.zeros((3, *shape, 2)), np.zeros((1, *shape, 2))
    labels = rng.choice([0, 4, 9], (3, *shape)).astype(np.uint8)
    points = rng.uniform(0, 4, (3, 7, ndim))
    mask = rng.integers(0, 2, shape)
    checked = check(
        moving,
        static,
        moving_labels=labels[..., None],
        static_labels=np.full(shape, 5),
        moving_landmarks=points.tolist(),
        static_landmarks=points[0],
        mask=0.3 * mask,
    )
    assert set(checked.as_dict()) == set(NAMES)
    npt.assert_array_equal(checked.label_values, [4, 5, 9])
    npt.assert_array_equal(checked.moving_labels, labels)
    npt.assert_array_equal(checked.static_labels, np.full((1, *shape), 5))
    npt.assert_array_equal(checked.moving_landmarks, points)
    npt.assert_array_equal(checked.static_landmarks, points[:1])
    assert checked.mask.shape == (1, *shape, 1)
    npt.assert_array_equal(checked.mask[0, ..., 0] != 0, mask != 0)


def test_no_annotations():
    assert check() == Annotations()


def test_masks_for_each_image_or_for_all():
    masks = np.ones((3, 6, 5), bool)
    for mask, number in ((masks, 3), (masks[:1], 1), (masks[0], 1)):
        assert check(static=MOVING, mask=mask).mask.shape == (number, 6, 5, 1)
        assert check(static=None, mask=mask).mask.shape == (number, 6, 5, 1)
    for mask, number in ((masks, 3), (masks[0], 1)):
        checked = check(static=None, moving_mask=mask)
        assert checked.moving_mask.shape == (number, 6, 5, 1)
    assert check(mask=masks[..., None][:1]).mask.shape == (1, 6, 5, 1)


def test_pairs_of_moving_images_share_their_annotations():
    checked = check(static=None, moving_labels=LABELS, moving_landmarks=POINTS)
    npt.assert_array_equal(checked.static_labels, LABELS)
    npt.assert_array_equal(checked.static_landmarks, POINTS)
    npt.assert_array_equal(checked.label_values, [1, 2, 3])


def test_annotations_of_the_caller_are_not_changed():
    annotations = {"moving_labels": LABELS, "mask": None}
    check_annotations(annotations, MOVING, None)
    assert set(annotations) == {"moving_labels", "mask"}


@pytest.mark.parametrize(
    "labels",
    [LABELS.astype(bool), LABELS.astype(np.uint16), LABELS - 2],
)
def test_labels_of_any_integer_type_are_accepted(labels):
    checked = check(static=MOVING, moving_labels=labels, static_labels=labels)
    npt.assert_array_equal(checked.label_values, sorted({*labels.ravel()} - {0}))


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        # Labels
        (
            {"moving_labels": LABELS[:, :5], "static_labels": LABELS[:1]},
            r"moving_labels of the size.*\(6, 5\).*the 3.*Received.*shape=\(3, 5, 5\)",
        ),
        (
            {"moving_labels": LABELS[:2], "static_labels": LABELS[:1]},
            r"moving_labels of the size.*Received moving_labels.shape=\(2, 6, 5\)",
        ),
        (
            {"moving_labels": LABELS[:1], "static_labels": LABELS[:1]},
            r"moving_labels of the size.*Received moving_labels.shape=\(1, 6, 5\)",
        ),
        (
            {"moving_labels": LABELS, "static_labels": LABELS},
            r"static_labels of the size.*the 1\. Received static_labels.shape=\(3, 6",
        ),
        (
            {"moving_labels": 3, "static_labels": LABELS[:1]},
            r"moving_labels of the size.*Received moving_labels.shape=\(\)",
        ),
        (
            {"moving_labels": LABELS, "static_labels": LABELS[:1] / 1},
            "integers in static_labels. Received static_labels.dtype=float64",
        ),
        (
            {"moving_labels": 0 * LABELS, "static_labels": 0 * LABELS[:1]},
            "labels other than 0. Received 0 everywhere",
        ),
        (
            {"moving_labels": LABELS},
            "static_labels beside moving_labels. Received moving_labels alone",
        ),
        (
            {"static_labels": LABELS[:1]},
            "moving_labels beside static_labels. Received static_labels alone",
        ),
        # Landmarks
        (
            {"moving_landmarks": POINTS},
            "static_landmarks beside moving_landmarks. Received moving_landmarks alone",
        ),
        (
            {"static_landmarks": POINTS[:1]},
            "moving_landmarks beside static_landmarks. Received static_landmarks alone",
        ),
        (
            {"moving_landmarks": np.ones((3, 4, 3)), "static_landmarks": POINTS[:1]},
            r"moving_landmarks of shape \(3, points, 2\).*Received.*shape=\(3, 4, 3\)",
        ),
        (
            {"moving_landmarks": POINTS[:2], "static_landmarks": POINTS[:1]},
            r"moving_landmarks of shape \(3, points, 2\).*Received.*shape=\(2, 4, 2\)",
        ),
        (
            {"moving_landmarks": POINTS[0], "static_landmarks": POINTS[:1]},
            r"moving_landmarks of shape \(3, points, 2\).*Received.*shape=\(4, 2\)",
        ),
        (
            {"moving_landmarks": POINTS, "static_landmarks": POINTS},
            r"static_landmarks of shape \(1, points, 2\).*Received.*shape=\(3, 4, 2\)",
        ),
        (
            {"moving_landmarks": POINTS[:, :0], "static_landmarks": POINTS[:1]},
            r"moving_landmarks of shape \(3, points, 2\).*Received.*shape=\(3, 0, 2\)",
        ),
        (
            {"moving_landmarks": POINTS.ravel(), "static_landmarks": POINTS[:1]},
            r"moving_landmarks of shape \(3, points, 2\).*Received.*shape=\(24,\)",
        ),
        (
            {
                "moving_landmarks": changed(POINTS, (1, 2, 0), np.nan),
                "static_landmarks": POINTS[:1],
            },
            "finite numbers in moving_landmarks.*not finite",
        ),
        (
            {"moving_landmarks": POINTS, "static_landmarks": POINTS[:1].astype(str)},
            "finite numbers in static_landmarks. Received static_landmarks.dtype=<U",
        ),
        (
            {"moving_landmarks": POINTS, "static_landmarks": POINTS[:1, :3]},
            r"as many static landmarks as moving ones. Received \[3, 4\]",
        ),
        # Mask
        (
            {"mask": MASK[:, 1:]},
            r"mask of the size.*\(6, 5\).*Received mask.shape=\(1, 5, 5\)",
        ),
        (
            {"mask": np.ones((3, 6, 5))},
            r"mask of the size.*the 1\. Received mask.shape=\(3, 6, 5\)",
        ),
        (
            {"mask": ~MASK},
            "one voxel or more in each mask. Received 1 of 1 that are empty",
        ),
        (
            {"mask": changed(np.ones((6, 5)), (2, 3), np.nan)},
            "mask of finite numbers or booleans. Received.*float64.*not finite",
        ),
        (
            {"mask": changed(np.ones((6, 5)), (2, 3), np.inf)},
            "mask of finite numbers or booleans. Received.*float64.*not finite",
        ),
        (
            {"mask": MASK.astype(str)},
            "mask of finite numbers or booleans. Received mask.dtype=<U",
        ),
    ],
)
def test_invalid_annotations_are_refused(annotations, message):
    with pytest.raises(ValueError, match=f"^Expected {message}"):
        check(**annotations)


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ({"static_labels": LABELS}, "static_labels=None.*Received static_labels"),
        (
            {"moving_landmarks": POINTS, "static_landmarks": POINTS},
            "static_landmarks=None.*Received static_landmarks",
        ),
        (
            {"mask": changed(np.ones((3, 6, 5)), 1, 0)},
            "one voxel or more in each mask. Received 1 of 3 that are empty",
        ),
        ({"mask": np.ones((2, 6, 5))}, r"mask of the size.*Received.*\(2, 6, 5\)"),
    ],
)
def test_invalid_annotations_are_refused_without_static_images(annotations, message):
    with pytest.raises(ValueError, match=f"^Expected {message}"):
        check(static=None, **annotations)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"moving_labels": [0, 1]}, None),
        ({"moving_labels": [1, 0]}, "moving_labels .*.5, 6. for an image of .4, 6"),
        ({"moving_mask": [1]}, "moving_mask .*.5, 6. for an image of .4, 6"),
        ({"mask": [1, 0]}, "mask .*.5, 6. for an image of .4, 6"),
        ({"static_labels": [1, 0]}, "static_labels .*.5, 6. for an image of .4, 6"),
        ({"array": True, "moving_labels": [1, 0]}, ".4, 6. for an image of .5, 6"),
    ],
)
def test_lists_of_annotations_have_the_sizes_of_their_images(given, message):
    """Nothing would tell once they are padded to one size."""
    shapes = [(4, 6), (5, 6)]
    images = [np.random.default_rng(0).random(shape) for shape in shapes]
    data = {"moving": images, "static": list(images)}
    if given.pop("array", False):
        data = {"moving": np.ones((2, 5, 6)), "static": np.ones((2, 5, 6))}
    labels = {"moving_labels": [0, 1], "static_labels": [0, 1]}
    given = labels | given if any("labels" in name for name in given) else given
    for name, numbers in given.items():
        data[name] = [np.ones(shapes[number], int) for number in numbers]
    if message is None:
        check_training_data(**data, ndim=2, num_channels=1)
        return
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        check_training_data(**data, ndim=2, num_channels=1)


@pytest.mark.parametrize("given", [[], [[[1, 2], [3]]]])
@pytest.mark.parametrize("name", ["moving", "moving_labels"])
def test_lists_that_are_no_images_are_refused(name, given):
    image = np.eye(4, 5)
    data = {"moving": [image, image], "static": [image], "moving_labels": [image > 0]}
    data = {**data, "static_labels": [image > 0], name: given}
    with pytest.raises(ValueError, match=f"Expected .*{name}"):
        check_training_data(**data, ndim=2, num_channels=1)
