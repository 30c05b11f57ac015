import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg.diffusion.correction import (
    correct_distortion,
    distortion_to_displacement,
    volume_change,
)
from dipy_nn_reg.transform.functions import warp

SHAPES = pytest.mark.parametrize("shape", [(9, 8), (7, 6, 5)], ids=["2D", "3D"])


@SHAPES
@pytest.mark.parametrize("sign", [1, -1])
def test_images_are_read_as_by_scipy_and_modulated(sign, shape, rng):
    image = rng.random(shape, np.float32)
    field = rng.uniform(-2, 2, shape).astype(np.float32)
    for axis in range(len(shape)):
        points = np.indices(shape, float)
        points[axis] += sign * field
        expected = map_coordinates(image, points, order=1, mode="grid-constant")
        options = {"axis": axis, "sign": sign}
        plain = correct_distortion(image, field, **options, modulate=False)
        npt.assert_allclose(plain, expected, atol=1e-5)
        expected = expected * (1 + sign * np.gradient(field, axis=axis))
        found = correct_distortion(image, field, **options)
        npt.assert_allclose(found, expected, atol=1e-5)


@SHAPES
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_a_field_of_zero_changes_no_bit(dtype, shape, rng):
    image = (1000 * rng.normal(size=shape)).astype(dtype)
    found = correct_distortion(image, np.zeros(shape), axis=1)
    npt.assert_array_equal(found, image.astype(np.float32))
    assert found.dtype == np.float32


def test_a_shift_moves_tissue_back():
    """Tissue that ``up`` shows two voxels too far along the axis is brought back."""
    image = np.zeros((8, 6), np.float32)
    image[5, 3] = 7
    field = np.full(image.shape, 2.0)
    assert correct_distortion(image, field, axis=0)[3, 3] == 7
    assert correct_distortion(image, field, axis=0, sign=-1)[7, 3] == 7
    assert correct_distortion(image, field, axis=1)[5, 1] == 7


@SHAPES
def test_a_series_is_corrected_volume_by_volume(shape, rng):
    series = rng.random((*shape, 3), np.float32)
    field = rng.uniform(-1, 1, shape)
    found = correct_distortion(series, field, axis=0)
    assert found.shape == series.shape
    for i in range(3):
        one = correct_distortion(series[..., i], field, axis=0)
        npt.assert_array_equal(found[..., i], one)


@SHAPES
def test_moved_images_are_read_once(shape, rng):
    """Where the motion leads to from the place that the field leads to, as by SciPy."""
    image = rng.random(shape, np.float32)
    field = rng.uniform(-1, 1, shape)
    motion = np.eye(len(shape) + 1)
    motion[:-1] += 0.1 * rng.normal(size=motion[:-1].shape)
    for axis in range(len(shape)):
        points = np.indices(shape, float)
        points[axis] -= field
        points = np.concatenate([points, np.ones((1, *shape))])
        points = np.tensordot(motion, points, 1)[:-1]
        expected = map_coordinates(image, points, order=1, mode="grid-constant")
        options = {"axis": axis, "sign": -1, "motion": motion}
        found = correct_distortion(image, field, **options, modulate=False)
        npt.assert_allclose(found, expected, atol=1e-5)
        expected = expected * (1 - np.gradient(field, axis=axis))
        found = correct_distortion(image, field, **options)
        npt.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.ones((4, 5, 3, 2))}, "volumes on its last axis"),
        ({"image": np.ones((5, 4))}, r"\(4, 5\) and \(5, 4\)"),
        ({"image": np.ones(4), "field": np.ones(4)}, "2D or 3D"),
        ({"field": np.full((4, 5), np.inf)}, "finite field"),
        ({"axis": 2}, "axis to be an integer"),
        ({"sign": 0}, "sign to be 1 or -1"),
        ({"modulate": 1}, "modulate"),
        ({"motion": np.eye(4)}, r"motion of shape \(3, 3\)"),
    ],
)
def test_invalid_input_is_refused(change, message):
    options = {"image": np.ones((4, 5)), "field": np.ones((4, 5)), "axis": 0} | change
    with pytest.raises(ValueError, match=message):
        correct_distortion(options.pop("image"), options.pop("field"), **options)


@SHAPES
@pytest.mark.parametrize("sign", [1, -1])
def test_a_displacement_warps_as_the_field_does(sign, shape, rng):
    image = rng.random(shape, np.float32)
    field = rng.uniform(-2, 2, shape).astype(np.float32)
    for axis in range(len(shape)):
        displacement = distortion_to_displacement(field, axis=axis, sign=sign)
        options = {"axis": axis, "sign": sign, "modulate": False}
        expected = correct_distortion(image, field, **options)
        npt.assert_allclose(warp(image, displacement), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, ">i2", bool])
def test_the_sign_is_not_that_of_a_type_of_integers(dtype):
    lowest = -128 if dtype == np.int8 else 1
    field = np.full((4, 5), lowest, dtype)
    displacement = distortion_to_displacement(field, axis=1, sign=-1)
    npt.assert_array_equal(displacement, np.full((4, 5, 2), [0, -lowest]))
    npt.assert_array_equal(volume_change(field, axis=1, sign=-1), 1)


@pytest.mark.parametrize("options", [{"axis": 2}, {"axis": 0, "sign": 3}])
def test_invalid_options_of_a_displacement_are_refused(options):
    with pytest.raises(ValueError, match="Expected"):
        distortion_to_displacement(np.ones((4, 5)), **options)
    with pytest.raises(ValueError, match="Expected"):
        volume_change(np.ones((4, 5)), **options)
