import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.intensities import (
    estimate_background,
    float_type,
    normalize,
    replace_nan,
)


@pytest.mark.parametrize("shape", [(30, 40), (20, 24, 18), (30, 40, 1), (1, 30, 40)])
@pytest.mark.parametrize("background", [0, -1000, 255, 0.25])
def test_an_object_may_touch_some_faces(rng, shape, background):
    image = np.full(shape, background, np.float64)
    inner = tuple(slice(n // 4, None) if n > 1 else slice(None) for n in shape)
    image[inner] = background + 10 + rng.random(image[inner].shape)
    assert estimate_background(image) == background


def test_the_background_may_be_noisy(rng):
    image = rng.normal(100, 2, (40, 40, 40))
    image[10:30, 10:30] += 500
    assert abs(estimate_background(image) - 100) < 1


def test_an_object_may_extend_through_all_slices_of_a_stack(rng):
    image = np.full((40, 44, 3), -1000.0)
    image[4:-4, 4:-4] = rng.random((32, 36, 3))
    assert estimate_background(image) == -1000


def test_the_background_follows_offset_and_scale(rng):
    image = rng.integers(0, 4000, (12, 13, 11))
    background = estimate_background(image)
    assert background in image
    npt.assert_allclose(estimate_background(image * 2.0 - 3e4), background * 2 - 3e4)


def test_nan_becomes_background_with_a_warning(dipy_log):
    image = np.full((8, 9), 7, np.float32)
    image[3:5, 3:5] = 20
    image[:2] = np.nan
    filled = replace_nan(image, name="the scan")
    assert filled.dtype == np.float32
    npt.assert_array_equal(filled[:2], 7)
    npt.assert_array_equal(filled[2:], image[2:])
    assert np.isnan(image[0, 0])  # the input is not changed
    assert "18 of 72 values of the scan are NaN" in dipy_log.text


def test_images_without_nan_are_not_copied():
    for image in (np.ones((3, 3)), np.ones((3, 3), np.uint8)):
        assert replace_nan(image, name="it") is image


def test_images_of_nan_alone_are_refused():
    with pytest.raises(ValueError, match="nan everywhere"):
        replace_nan(np.full((3, 3), np.nan), name="it")


@pytest.fixture
def scan(rng):
    """An object with structure on a dark background, of integers."""
    image = np.zeros((24, 20, 18))
    image[5:-5, 4:-4, 4:-4] = rng.integers(100, 900, (14, 12, 10))
    return image


def test_the_robust_range_is_normalized_to_between_one_and_two(scan):
    image = normalize(scan)
    assert image.dtype == np.float32
    assert image[0, 0, 0] == 0
    assert 1 <= np.percentile(image, 99.5) - np.percentile(image, 0.5) < 2
    npt.assert_allclose(np.corrcoef(image.ravel(), scan.ravel())[0, 1], 1)


@pytest.mark.parametrize("offset", [-1000, 1e9, -(2**52)])
@pytest.mark.parametrize("scale", [1, 0.25, 2.0**-100, 2.0**90])
def test_offset_and_scale_change_nothing(scan, offset, scale):
    npt.assert_array_equal(normalize((scan + offset) * scale), normalize(scan))


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 3.7, 1e30, 1e300])
def test_any_factor_changes_no_more_than_float32_rounds(scan, scale):
    scaled, expected = normalize(scan * scale), normalize(scan)
    factor = scaled.max() / expected.max()
    ratio = 2.0 ** np.round(np.log2(factor))
    npt.assert_allclose(scaled, expected * factor, rtol=1e-6)
    assert 0.5 <= ratio <= 2


@pytest.mark.parametrize(
    "dtype", ["u2", "i2", "i4", "u4", "i8", "u8", "f4", "f8", ">i2", ">f4", "f2"]
)
def test_the_type_changes_nothing(scan, dtype):
    npt.assert_array_equal(normalize(scan.astype(dtype)), normalize(scan))


def test_large_integers_keep_their_contrast(scan):
    shifted = scan.astype(np.int64) + 2**60
    npt.assert_array_equal(normalize(shifted), normalize(scan))
    shifted = scan.astype(np.int64) - 2**62
    npt.assert_array_equal(normalize(shifted), normalize(scan))


def test_a_single_voxel_does_not_hide_the_others(scan):
    spoilt = scan.copy()
    spoilt[12, 10, 9] = 1e9
    npt.assert_allclose(
        np.delete(normalize(spoilt), 12, 0), np.delete(normalize(scan), 12, 0)
    )
    assert normalize(spoilt).max() < 25


def test_boolean_images_and_images_without_contrast():
    image = np.zeros((9, 9), bool)
    image[3:6, 3:6] = True
    npt.assert_array_equal(normalize(image), image)
    npt.assert_array_equal(normalize(np.full((4, 5), 3.0)), np.zeros((4, 5)))


def test_sparse_structure_is_kept(rng):
    image = np.zeros((64, 64, 64))
    image[30:32, 30:32, 30] = [[1, 2], [3, 4]]
    normalized = normalize(image)
    npt.assert_array_equal(normalized / normalized.max(), image / 4)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 255], np.float32),
        ([0.0, 1.0], np.float32),
        ([1e9, 1e9 + 1], np.float64),
        ([-1000, 3000], np.float32),
        ([0, 1e-38], np.float64),
        ([2**40, 2**40 + 7], np.float64),
        ([5.0, 5.0], np.float32),
        ([0.0, 1e200], np.float64),
    ],
)
def test_the_type_preserves_the_contrast(values, expected):
    assert float_type(np.array(values)) == expected
