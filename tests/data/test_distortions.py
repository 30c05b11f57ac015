import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.data.distortions import distort, make_distortion

SHAPES = pytest.mark.parametrize("shape", [(64, 51), (40, 44, 37)], ids=["2D", "3D"])


@SHAPES
def test_fields_are_large_smooth_and_do_not_fold(shape):
    field = make_distortion(shape, seed=0)
    assert field.dtype == np.float32 and field.shape == shape
    npt.assert_allclose(np.abs(field).max(), 8, rtol=1e-6)
    for axis in range(len(shape)):
        slope = np.diff(field, axis=axis)
        assert np.abs(slope).max() < 0.9
        # Smooth: the slope changes far less than it may be.
        assert np.abs(np.diff(slope, axis=axis)).max() < 0.2
    assert np.ptp(field) > 10


def test_fields_of_small_images_are_smaller():
    field = make_distortion((10, 9), seed=0)
    assert 1 < np.abs(field).max() < 8
    assert np.abs(np.diff(field, axis=0)).max() < 0.9
    npt.assert_array_equal(make_distortion((1, 1), seed=0), 0)
    npt.assert_array_equal(make_distortion((9, 9), largest=0, seed=0), 0)


def test_the_seed_determines_the_field():
    one, same, other = (make_distortion((20, 20), seed=seed) for seed in (1, 1, 2))
    npt.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1


@SHAPES
@pytest.mark.parametrize("sign", [1, -1])
def test_mass_is_kept_on_each_line(sign, shape, rng):
    image = np.zeros(shape)
    inner = (slice(10, -10),) * len(shape)
    image[inner] = rng.random(image[inner].shape)
    field = make_distortion(shape, seed=1)
    for axis in range(len(shape)):
        distorted = distort(image, field, axis=axis, sign=sign)
        npt.assert_allclose(distorted.sum(axis), image.sum(axis), atol=1e-4)
        assert np.abs(distorted - image).max() > 0.1


def test_a_field_of_zero_changes_nothing(rng):
    image = rng.random((9, 8), np.float32)
    npt.assert_array_equal(distort(image, np.zeros((9, 8)), axis=0), image)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_shift_goes_along_the_axis_in_the_direction_of_the_sign(axis, rng):
    image = np.zeros((12, 11), np.float32)
    image[4:8, 4:8] = rng.random((4, 4))
    field = np.full(image.shape, 3.0)
    for sign in (1, -1):
        expected = np.roll(image, 3 * sign, axis)
        found = distort(image, field, axis=axis, sign=sign)
        npt.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("slope", [0.4, -0.4])
def test_a_bump_is_stretched_and_dimmed(slope, sign):
    """With b = a x, the image at y is T(y / (1 + s a)) / (1 + s a)."""
    x = np.arange(101.0) - 50

    def bump(x):
        return np.exp(-((x - 3) ** 2) / (2 * 6**2))

    lines = np.repeat(bump(x)[:, None], 2, axis=1)
    field = np.repeat(slope * x[:, None], 2, axis=1)
    found = distort(lines, field, axis=0, sign=sign)
    stretch = 1 + sign * slope
    npt.assert_allclose(found[:, 0], bump(x / stretch) / stretch, atol=0.02)
    npt.assert_allclose(found.max(), 1 / stretch, rtol=0.02)


def test_what_leaves_the_image_is_lost():
    line = np.ones((1, 6))
    found = distort(line, np.full(line.shape, 2.0), axis=1)
    npt.assert_allclose(found, [[0, 0, 1, 1, 1, 1]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"field": np.zeros((5, 4))}, r"\(4, 5\) and \(5, 4\)"),
        ({"axis": 2}, "axis to be an integer"),
        ({"sign": 2}, "sign to be 1 or -1"),
        ({"field": np.arange(20.0).reshape(4, 5)}, "one that folds"),
    ],
)
def test_invalid_input_of_distort_is_refused(change, message):
    options = {"field": np.zeros((4, 5)), "axis": 1} | change
    with pytest.raises(ValueError, match=message):
        distort(np.ones((4, 5)), options.pop("field"), **options)


@pytest.mark.parametrize(
    "options", [{"shape": 5}, {"largest": -1}, {"seed": -1}, {"largest": np.nan}]
)
def test_invalid_options_of_a_field_are_refused(options):
    with pytest.raises(ValueError, match=f"Expected {next(iter(options))}"):
        make_distortion(**{"shape": (9, 9)} | options)
