import numpy as np
import numpy.testing as npt
import pytest
from scipy.interpolate import BSpline
from scipy.ndimage import gaussian_filter1d

from dipy_nn_reg.data.shape_draws import LABELS, _basis, _gaussian, draw_pairs


def test_contrasts_differ_in_some_pairs_and_agree_in_others():
    draws = draw_pairs(40, (8, 8), np.random.default_rng(0))
    both = draws["moving brightness"], draws["static brightness"]
    assert both[0].shape == (40, LABELS)
    agree = [np.abs(a - b).max() < 0.2 for a, b in zip(*both)]
    assert 0.2 < np.mean(agree) < 0.8


@pytest.mark.parametrize("shape, share", [((16, 16), 0.6), ((8, 8, 8), 0.0)])
def test_pairs_of_ribbons_have_two_levels(shape, share):
    draws = draw_pairs(60, shape, np.random.default_rng(0))
    for image in ("moving", "static", "clean"):
        levels = [len(np.unique(values)) for values in draws[f"{image} brightness"]]
        assert abs(np.mean(np.equal(levels, 2)) - share) < 0.15


def test_the_basis_is_that_of_cubic_b_splines():
    n, points, scale, offset = 20, 12, 3.5, 0.3
    x = np.arange(n) / scale + 1 + offset
    expected = [BSpline.basis_element(j + np.arange(-2, 3))(x) for j in range(points)]
    inside = [(x > j - 2) & (x < j + 2) for j in range(points)]
    expected = np.where(inside, expected, 0).T
    actual = _basis(n, points, scale, offset) * (151 / 315) ** 0.5
    npt.assert_allclose(actual, expected, atol=1e-6)


def test_blur_is_that_of_a_gaussian(rng):
    values = rng.random(40)
    expected = gaussian_filter1d(values, 1.2, truncate=8)
    npt.assert_allclose((_gaussian(40, 1.2) @ values)[10:-10], expected[10:-10], 1e-5)
    npt.assert_allclose(_gaussian(40, 1.2).sum(1), 1)
