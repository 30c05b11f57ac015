from keras import ops
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg.losses.supervision import (
    label_overlap,
    landmark_error,
    misalignment,
)

pytestmark = pytest.mark.backends

PLACES = np.array([[0, 1, 3], [1, 2, 4], [3, 4, 5]])
SHAPES = [(9, 8), (6, 5, 7)]


def value_of(function, *arrays):
    arrays = (ops.convert_to_tensor(array, "float32") for array in arrays)
    return ops.convert_to_numpy(function(*arrays))


def one_hot(label_maps, number):
    return np.stack([label_maps == label for label in range(1, number + 1)], axis=-1)


@pytest.mark.parametrize("shape", SHAPES)
def test_label_overlap_is_the_mean_dice_of_the_labels_that_occur(shape, rng):
    # Label 5 occurs in no map, and label 4 in one map of the second pair.
    static, warped = rng.integers(0, 4, (2, 3, *shape))
    static[1, 0] = 4
    warped[2] = static[2]
    expected = []
    for s, w in zip(static, warped):
        dice = []
        for label in np.union1d(s, w)[1:]:
            common = np.sum((s == label) & (w == label))
            dice.append(2 * common / (np.sum(s == label) + np.sum(w == label)))
        expected.append(np.mean(dice))
    assert expected[2] == 1
    actual = value_of(label_overlap, one_hot(static, 5), one_hot(warped, 5))
    npt.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_label_overlap_of_fractions(shape, rng):
    static, warped = rng.random((2, 2, *shape, 3))
    static[..., 1] = warped[..., 1] = 0
    spatial = tuple(range(1, len(shape) + 1))
    common, total = (
        np.sum(a, axis=spatial) for a in (static * warped, static + warped)
    )
    expected = np.mean((2 * common / np.maximum(total, 1))[:, [0, 2]], axis=1)
    npt.assert_allclose(value_of(label_overlap, static, warped), expected, rtol=1e-5)


def test_label_overlap_limits(rng, gradient):
    labels = one_hot(rng.integers(0, 3, (1, 6, 7)), 2)
    nothing = np.zeros_like(labels)
    assert value_of(label_overlap, labels, labels) == 1
    assert value_of(label_overlap, labels, nothing) == 0
    assert value_of(label_overlap, nothing, nothing) == 1
    for pair in ((labels, nothing), (nothing, nothing)):
        actual = gradient(lambda s, w: ops.sum(label_overlap(s, w)), *pair)
        assert np.all(np.isfinite(actual))


def test_gradients_of_label_overlap_agree_with_finite_differences(rng, gradient):
    static, warped = rng.random((2, 2, 4, 3, 2))
    (actual,) = gradient(
        lambda w: ops.sum(label_overlap(ops.cast(static, "float32"), w)), warped
    )

    def dice(warped):
        common = 2 * np.sum(static * warped, axis=(1, 2))
        return np.sum(np.mean(common / np.sum(static + warped, axis=(1, 2)), axis=-1))

    expected = np.zeros(warped.shape)
    for index in np.ndindex(*warped.shape):
        change = np.zeros(warped.shape)
        change[index] = 1e-5
        expected[index] = (dice(warped + change) - dice(warped - change)) / 2e-5
    npt.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_landmark_error_agrees_with_scipy(shape, rng):
    ndim = len(shape)
    displacement = rng.normal(size=(3, *shape, ndim))
    # Some landmarks lie beyond the border, which is repeated.
    static = rng.uniform(-2, np.array(shape) + 1, (3, 20, ndim))
    moving = static + rng.normal(size=static.shape)
    expected = []
    for field, s, m in zip(displacement, static, moving):
        moved = [
            map_coordinates(field[..., c], s.T, order=1, mode="nearest")
            for c in range(ndim)
        ]
        expected.append(np.mean(np.sum((s + np.transpose(moved) - m) ** 2, axis=1)))
    actual = value_of(landmark_error, displacement, static, moving)
    npt.assert_allclose(actual, expected, rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_landmark_error_of_a_shift(shape, gradient):
    ndim = len(shape)
    shift = np.array([1.5, -0.5, 2.0])[:ndim]
    field = np.broadcast_to(shift, (1, *shape, ndim))
    static = np.array([[[1.2, 3.4, 2.5], [4, 0, 1]]])[..., :ndim]
    error = value_of(landmark_error, field, static, static + shift)
    npt.assert_allclose(error, 0, atol=1e-10)
    error = value_of(landmark_error, field, static, static)
    npt.assert_allclose(error, np.sum(shift**2), rtol=1e-5)
    (actual,) = gradient(
        lambda u: ops.sum(landmark_error(u, *(ops.cast(static, "float32"),) * 2)), field
    )
    # The weights of linear interpolation sum to one.
    axes = tuple(range(ndim + 1))
    npt.assert_allclose(np.sum(actual, axis=axes), 2 * shift, rtol=1e-5)


@pytest.mark.parametrize("number", [1, 3])
def test_landmarks_are_pairs(number):
    with pytest.raises(ValueError, match=r"pairs of landmarks.* \(1, 4, 2\) and"):
        landmark_error(
            np.zeros((1, 5, 5, 2)), np.ones((1, 4, 2)), np.ones((1, number, 2))
        )


def dyads(directions):
    x, y, z = np.moveaxis(directions, -1, 0)
    return np.stack([x * x, x * y, y * y, x * z, y * z, z * z], axis=-1)


def test_misalignment_is_that_of_the_whole_matrices(rng):
    static, warped = rng.normal(size=(2, 2, 4, 3, 5, 6))
    mask = rng.random((2, 4, 3, 5, 1))
    matrices = static[..., PLACES], warped[..., PLACES]
    weights = mask[..., None]

    def size(matrix):
        return (weights * matrix**2).sum(axis=(1, 2, 3, 4, 5))

    expected = size(matrices[0] - matrices[1]) / sum(map(size, matrices))
    npt.assert_allclose(value_of(misalignment, static, warped, mask), expected, 1e-5)
    npt.assert_allclose(value_of(misalignment, static, static), 0)


@pytest.mark.parametrize("degrees, expected", [(0, 0), (90, 1), (30, 0.25)])
def test_misalignment_of_fibres_is_the_squared_sine_of_their_angle(
    degrees, expected, rng
):
    turn = np.radians(degrees)
    along = np.broadcast_to([np.cos(turn), np.sin(turn), 0], (1, 3, 4, 3, 3))
    fixed = np.broadcast_to([1.0, 0, 0], along.shape)
    found = value_of(misalignment, dyads(fixed), dyads(along))
    npt.assert_allclose(found, expected, atol=1e-6)


def test_misalignment_of_no_fibres_is_0():
    nothing = np.zeros((1, 3, 3, 3, 6))
    npt.assert_array_equal(value_of(misalignment, nothing, nothing), 0)
