from keras import ops
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.transform.arguments import (
    arrays_for_arrays,
    as_fill,
    as_image,
    batches_match,
    check_displacements,
    check_warp_shapes,
)


def test_arrays_for_arrays_and_tensors_for_tensors():
    double = arrays_for_arrays(lambda x, *, y: ops.convert_to_tensor(x) * y)
    array = np.ones((2, 3), np.float32)
    assert isinstance(double(array, y=2.0), np.ndarray)
    assert not isinstance(double(array, y=ops.convert_to_tensor(2.0)), np.ndarray)


@pytest.mark.parametrize(
    ("one", "other", "expected"), [(2, 2, True), (1, 3, True), (3, 1, True)]
)
def test_batches_of_equal_size_or_one_match(one, other, expected):
    assert batches_match(np.ones((one, 4)), np.ones((other, 5))) is expected
    assert not batches_match(np.ones((2, 4)), np.ones((3, 4)))


def test_only_linear_interpolation_changes_the_type():
    image = np.ones((4, 5), np.int16)
    assert ops.convert_to_numpy(as_image(image, "nearest")).dtype == np.int16
    assert ops.convert_to_numpy(as_image(image, "linear")).dtype == np.float32
    with pytest.raises(ValueError, match="Expected an image of 64 bits at most"):
        as_image(image.astype(np.longdouble), "nearest")


def test_fill_broadcasts_to_the_image():
    image = np.ones((2, 4, 5, 3), np.float32)
    assert as_fill(None, image, "zero") is None
    for fill in (7.0, np.arange(3.0)[None], np.arange(6.0).reshape(2, 3)):
        actual = ops.convert_to_numpy(as_fill(fill, image, "zero"))
        expected = np.broadcast_to(np.reshape(fill, np.shape(fill) or (1, 1)), (2, 3))
        npt.assert_array_equal((actual * image)[:, 1, 2], expected)


@pytest.mark.parametrize(
    "dtype, fill",
    [
        (np.uint8, 300),
        (np.uint8, -1),
        (np.int16, 0.5),
        (bool, 2),
        (np.int32, np.nan),
        (np.float16, 1e6),
        (np.float32, 1e300),
        (np.float32, -np.inf),
        (np.float32, "a"),
        (np.float32, [[0, 1e39]]),
    ],
)
def test_a_fill_that_the_image_cannot_hold_is_refused(dtype, fill):
    image = ops.convert_to_tensor(np.ones((1, 3, 4, 2), dtype))
    with pytest.raises(ValueError, match="Expected fill to be"):
        as_fill(fill, image, "zero")


@pytest.mark.parametrize(
    ("image", "displacement", "expected"),
    [
        ((4, 5), (4, 5, 2), (False, False)),
        ((4, 5, 3), (4, 5, 2), (False, True)),
        ((2, 4, 5), (2, 4, 5, 2), (True, False)),
        ((1, 4, 5, 6, 3), (2, 4, 5, 6, 3), (True, True)),
    ],
)
def test_layout_of_an_image_and_a_displacement(image, displacement, expected):
    assert check_warp_shapes(np.ones(image), np.ones(displacement)) == expected


def test_displacements_of_another_layout_are_refused():
    check_displacements(np.ones((1, 4, 5, 2)), np.ones((3, 6, 7, 2)))
    for first, second in (
        [(4, 5, 2), (1, 4, 5, 2)],
        [(4, 5, 3), (4, 5, 2)],
        [(2, 4, 5, 2), (3, 4, 5, 2)],
    ):
        with pytest.raises(ValueError, match="Expected two displacements.*Received"):
            check_displacements(np.ones(first), np.ones(second))
