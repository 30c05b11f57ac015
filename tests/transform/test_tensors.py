from keras import ops
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.losses.choices import LOSSES
from dipy_nn_reg.losses.penalties import (
    bending,
    folded,
    folding,
    gradient,
    inverse_consistency,
    tv,
)
from dipy_nn_reg.losses.supervision import label_overlap, landmark_error

PENALTIES = (bending, folded, folding, gradient, tv)
SHAPES = [(2, 9, 10), (2, 9, 10, 9)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, np.uint8, bool])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_other_types(name, dtype, shape, rng):
    images = (3 * rng.random((2, *shape, 1))).astype(dtype)
    mask = (rng.random((*shape, 1)) > 0.3).astype(dtype)
    single = [ops.convert_to_tensor(i.astype(np.float32)) for i in (*images, mask)]
    expected = ops.convert_to_numpy(LOSSES[name].function(*single[:2], mask=single[2]))
    for arguments in (
        [*images, mask],
        [images[0].tolist(), *single[1:]],
        [single[0], ops.convert_to_tensor(images[1]), mask],
    ):
        actual = LOSSES[name].function(*arguments[:2], mask=arguments[2])
        npt.assert_allclose(ops.convert_to_numpy(actual), expected, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, np.uint8, bool])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_penalties_of_other_types(penalty, dtype, shape, rng):
    field = (3 * rng.random((*shape, len(shape) - 1))).astype(dtype)
    expected = ops.convert_to_numpy(penalty(field.astype(np.float32)))
    for values in (field, field.tolist(), ops.convert_to_tensor(field)):
        npt.assert_allclose(ops.convert_to_numpy(penalty(values)), expected, rtol=1e-5)


def test_inverse_consistency_of_other_types(rng):
    forward, backward = rng.random((2, 2, 9, 10, 2))
    expected = inverse_consistency(
        *(ops.convert_to_tensor(f, "float32") for f in (forward, backward))
    )
    actual = inverse_consistency(forward, backward.tolist())
    npt.assert_allclose(*map(ops.convert_to_numpy, (actual, expected)), rtol=1e-5)


IMAGES = np.ones((2, 9, 10, 1))


@pytest.mark.parametrize(
    ("static", "warped", "mask", "message"),
    [
        (IMAGES[0], IMAGES[0], None, r"images of one shape.*\(9, 10, 1\)"),
        (IMAGES, IMAGES[:, 1:], None, "images of one shape"),
        (IMAGES, IMAGES[..., 0], None, "images of one shape"),
        (IMAGES, np.repeat(IMAGES, 3, -1), None, "images of one shape"),
        (IMAGES, np.repeat(IMAGES, 2, 0), None, "images of one shape"),
        (IMAGES[:, :0], IMAGES[:, :0], None, "static to be an array of one"),
        (ops.zeros((2, 0, 9, 1)), IMAGES, None, "static with one value or more"),
        (IMAGES, 1e39 * IMAGES, None, "warped in the range of float32"),
        (IMAGES, 1j * IMAGES, None, "real numbers in warped"),
        (IMAGES, "image", None, "real numbers in warped"),
        (IMAGES, None, None, "real numbers in warped"),
        (IMAGES, IMAGES, IMAGES[..., 0], "mask of shape"),
        (IMAGES, IMAGES, IMAGES[:, 1:], "mask of shape"),
        (IMAGES, IMAGES, "mask", "real numbers in mask"),
    ],
)
@pytest.mark.parametrize("name", LOSSES)
def test_losses_refuse_invalid_arguments(name, static, warped, mask, message):
    with pytest.raises(ValueError, match=f"Expected.*{message}"):
        LOSSES[name].function(static, warped, mask=mask)


@pytest.mark.parametrize(
    "field",
    [
        np.ones((9, 10, 2)),
        np.ones((2, 9, 10, 3)),
        np.ones((2, 9, 1)),
        np.ones((1, 3, 3, 3, 3, 4)),
        np.ones((2, 0, 10, 2)),
        ops.zeros((0, 9, 10, 2)),
        np.full((2, 9, 10, 2), 1e300),
        np.ones((2, 9, 10, 2), complex),
        ops.zeros((9, 10)),
        "field",
        None,
        [[1, 2], [3]],
        5,
    ],
)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_penalties_refuse_invalid_fields(penalty, field):
    with pytest.raises(ValueError, match=r"Expected .*\. Received "):
        penalty(field)
    with pytest.raises(ValueError, match=r"Expected .*\. Received "):
        inverse_consistency(np.ones((2, 9, 10, 2)), field)


def test_supervision_of_other_types(rng):
    labels = rng.integers(0, 2, (2, 2, 9, 10, 3))
    single = labels.astype(np.float32)
    npt.assert_allclose(label_overlap(*labels), label_overlap(*single))
    points = rng.integers(1, 8, (2, 2, 4, 2))
    field = rng.random((2, 9, 10, 2))
    expected = landmark_error(field.astype(np.float32), *points.astype(np.float32))
    npt.assert_allclose(landmark_error(field, *points), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "invalid", [np.ones((9, 10)), None, "3", 5, np.ones((2, 0, 3))]
)
def test_supervision_refuses_invalid_arguments(invalid):
    field, points = np.ones((2, 9, 10, 2)), np.ones((2, 4, 2))
    for call in (
        lambda: label_overlap(IMAGES, invalid),
        lambda: landmark_error(invalid, points, points),
        lambda: landmark_error(field, invalid, points),
        lambda: landmark_error(field, points, invalid),
    ):
        with pytest.raises(ValueError, match=r"Expected .*\. Received "):
            call()
