from keras import ops
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.losses import LOSSES, gradient, mse, ncc

SHAPES = [(2, 6, 7, 1), (2, 6, 7, 3), (2, 4, 5, 6, 2)]


def loss_of(function, *arrays):
    return ops.convert_to_numpy(function(*(ops.convert_to_tensor(a) for a in arrays)))


@pytest.mark.parametrize("shape", SHAPES)
def test_one_value_for_each_image_over_all_channels(shape, rng):
    static, warped = rng.random((2, *shape), dtype=np.float32)
    expected = [np.mean((s - w) ** 2) for s, w in zip(static, warped)]
    npt.assert_allclose(loss_of(mse, static, warped), expected, rtol=1e-5)
    expected = [
        1 - np.corrcoef(s.ravel(), w.ravel())[0, 1] for s, w in zip(static, warped)
    ]
    npt.assert_allclose(loss_of(ncc, static, warped), expected, rtol=1e-4)


def test_ncc_limits(rng):
    image = rng.random((1, 8, 8, 1), dtype=np.float32)
    npt.assert_allclose(loss_of(ncc, image, 0.5 * image + 0.2), 0, atol=1e-5)
    npt.assert_allclose(loss_of(ncc, image, 0.001 * image), 0, atol=2e-3)
    npt.assert_allclose(loss_of(ncc, image, 1 - image), 2, atol=1e-5)
    npt.assert_allclose(loss_of(ncc, image, np.ones_like(image)), 1, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_agree_with_finite_differences(name, rng, gradient):
    static, warped = rng.random((2, 1, 4, 5, 1), dtype=np.float32)
    function = LOSSES[name]
    (found,) = gradient(
        lambda w: ops.sum(function(ops.cast(static, "float32"), w)), warped
    )

    def value(w):
        return float(loss_of(function, static.astype("f8"), w)[0])

    for index in np.ndindex(*warped.shape):
        change = np.zeros(warped.shape)
        change[index] = 1e-4
        expected = (value(warped + change) - value(warped - change)) / 2e-4
        npt.assert_allclose(found[index], expected, atol=1e-4)


def test_gradients_of_a_constant_image_are_finite(gradient):
    static = np.random.default_rng(0).random((1, 4, 4, 1))
    (found,) = gradient(
        lambda w: ops.sum(ncc(ops.cast(static, "float32"), w)), np.ones((1, 4, 4, 1))
    )
    assert np.all(np.isfinite(found))


@pytest.mark.parametrize("ndim", [2, 3])
def test_gradient_penalty_of_a_linear_field(ndim, rng):
    matrix = rng.normal(size=(ndim, ndim))
    grid = np.moveaxis(np.indices((6, 5, 7)[:ndim]), 0, -1)
    field = np.stack([grid @ matrix.T, np.ones(grid.shape)]).astype(np.float32)
    # Each difference is an entry of the matrix; a constant field costs nothing.
    expected = [np.mean(matrix**2), 0]
    npt.assert_allclose(loss_of(gradient, field), expected, rtol=1e-4, atol=1e-7)
