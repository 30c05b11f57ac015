import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.annotations import PLACES
from dipy_nn_reg.mapping.frame_checks import (
    check_affines,
    check_annotation,
    check_image,
)

LABELS, MASK = (PLACES[name] for name in ("static_labels", "mask"))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, ">u2"])
@pytest.mark.parametrize("place", [LABELS, MASK])
def test_integers_and_booleans_are_taken(place, dtype, rng):
    array = rng.integers(0, 2, (4, 5)).astype(dtype)
    checked = check_annotation(array, place, (4, 5))
    assert checked.dtype.kind in "iu"
    npt.assert_array_equal(checked, array)


def test_a_mask_of_any_finite_numbers_is_taken():
    mask = np.array([[0, -1.5], [2, 0]])
    npt.assert_array_equal(check_annotation(mask, MASK, (2, 2)), [[0, 1], [1, 0]])


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1)])
def test_a_slice_may_lack_its_last_axis(shape):
    checked = check_annotation(np.ones(shape, int), LABELS, (4, 5, 1))
    assert checked.shape == (4, 5, 1)


@pytest.mark.parametrize(
    ("array", "place", "message"),
    [
        (np.ones((3, 3), int), MASK, r"mask of the shape of its image, \(4, 5\)"),
        (np.ones((4, 5, 1), int), LABELS, "static_labels of the shape of its image"),
        (np.ones((4, 5)), LABELS, "Expected integers in static_labels.*float64"),
        (np.full((4, 5), np.nan), MASK, "finite numbers, in mask.*not finite"),
        (np.full((4, 5), "a"), MASK, "booleans, or finite numbers, in mask"),
        (np.zeros((4, 5)), MASK, "Expected voxels other than 0 in mask"),
        (np.zeros((4, 5), int), LABELS, "Expected labels other than 0"),
    ],
)
def test_invalid_annotations_are_refused(array, place, message):
    with pytest.raises(ValueError, match=message):
        check_annotation(array, place, (4, 5))


@pytest.mark.parametrize("ndim", [2, 3])
def test_without_affines_both_images_are_on_one_grid(ndim):
    for affine in check_affines(None, None, ndim):
        npt.assert_array_equal(affine, np.eye(ndim + 1))


def test_affines_are_returned_in_their_order():
    static, moving = np.diag([2, 3, 1]), np.diag([4, 5, 1])
    for checked, affine in zip(check_affines(static, moving, 2), (static, moving)):
        npt.assert_array_equal(checked, affine)
        assert checked.dtype == np.float64


@pytest.mark.parametrize(
    ("static", "moving", "message"),
    [
        (np.eye(3), None, "static_affine alone"),
        (None, np.eye(3), "moving_affine alone"),
        (np.eye(4), np.eye(3), r"static_affine of shape \(3, 3\)"),
        (np.eye(3), np.zeros((3, 3)), "moving_affine"),
    ],
)
def test_invalid_affines_are_refused(static, moving, message):
    with pytest.raises(ValueError, match=message):
        check_affines(static, moving, 2)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1)])
def test_an_image_has_an_axis_for_channels(shape, rng):
    image = rng.random(shape)
    checked = check_image(image, "moving", 2, 1)
    assert checked.shape == (4, 5, 1)
    npt.assert_allclose(checked[..., 0], image.reshape(4, 5), rtol=1e-6)


def test_constant_images_are_refused():
    message = "moving image with contrast.*all 3.0"
    with pytest.raises(ValueError, match=message):
        check_image(np.full((4, 5), 3.0), "moving", 2, 1)


@pytest.mark.parametrize("shape", [(4,), (4, 5, 6), (4, 5, 2)])
def test_images_of_other_shapes_are_refused(shape, rng):
    with pytest.raises(ValueError, match="Expected moving"):
        check_image(rng.random(shape), "moving", 2, 1)
