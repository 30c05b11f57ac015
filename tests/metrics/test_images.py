import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.metrics.images import dice, entropies, ncc, to_unit_range


@pytest.mark.parametrize("shape", [(9, 8), (5, 6, 7)])
def test_ncc_is_the_correlation_coefficient(shape, rng):
    a, b = rng.normal(size=(2, *shape))
    npt.assert_allclose(ncc(a, b), np.corrcoef(a.ravel(), b.ravel())[0, 1])
    npt.assert_allclose(ncc(a, 3 * a + 5), 1)
    npt.assert_allclose(ncc(a, -a), -1)
    assert ncc(a, np.full(shape, 0.3)) == 0
    assert np.isnan(ncc(a, np.full(shape, np.nan)))


@pytest.mark.parametrize("factor", [1e-300, 1e-30, 1e300, -1e-305])
def test_ncc_of_any_scale_and_offset(factor, rng, no_warnings):
    a, b = rng.normal(size=(2, 9, 8))
    expected = np.corrcoef(a.ravel(), b.ravel())[0, 1]
    npt.assert_allclose(ncc(a, factor * b), np.sign(factor) * expected, rtol=1e-12)
    npt.assert_allclose(ncc(a * abs(factor), a * abs(factor)), 1)
    # Far apart, as much of the contrast is left as float64 holds.
    npt.assert_allclose(ncc(a, b + 1e9), expected, atol=1e-6)
    wide = np.array([-1.7e308, 1.7e308, 0])
    npt.assert_allclose(ncc(wide, wide), 1)
    assert ncc(a, np.full(a.shape, factor)) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_ncc_of_values_that_are_not_finite_is_nan(value, rng, no_warnings):
    image = rng.normal(size=(8, 7))
    broken = image.copy()
    broken[3, 4] = value
    assert np.isnan(ncc(image, broken)) and np.isnan(ncc(broken, image))


def test_dice_by_hand():
    a, b = np.zeros((2, 4, 4))
    a[:2], b[1:] = 1, 1
    npt.assert_allclose(dice(a, b), 2 * 4 / (8 + 12))
    assert dice(a, a) == 1
    assert dice(a, 0 * a) == 0
    assert dice(0 * a, 0 * a) == 1
    assert dice(10 * a, 10 * a - 8, threshold=5) == 0


def test_dice_of_nan_is_nan(rng, no_warnings):
    image = rng.normal(size=(8, 7))
    broken = image.copy()
    broken[3, 4] = np.nan
    assert np.isnan(dice(image, broken)) and np.isnan(dice(broken, image))


def test_entropies_of_known_distributions():
    """Four equally frequent values, beside an image of two values, four, or one."""
    image = np.tile([0, 1, 2, 3], 25)
    halves = image // 2
    npt.assert_allclose(entropies(image, halves), np.log([4, 2, 4]))
    npt.assert_allclose(entropies(1e9 - 7 * image, image), np.log([4, 4, 4]))
    npt.assert_allclose(entropies(image, 0 * image), np.log([4, 1, 4]))


@pytest.mark.parametrize("factor", [1.7e308, -1.7e308, 1e-308])
def test_entropies_of_extreme_values(factor, no_warnings):
    image = factor * np.array([0.2, -1, 1, -0.2])
    npt.assert_allclose(entropies(image, [1, 1, 2, 2], bins=2), np.log([2, 2, 4]))


@pytest.mark.parametrize("where", [[0, 1, 1, 0], [[True] * 4] * 4, [True] * 3])
def test_the_voxels_of_a_range_are_chosen_by_bool(where):
    with pytest.raises(ValueError, match=r"where to be of bool, of shape \(4,\)"):
        to_unit_range(np.arange(4.0), where=np.array(where))


def test_the_unit_range_ignores_outliers_and_nan(rng):
    image = rng.uniform(3, 7, (60, 60))
    image[0, 0], image[0, 1] = 1e6, np.nan
    rescaled = to_unit_range(image)
    assert rescaled.min() == 0 and rescaled[0, 0] == 1 and rescaled[0, 1] == 0
    low, high = np.nanmin(image), np.nanpercentile(image, 99.8)
    npt.assert_allclose(
        rescaled[1:], np.clip((image[1:] - low) / (high - low), 0, 1), atol=1e-5
    )
    assert not to_unit_range(np.full((4, 4), 5)).any()


def test_the_unit_range_of_extreme_values(no_warnings):
    for values in ([np.nan] * 3, [np.inf, np.nan, -np.inf], [7, 7, 7], [0, 0, 0]):
        npt.assert_array_equal(to_unit_range(np.array(values)), 0)
    for dtype in (bool, np.uint8, np.float16, ">f4"):
        npt.assert_array_equal(to_unit_range(np.eye(2, dtype=dtype)), np.eye(2))
    for scale in (1e-300, 1, 1e308):
        rescaled = to_unit_range(scale * np.linspace(-1, 1, 9))
        npt.assert_allclose(
            rescaled, np.minimum(np.linspace(0, 1.002, 9), 1), atol=1e-3
        )
    image = np.r_[-np.inf, np.linspace(0, 1, 9), np.inf]
    npt.assert_array_equal(to_unit_range(image)[[0, -1]], [0, 1])
    offset = 2**53 + np.arange(0, 9, 2)
    rescaled = to_unit_range(offset)
    npt.assert_allclose(rescaled, np.linspace(0, 1, 5), atol=3e-3)


def test_images_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match=r"one shape.*\(3,\).*\(4,\)"):
        ncc(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="one shape"):
        dice(np.ones(3), np.ones(4))


@pytest.mark.parametrize("threshold", [np.nan, "0.5", None, 1j])
def test_invalid_thresholds_are_refused(threshold):
    with pytest.raises(ValueError, match="Expected threshold to be a number"):
        dice([0, 1], [0, 1], threshold=threshold)


@pytest.mark.parametrize("measure", [ncc, dice, entropies])
def test_invalid_images_are_refused(measure, junk):
    with pytest.raises(ValueError, match=r"Expected .*\. Received "):
        measure(junk, junk)


def test_an_invalid_image_has_no_unit_range(junk):
    with pytest.raises(ValueError, match=r"Expected .*\. Received "):
        to_unit_range(junk)


@pytest.mark.parametrize(
    ("value", "bins", "message"),
    [(np.nan, 4, "finite"), (np.inf, 4, "finite"), (0, 0, "bins"), (0, 2.5, "bins")],
)
def test_entropies_need_finite_values_and_bins(value, bins, message):
    with pytest.raises(ValueError, match=f"Expected {message}"):
        entropies([0, value, 1], [0, 1, 1], bins=bins)
