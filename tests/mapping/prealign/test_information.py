import numpy as np
import pytest
from scipy.optimize import approx_fprime

from dipy_nn_reg.mapping.prealign.information import (
    BINS,
    mutual_information,
    to_bins,
)


def samples(rng, n=4000):
    static = rng.integers(0, BINS, n)
    moving = np.clip(BINS - 1 - static + rng.normal(0, 2, n), 0, BINS - 1)
    return static, moving.astype(np.float32)


def test_the_information_of_normal_samples_is_that_of_the_closed_form(rng):
    """Of correlated normal variables it is -log(1 - r**2) / 2."""
    one, noise = rng.normal(size=(2, 400_000))
    r = 0.8
    other = r * one + np.sqrt(1 - r**2) * noise
    width = 4.0  # bins per standard deviation
    static = np.clip(np.rint(15.5 + width * one), 0, BINS - 1).astype(int)
    moving = np.clip(15.5 + width * other, 0, BINS - 1).astype(np.float32)
    information, _, _ = mutual_information(static, moving)
    # Smoothing and binning add to the variances: 1 bin each by the Gaussian, 1/12 by
    # rounding, 1/6 by sharing a sample among two bins.
    blurred = r * width**2 / np.sqrt((width**2 + 1 + 1 / 12) * (width**2 + 1 + 1 / 6))
    assert information == pytest.approx(-np.log(1 - blurred**2) / 2, rel=0.05)


def test_the_derivatives_are_those_of_finite_differences(rng):
    static, moving = samples(rng, 40)
    moving = np.floor(moving.astype(float)).clip(1, BINS - 3) + rng.uniform(
        0.2, 0.8, 40
    )
    weights = rng.random(40)
    _, by_moving, by_weights = mutual_information(static, moving, weights)
    expected = approx_fprime(
        moving, lambda m: mutual_information(static, m, weights)[0], 1e-5
    )
    np.testing.assert_allclose(by_moving, expected, rtol=1e-3, atol=1e-6)
    expected = approx_fprime(
        weights, lambda w: mutual_information(static, moving, w)[0], 1e-7
    )
    np.testing.assert_allclose(by_weights, expected, rtol=1e-3, atol=1e-6)


def test_samples_of_no_weight_do_not_count(rng):
    static, moving = samples(rng)
    spoilt = np.concatenate([moving, np.zeros(500, np.float32)])
    weights = np.concatenate([np.ones(len(moving)), np.zeros(500)])
    expected, _, _ = mutual_information(static, moving)
    information, by_moving, _ = mutual_information(
        np.concatenate([static, np.full(500, 3)]), spoilt, weights
    )
    assert information == pytest.approx(expected, rel=1e-6)
    assert not by_moving[-500:].any()
    assert mutual_information(static, moving, np.zeros(len(moving)))[0] == 0


def test_independent_samples_have_little_information(rng):
    static, moving = samples(rng, 50_000)
    assert mutual_information(static, rng.permutation(moving))[0] < 0.02
    assert mutual_information(static, moving)[0] > 1


def test_bins_hold_all_but_the_outermost_values(rng):
    image = rng.normal(size=(40, 40, 40))
    image[0, 0, 0] = 1e6
    bins, background = to_bins(image, np.ones(image.shape, bool))
    assert bins.min() == 0 and bins.max() == BINS - 1
    low, high = np.percentile(image, (0.1, 99.9))
    assert background == pytest.approx((BINS - 1) * -low / (high - low), rel=1e-5)
    assert len(np.unique(np.rint(bins))) == BINS


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_hot_spot_leaves_room_for_the_object(ndim, rng):
    image = np.zeros((40,) * ndim)
    image[(slice(10, 30),) * ndim] = rng.uniform(1, 2, (20,) * ndim)
    structure = image > 0.5
    expected, _ = to_bins(image, structure)
    image[(slice(10, 13),) * ndim] = 1000
    bins, background = to_bins(image, structure)
    levels = len(np.unique(np.rint(bins[structure])))
    assert background == 0 and levels >= len(np.unique(np.rint(expected))) / 4
