"""Tests of heads made around brains."""

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from dipy_nn_reg.data.heads import TISSUES, make_head
from dipy_nn_reg.data.phantoms import make_phantoms

SIZE = 4.5
# The axes of phantoms lead to the back, to the right and to the top.
AFFINE = np.array(
    [[0, SIZE, 0, -70], [-SIZE, 0, 0, 90], [0, 0, SIZE, -60], [0, 0, 0, 1]]
)


@pytest.fixture(scope="module")
def brain():
    images, labels = make_phantoms(1, shape=(40, 36, 34), seed=0)
    return images[0] * (labels[0] > 0)


@pytest.fixture(scope="module")
def head(brain):
    return make_head(brain, AFFINE, seed=1)


def test_the_brain_keeps_its_place_and_its_structure(brain, head):
    inside = brain > 0.3
    values = head.image[head.place(inside)]
    assert np.corrcoef(values, brain[inside])[0, 1] > 0.9
    # World coordinates of a voxel are the same in both images.
    first = nib.affines.apply_affine(head.affine, head.offset)
    np.testing.assert_allclose(first, AFFINE[:3, 3])


def test_around_the_brain_are_a_dark_and_a_bright_shell(brain, head):
    distance = distance_transform_edt(~head.place(brain > 0.1), sampling=SIZE)
    # Above the brain, where there is neither face nor neck.
    top = np.arange(head.image.shape[2]) > head.offset[2] + 24
    mean = {
        name: head.image[(distance > low) & (distance < high) & top].mean()
        for name, (low, high) in {"skull": (4, 8), "scalp": (14, 16)}.items()
    }
    assert mean["skull"] < 0.35
    assert mean["scalp"] > 2 * mean["skull"]
    assert head.image[(distance > 32) & top].mean() < 0.05


def test_the_face_is_in_front_and_the_neck_is_below(head):
    world = nib.affines.apply_affine(head.affine, np.argwhere(head.image > 0.3))
    brain = nib.affines.apply_affine(AFFINE, [[0, 18, 17], [39, 18, 17]])
    front, back = world[:, 1].max() - brain[0, 1], brain[1, 1] - world[:, 1].min()
    assert front > back + 10
    # The neck leaves the image through its bottom, and nothing through its top.
    assert (head.image[:, :, 0] > 0.3).mean() > 0.1
    assert (head.image[:, :, -1] > 0.3).mean() == 0


def test_one_orientation_is_as_good_as_another(brain):
    flipped = AFFINE @ np.diag([-1, 1, -1, 1.0])
    flipped[:3, 3] = nib.affines.apply_affine(AFFINE, [39, 0, 33])
    one = make_head(brain, AFFINE, seed=1)
    other = make_head(brain[::-1, :, ::-1], flipped, seed=1)
    boxes = []
    for head in (one, other):
        corners = [(0, 0, 0), np.array(head.image.shape) - 1]
        boxes.append(np.sort(nib.affines.apply_affine(head.affine, corners), axis=0))
    np.testing.assert_allclose(*boxes)
    assert (other.image[:, :, -1] > 0.3).mean() > 0.1  # the neck


def test_a_seed_gives_the_same_head(brain, head):
    np.testing.assert_array_equal(make_head(brain, AFFINE, seed=1).image, head.image)
    assert not np.array_equal(make_head(brain, AFFINE, seed=2).image, head.image)


def test_fluid_is_bright_in_t2(brain):
    assert TISSUES["t2"]["fluid"] > TISSUES["t2"]["fat"]
    t1, t2 = (make_head(brain, AFFINE, seed=1, contrast=c) for c in ("t1", "t2"))
    distance = distance_transform_edt(~t1.place(brain > 0.1), sampling=SIZE)
    near = (distance > 0) & (distance < 5)
    assert t2.image[near].mean() > 1.3 * t1.image[near].mean()
    far = (distance > 12) & (distance < 16)
    assert t2.image[far].mean() < t1.image[far].mean()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"brain": np.ones((9, 9))}, "Expected brain of three axes"),
        ({"brain": np.ones((9, 9, 9))}, "with contrast"),
        ({"affine": np.eye(3)}, "affine"),
        ({"seed": -1}, "seed"),
        ({"contrast": "pd"}, "contrast"),
    ],
)
def test_wrong_input_is_refused(brain, changes, message):
    arguments = {"brain": brain, "affine": AFFINE, "seed": 0, **changes}
    with pytest.raises(ValueError, match=message):
        make_head(**arguments)
