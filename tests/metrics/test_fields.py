from itertools import product
import warnings

import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import correlate1d

from dipy_nn_reg import metrics
from dipy_nn_reg.metrics.fields import dice, folding, jacobian_determinant, ncc


@pytest.mark.parametrize("shape", [(9, 8), (5, 6, 7)])
def test_ncc_is_the_correlation_coefficient(shape, rng):
    a, b = rng.normal(size=(2, *shape))
    npt.assert_allclose(ncc(a, b), np.corrcoef(a.ravel(), b.ravel())[0, 1])
    npt.assert_allclose(ncc(a, 3 * a + 5), 1)
    npt.assert_allclose(ncc(a, -a), -1)
    assert ncc(a, np.full(shape, 0.3)) == 0
    assert np.isnan(ncc(a, np.full(shape, np.nan)))


def test_dice_by_hand():
    a, b = np.zeros((2, 4, 4))
    a[:2], b[1:] = 1, 1
    npt.assert_allclose(dice(a, b), 2 * 4 / (8 + 12))
    assert dice(a, a) == 1
    assert dice(a, 0 * a) == 0
    assert dice(0 * a, 0 * a) == 1
    assert dice(10 * a, 10 * a - 8, threshold=5) == 0


@pytest.mark.parametrize("ndim", [2, 3])
def test_jacobian_determinant_of_a_linear_map(ndim, rng):
    matrix = np.eye(ndim) + 0.3 * rng.normal(size=(ndim, ndim))
    grid = np.moveaxis(np.indices((6, 7, 5)[:ndim]), 0, -1)
    displacement = grid @ matrix.T - grid
    npt.assert_allclose(jacobian_determinant(displacement), np.linalg.det(matrix))


@pytest.mark.parametrize("slab", [1, 90, 400])
@pytest.mark.parametrize("shape", [(9, 10), (7, 6, 5)])
def test_a_jacobian_slab_by_slab(shape, slab, rng, monkeypatch):
    monkeypatch.setattr("dipy_nn_reg.metrics.fields._SLAB", slab)
    displacement = rng.normal(0, 0.4, (*shape, len(shape)))
    axes = range(len(shape))
    columns = [np.gradient(displacement, axis=axis) for axis in axes]
    matrices = np.eye(len(shape)) + np.stack(columns, axis=-1)
    npt.assert_allclose(jacobian_determinant(displacement), np.linalg.det(matrices))


@pytest.mark.parametrize("ndim", [2, 3])
def test_folding_of_a_reflection_and_of_no_motion(ndim):
    shape = (6, 7, 5)[:ndim]
    displacement = np.zeros((*shape, ndim))
    for strict in (False, True):
        assert folding(displacement, strict=strict) == 0
    displacement[..., 0] = -2 * np.indices(shape)[0]  # x -> -x
    for strict in (False, True):
        assert folding(displacement, strict=strict) == 100


def test_a_field_that_is_not_a_number_does_not_look_perfect():
    displacement = np.full((5, 5, 2), np.nan)
    assert folding(displacement) == folding(displacement, strict=True) == 100


def test_strict_folding_sees_what_central_differences_miss():
    displacement = np.zeros((9, 9, 2))
    displacement[4, :, 0] = 1.5  # row 4 jumps over row 5
    assert folding(displacement) == 0
    # Forward from row 4 and backward from row 5.
    npt.assert_allclose(folding(displacement, strict=True), 100 * 2 / 9)


@pytest.mark.parametrize("shape", [(6, 7), (4, 5, 4)])
def test_strict_folding_against_a_loop(shape, rng):
    ndim = len(shape)
    displacement = rng.normal(0, 0.4, (*shape, ndim))
    folded = 0
    for index in np.ndindex(*shape):
        determinants = []
        for signs in product((1, -1), repeat=ndim):
            jacobian = np.eye(ndim)
            for axis, sign in enumerate(signs):
                # At the border there is only one of the two differences.
                sign = sign if 0 <= index[axis] + sign < shape[axis] else -sign
                neighbour = list(index)
                neighbour[axis] += sign
                difference = displacement[tuple(neighbour)] - displacement[index]
                jacobian[:, axis] += sign * difference
            determinants.append(np.linalg.det(jacobian))
        folded += min(determinants) <= 0
    assert 0 < folded < np.prod(shape)
    npt.assert_allclose(
        folding(displacement, strict=True), 100 * folded / np.prod(shape)
    )


def test_bad_input():
    with pytest.raises(ValueError, match=r"one shape.*\(3,\).*\(4,\)"):
        ncc(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="one shape"):
        dice(np.ones(3), np.ones(4))
    for shape in ((4, 4), (4, 4, 3), (1, 4, 2)):
        with pytest.raises(ValueError, match="Expected one displacement"):
            folding(np.zeros(shape))


def test_sd_log_jacobian_is_that_of_learn2reg(smooth_field):
    """Its definition, written out: correlation with (-0.5, 0, 0.5) along each axis."""
    field = smooth_field((14, 15, 13), sigma=2, largest=3)
    jacobian = np.stack(
        [
            np.stack(
                [correlate1d(field[..., d], [-0.5, 0, 0.5], axis=a) for a in range(3)],
                axis=-1,
            )
            for d in range(3)
        ],
        axis=-2,
    ) + np.eye(3)
    determinant = np.linalg.det(jacobian)[2:-2, 2:-2, 2:-2]
    expected = np.std(np.log(np.clip(determinant + 3, 1e-9, 1e9)))
    assert expected > 0.01
    assert metrics.sd_log_jacobian(field) == pytest.approx(expected, rel=1e-5)


