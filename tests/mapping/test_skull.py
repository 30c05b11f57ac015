"""Tests of the recognition of a skull in one image alone."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from scipy.spatial.transform import Rotation

from dipy_nn_reg.annotations import NO_ANNOTATIONS, Annotations
from dipy_nn_reg.data.heads import make_head
from dipy_nn_reg.data.phantoms import make_phantoms
from dipy_nn_reg.intensities import normalize
from dipy_nn_reg.mapping.frame import Frame
from dipy_nn_reg.mapping.prealign import Alignment
from dipy_nn_reg.mapping.skull import Heads, brain_mask

SIZE = 4.5
AFFINE = np.array(
    [[0, SIZE, 0, -70], [-SIZE, 0, 0, 90], [0, 0, SIZE, -60], [0, 0, 0, 1]]
)


@pytest.fixture(scope="module")
def people():
    """Return brains and heads of two people, each an image and its affine."""
    images, labels = make_phantoms(2, shape=(40, 36, 34), seed=0)
    brains = images * (labels > 0)
    heads = [make_head(brain, AFFINE, seed=i) for i, brain in enumerate(brains)]
    return {
        "brain": [(normalize(brain), AFFINE) for brain in brains],
        "head": [(normalize(head.image), head.affine) for head in heads],
    }


def pair_of(moving, static):
    return {
        "moving": moving[0],
        "static": static[0],
        "moving_affine": moving[1],
        "static_affine": static[1],
    }


def cut(image, slices):
    values, affine = image
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ [s.start or 0 for s in slices]
    return values[slices], moved


TURNS = [(0, 0), (30, 0), (30, 2)]
ALL, BACK, TOP = slice(None), slice(14, None), slice(18, None)


@pytest.mark.parametrize(
    "moving, static, skull",
    [
        ("brain", "brain", None),
        ("head", "head", None),
        ("head", "brain", "moving"),
        ("brain", "head", "static"),
    ],
)
def test_the_image_with_a_skull_is_found(people, moving, static, skull):
    pair = pair_of(people[moving][1], people[static][0])
    assert Heads(**pair).find_skull(np.eye(4)) == skull


@pytest.mark.parametrize("slices", [(BACK, ALL, ALL), (ALL, ALL, TOP)])
def test_fields_of_view_that_are_cut(people, slices):
    brain, head = people["brain"][0], people["head"][1]
    part = cut(brain, slices)
    assert Heads(**pair_of(head, part)).find_skull(np.eye(4)) == "moving"
    pair = pair_of(people["brain"][1], part)
    assert Heads(**pair).find_skull(np.eye(4)) is None
    pair = pair_of(part, people["brain"][1])
    assert Heads(**pair).find_skull(np.eye(4)) is None


@pytest.mark.parametrize("scale", [0.85, 1.0, 1.15])
@pytest.mark.parametrize("shift", [0, 25])
def test_a_larger_or_displaced_brain_is_no_skull(people, scale, shift):
    prealign = np.diag([scale, scale, scale, 1])
    prealign[:3, 3] = shift, shift / 2, 0
    pair = pair_of(people["brain"][1], people["brain"][0])
    assert Heads(**pair).find_skull(prealign) is None


def test_crops_of_tissue_have_no_skull():
    crops = np.random.default_rng(0).uniform(0.5, 1, (2, 20, 22, 18)).astype(np.float32)
    pair = pair_of(*((crop, np.eye(4)) for crop in crops))
    assert Heads(**pair).find_skull(np.eye(4)) is None


def test_the_contrast_may_be_inverted_in_the_brain(people):
    (brain, affine), head = people["brain"][0], people["head"][1]
    inverted = np.where(brain > 0.1, 1.2 - brain, 0).astype(np.float32)
    pair = pair_of(head, (inverted, affine))
    assert Heads(**pair).find_skull(np.eye(4)) == "moving"


@pytest.mark.parametrize(
    "degrees, axis",
    [(-30, 1), *(pytest.param(*turn, marks=pytest.mark.slow) for turn in TURNS)],
)
def test_a_turned_head_is_aligned_by_its_brain(people, degrees, axis):
    values, affine = people["head"][0]
    turn = np.eye(4)
    vector = np.deg2rad(degrees) * np.eye(3)[axis]
    turn[:3, :3] = Rotation.from_rotvec(vector).as_matrix()
    pair = pair_of((values, turn @ affine), people["brain"][0])
    alignment = Heads(**pair).align("auto")
    # The brain in the head is the static image itself: the turn alone is right.
    points = np.argwhere(people["brain"][0][0] > 0.3) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    points = np.column_stack([points, np.ones(len(points))]).T
    error = np.linalg.norm(((alignment.affine - turn) @ points)[:3], axis=0)
    assert error.mean() < 1.5


@pytest.mark.parametrize(
    "moving, static, masks",
    [
        ("brain", "brain", [set()]),
        ("head", "head", [set()]),
        ("head", "brain", [{"mask"}]),
        ("brain", "head", [{"moving_mask"}]),
    ],
)
def test_only_a_skull_changes_the_alignment(people, monkeypatch, moving, static, masks):
    calls = []

    def estimate(moving, static, *, moving_affine, static_affine, kind, **masks):
        calls.append(set(masks))
        return Alignment(np.eye(4), "none", 1, 1.0, 1.0, 0.0, np.zeros(3))

    monkeypatch.setattr("dipy_nn_reg.mapping.skull.estimate_prealign", estimate)
    Heads(**pair_of(people[moving][1], people[static][0])).align("auto")
    assert calls == masks


def test_a_skull_is_found_where_the_alignment_of_whole_images_fails(
    people, monkeypatch
):
    """A head whose field of view is as small as the brain is aligned twice."""
    head = cut(people["head"][1], (ALL, ALL, slice(30, None)))
    calls = []

    def estimate(moving, static, *, moving_affine, static_affine, kind, **masks):
        calls.append(set(masks))
        return Alignment(np.eye(4), "none", 1, 1.0, 1.0, 0.0, np.zeros(3))

    monkeypatch.setattr("dipy_nn_reg.mapping.skull.estimate_prealign", estimate)
    Heads(**pair_of(head, people["brain"][0])).align("auto")
    assert calls == [set(), {"mask"}]


def test_slices_have_no_skull():
    images, _ = make_phantoms(2, shape=(32, 36), seed=0)
    pair = pair_of(*((image, np.eye(3)) for image in images))
    annotations, skull = Heads(**pair).limit(NO_ANNOTATIONS, np.eye(3))
    assert (annotations, skull) == (NO_ANNOTATIONS, None)


def test_a_mask_holds_the_largest_object_without_holes_and_its_margin():
    values = np.zeros((20, 21, 19), np.float32)
    values[5:15, 5:15, 5:15] = 1
    values[9:11, 9:11, 9:11] = 0  # a ventricle
    values[1, 1, 1] = 1  # a speck
    whole = np.zeros(values.shape, bool)
    whole[5:15, 5:15, 5:15] = True
    mask = brain_mask(values, np.diag([2, 2, 2, 1]), 2.0)
    np.testing.assert_array_equal(mask, binary_dilation(whole))


def test_the_masks_are_those_of_the_brain_alone(people):
    (one, _), (other, _) = people["brain"]
    pair = pair_of(people["head"][1], people["brain"][0])
    annotations, _ = Heads(**pair).limit(NO_ANNOTATIONS, np.eye(4))
    assert list(annotations.as_dict()) == ["mask"]
    assert np.all(annotations.mask[one > 0.3])
    pair = pair_of(people["brain"][1], people["head"][0])
    annotations, _ = Heads(**pair).limit(NO_ANNOTATIONS, np.eye(4))
    assert set(annotations.as_dict()) == {"mask", "moving_mask"}
    assert np.all(annotations.moving_mask[other > 0.3])
    # On the grid of the head, the mask is the brain that was moved there, and wider.
    assert annotations.mask.shape == pair["static"].shape
    volumes = annotations.mask.sum(), annotations.moving_mask.sum()
    assert 1.05 < volumes[0] / volumes[1] < 1.8


def test_a_mask_of_the_user_is_kept(people):
    pair = pair_of(people["head"][1], people["brain"][0])
    given = Annotations(mask=np.ones(pair["static"].shape, np.uint8))
    annotations, skull = Heads(**pair).limit(given, np.eye(4))
    assert annotations is given and skull is None


def test_a_frame_says_which_image_has_a_skull(people):
    (moving, moving_affine), (static, affine) = people["head"][1], people["brain"][0]
    frame = Frame(
        moving,
        static,
        ndim=3,
        num_channels=1,
        moving_affine=moving_affine,
        static_affine=affine,
    )
    pair = frame.read(masked=True)
    assert pair.skull == "moving"
    assert pair.annotations.mask.shape == static.shape
    assert frame.read().skull is None
