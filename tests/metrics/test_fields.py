from itertools import product

import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import correlate1d

from dipy_nn_reg import metrics
from dipy_nn_reg.metrics.fields import folding, jacobian_determinant


@pytest.mark.parametrize("ndim", [2, 3])
def test_jacobian_determinant_of_a_linear_map(ndim, rng):
    matrix = np.eye(ndim) + 0.3 * rng.normal(size=(ndim, ndim))
    grid = np.moveaxis(np.indices((6, 7, 5)[:ndim]), 0, -1)
    displacement = grid @ matrix.T - grid
    npt.assert_allclose(jacobian_determinant(displacement), np.linalg.det(matrix))


@pytest.mark.parametrize("slab", [1, 90, 400])
@pytest.mark.parametrize("shape", [(9, 10), (7, 6, 5)])
def test_slabs_do_not_change_the_jacobian_determinant(shape, slab, rng, monkeypatch):
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


def test_a_field_of_nan_counts_as_folded():
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
                # At the border only one of the two differences exists.
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


@pytest.mark.parametrize("shape", [(1, 7, 6), (5, 1, 6), (5, 7, 1)])
def test_a_slice_is_measured_in_its_plane(shape, rng):
    displacement = rng.normal(0, 0.4, (*shape, 3))
    in_plane = metrics.in_plane(displacement)
    axes = [axis for axis in range(3) if shape[axis] > 1]
    expected = np.squeeze(displacement)[..., axes]
    npt.assert_array_equal(in_plane, expected)
    columns = [np.gradient(expected, axis=axis) for axis in range(2)]
    determinant = np.linalg.det(np.eye(2) + np.stack(columns, axis=-1))
    npt.assert_allclose(jacobian_determinant(in_plane), determinant)


def test_sd_log_jacobian_is_that_of_learn2reg(smooth_field):
    """The oracle is its definition: correlation with (-0.5, 0, 0.5) on each axis."""
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


def test_sd_log_jacobian_of_uniform_growth_is_0():
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


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_do_not_pass_unnoticed(value, rng, no_warnings):
    points = rng.normal(size=(5, 3))
    lost = points.copy()
    lost[2, 1] = value
    assert np.isnan(metrics.target_registration_error(points, lost))
    field = np.zeros((9, 8, 2))
    field[4, 4] = value
    assert np.isnan(jacobian_determinant(field)[4, 3])
    for strict in (False, True):
        # The derivatives of the neighbours are not finite either.
        assert folding(field, strict=strict) >= 100 * 4 / 72
    assert np.isnan(metrics.sd_log_jacobian(field))


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 3), (1, 4, 2)])
def test_arrays_of_another_shape_than_a_field_are_refused(shape):
    with pytest.raises(ValueError, match="Expected one displacement"):
        folding(np.zeros(shape))


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 3), (1, 4, 4, 2)])
def test_arrays_of_another_shape_have_no_plane(shape):
    with pytest.raises(ValueError, match="Expected one displacement"):
        metrics.in_plane(np.zeros(shape))
    npt.assert_array_equal(metrics.in_plane([[[1, 2]], [[3, 4]]]), [[1], [3]])


def test_arrays_of_another_shape_than_points_are_refused():
    with pytest.raises(ValueError, match=r"points of shape \(n, ndim\)"):
        metrics.target_registration_error([1, 2, 3], [1, 2, 3])


@pytest.mark.parametrize(
    "measure",
    [
        lambda junk: metrics.target_registration_error(junk, junk),
        jacobian_determinant,
        folding,
        lambda junk: folding(junk, strict=True),
        metrics.in_plane,
        metrics.sd_log_jacobian,
        metrics.sd_log,
        metrics.is_folded,
    ],
)
def test_invalid_arrays_are_refused(measure, junk):
    with pytest.raises(ValueError, match=r"Expected .*\. Received "):
        measure(junk)
