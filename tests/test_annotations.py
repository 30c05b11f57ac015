"""Annotations of pairs: their names, their maps, and the labels that occur."""

import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.annotations import (
    PLACES,
    Annotations,
    find_label_values,
    labels_of_one_type,
)


@pytest.fixture
def annotations(rng):
    """Return annotations of all kinds, each of values of its own."""
    return Annotations(
        *rng.integers(0, 9, (2, 3, 6, 5)),
        *rng.uniform(0, 4, (2, 3, 7, 2)),
        mask=rng.integers(0, 2, (3, 6, 5)),
        moving_mask=rng.integers(0, 2, (3, 6, 5)),
        moving_orientations=rng.random((3, 6, 5, 4, 6)),
        static_orientations=rng.random((3, 6, 5, 4, 6)),
        label_values=np.arange(1, 9),
    )


def test_dictionary_holds_what_is_not_none(annotations):
    arrays = annotations.as_dict()
    assert tuple(arrays) == tuple(PLACES)
    for name, array in arrays.items():
        assert array is getattr(annotations, name)
    points = annotations.moving_landmarks
    assert Annotations(moving_landmarks=points).as_dict() == {
        "moving_landmarks": points
    }
    assert Annotations().as_dict() == {}


def test_map_calls_a_function_with_each_array_and_its_place(annotations):
    places = []

    def double(array, place):
        places.append(place)
        return 2 * array

    doubled = annotations.map(double)
    assert tuple(places) == tuple(PLACES.values())
    for name, array in annotations.as_dict().items():
        npt.assert_array_equal(getattr(doubled, name), np.multiply(array, 2))
    assert doubled.label_values is annotations.label_values


def test_map_skips_what_is_none(annotations):
    mask = Annotations(mask=annotations.mask)
    places = []
    result = mask.map(lambda array, place: places.append(place.name) or array)
    assert places == ["mask"]
    assert result.as_dict().keys() == {"mask"}
    assert Annotations().map(None) == Annotations()


@pytest.mark.parametrize("place", PLACES.values(), ids=lambda place: place.name)
def test_places_agree_with_their_names(place):
    if place.kind == "mask":
        assert (place.name, place.image) in {
            ("mask", "static"),
            ("moving_mask", "moving"),
        }
    else:
        assert place.name == f"{place.image}_{place.kind}"


def test_swapped_annotations_are_those_of_the_other_direction(annotations):
    swapped = annotations.swapped()
    for kind in ("labels", "landmarks", "orientations"):
        for one, other in (("moving", "static"), ("static", "moving")):
            array = getattr(annotations, f"{other}_{kind}")
            assert getattr(swapped, f"{one}_{kind}") is array
    assert swapped.mask is annotations.moving_mask
    assert swapped.moving_mask is annotations.mask
    assert swapped.label_values is annotations.label_values
    again = swapped.swapped()
    assert all(getattr(again, name) is getattr(annotations, name) for name in PLACES)


TYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


@pytest.mark.parametrize("static_type", TYPES)
@pytest.mark.parametrize("moving_type", TYPES)
def test_labels_of_one_type_hold_the_values_of_both(moving_type, static_type, rng):
    moving, static = (
        rng.integers(0, 128, (6, 5)).astype(dtype)
        for dtype in (moving_type, static_type)
    )
    results = labels_of_one_type(moving, static)
    npt.assert_array_equal(results[0], moving)
    npt.assert_array_equal(results[1], static)
    # Comparisons of the results are exact, which those of float64 are not.
    assert np.result_type(*results).kind in "iu"


@pytest.mark.parametrize(
    ("moving", "static"),
    [
        (np.array([0, 2**53 + 1], np.uint64), np.array([0, -(2**53)], np.int64)),
        (np.array([0, 2**63 + 1], np.uint64), np.array([0, 2**63 - 1], np.int64)),
        (np.array([0, 2**63 - 1], np.uint64), np.array([-1, 5], np.int8)),
    ],
)
def test_large_labels_keep_their_values(moving, static):
    results = labels_of_one_type(moving, static)
    assert results[0].dtype == results[1].dtype
    for result, labels in zip(results, (moving, static)):
        assert result.tolist() == labels.tolist()  # integers of Python are exact


def test_labels_of_no_common_type_are_refused():
    moving, static = np.array([2**63], np.uint64), np.array([-1], np.int64)
    with pytest.raises(ValueError, match="Expected labels that one type.*-1 to 9223"):
        labels_of_one_type(moving, static)


@pytest.mark.parametrize("shape", [(9, 8), (5, 6, 7)])
def test_label_values_are_those_of_both_maps_but_0(shape, rng):
    moving = rng.choice([0, 3, 7, 40], shape)
    static = rng.choice([-2, 0, 7], shape)
    expected = sorted((set(moving.ravel()) | set(static.ravel())) - {0})
    npt.assert_array_equal(find_label_values(moving, static), expected)


def test_maps_of_background_have_no_label_values():
    assert find_label_values(np.zeros((3, 4), int), np.zeros((3, 4), int)).size == 0