def test_sd_log_jacobian_of_even_growth_is_0():
    field = np.moveaxis(np.indices((8, 9, 7)), 0, -1) * 0.3
    assert metrics.sd_log_jacobian(field) == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="five voxels or more"):
        metrics.sd_log_jacobian(np.zeros((4, 9, 7, 3)))


def test_target_registration_error_is_a_mean_distance(rng):
    points = rng.normal(size=(20, 3))
    moved = points + [0, 3, 4]
    assert metrics.target_registration_error(points, moved) == pytest.approx(5)
    with pytest.raises(ValueError, match=r"static_points.*\(20, 3\).*\(4, 3\)"):
        metrics.target_registration_error(points, moved[:4])


def test_the_unit_range_bears_outliers_and_what_is_not_a_number(rng):
    image = rng.uniform(3, 7, (60, 60))
    image[0, 0], image[0, 1] = 1e6, np.nan
    found = metrics.to_unit_range(image)
    assert found.min() == 0 and found[0, 0] == 1 and found[0, 1] == 0
    low, high = np.nanmin(image), np.nanpercentile(image, 99.8)
    npt.assert_allclose(
        found[1:], np.clip((image[1:] - low) / (high - low), 0, 1), atol=1e-5
    )
    assert not metrics.to_unit_range(np.full((4, 4), 5)).any()


@pytest.fixture
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


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


def test_values_that_are_not_finite_are_measured_without_a_word(rng, no_warnings):
    image = rng.normal(size=(8, 7))
    for value in (np.nan, np.inf):
        broken = image.copy()
        broken[3, 4] = value
        assert np.isnan(ncc(image, broken)) and np.isnan(ncc(broken, image))
        points = rng.normal(size=(5, 3))
        lost = points.copy()
        lost[2, 1] = value
        assert np.isnan(metrics.target_registration_error(points, lost))
        field = 0.1 * rng.normal(size=(9, 8, 2))
        field[4, 4] = value
        assert np.isnan(jacobian_determinant(field)[4, 3])
        for strict in (False, True):
            # The neighbours, whose derivatives are none either.
            assert folding(field, strict=strict) >= 100 * 4 / 72
        assert np.isnan(metrics.sd_log_jacobian(field))
    broken[3, 4] = np.nan
    assert np.isnan(dice(image, broken)) and np.isnan(dice(broken, image))


def test_the_unit_range_of_odd_values(no_warnings):
    for odd in ([np.nan] * 3, [np.inf, np.nan, -np.inf], [7, 7, 7], [0, 0, 0]):
        npt.assert_array_equal(metrics.to_unit_range(np.array(odd)), 0)
    for dtype in (bool, np.uint8, np.float16, ">f4"):
        npt.assert_array_equal(metrics.to_unit_range(np.eye(2, dtype=dtype)), np.eye(2))
    for scale in (1e-300, 1, 1e308):
        found = metrics.to_unit_range(scale * np.linspace(-1, 1, 9))
        npt.assert_allclose(found, np.minimum(np.linspace(0, 1.002, 9), 1), atol=1e-3)
    image = np.r_[-np.inf, np.linspace(0, 1, 9), np.inf]
    npt.assert_array_equal(metrics.to_unit_range(image)[[0, -1]], [0, 1])
    offset = 2**53 + np.arange(0, 9, 2)
    found = metrics.to_unit_range(offset)
    npt.assert_allclose(found, np.linspace(0, 1, 5), atol=3e-3)


@pytest.mark.parametrize(
    "junk",
    [
        np.zeros((0, 3)),
        np.array([1j, 2]),
        np.array([1, 2], "M8[s]"),
        np.ma.masked_less([1.0, 2], 1.5),
        "3",
        None,
        [[1, 2], [3]],
        5,
    ],
)
@pytest.mark.parametrize(
    "measure",
    [
        lambda junk: ncc(junk, junk),
        lambda junk: dice(junk, junk),
        lambda junk: metrics.target_registration_error(junk, junk),
        jacobian_determinant,
        folding,
        lambda junk: folding(junk, strict=True),
        metrics.sd_log_jacobian,
        metrics.to_unit_range,
        metrics.sd_log,
        metrics.is_folded,
    ],
)
def test_what_cannot_be_measured(measure, junk):
    with pytest.raises(ValueError, match=r"Expected .*\. Received "):
        measure(junk)


def test_bad_thresholds_and_points():
    for threshold in (np.nan, "0.5", None, 1j):
        with pytest.raises(ValueError, match="Expected threshold to be a number"):
            dice([0, 1], [0, 1], threshold=threshold)
    with pytest.raises(ValueError, match=r"points of shape \(n, ndim\)"):
        metrics.target_registration_error([1, 2, 3], [1, 2, 3])


def test_entropies_of_known_distributions():
    """Four values as often, of which the other image knows two pairs, or all."""
    image = np.tile([0, 1, 2, 3], 25)
    halves = image // 2
    npt.assert_allclose(metrics.entropies(image, halves), np.log([4, 2, 4]))
    npt.assert_allclose(metrics.entropies(1e9 - 7 * image, image), np.log([4, 4, 4]))
    npt.assert_allclose(metrics.entropies(image, 0 * image), np.log([4, 1, 4]))
