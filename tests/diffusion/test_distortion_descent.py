import numpy as np
import numpy.testing as npt
import pytest
from scipy.optimize import approx_fprime

from dipy_nn_reg.diffusion import distortion_descent as descent
from dipy_nn_reg.diffusion.profiles import Profiles

SHAPES = pytest.mark.parametrize("shape", [(7, 4), (6, 3, 4)], ids=["2D", "3D"])


@pytest.fixture
def make_state(rng):
    """Return a maker of a random state, its pair and its weights."""

    def make(shape):
        pair = [Profiles(rng.random(shape, np.float32)) for _ in range(2)]
        field = np.float32(0.2 * rng.normal(size=shape))
        weights = np.float32([0.3, 0.2, 0.1][: len(shape)])
        return pair, descent.evaluate(pair, field, weights), weights

    return make


@SHAPES
def test_a_small_step_follows_the_gradient(shape, make_state):
    """The right side of Newton's system is half of the descent, by differences."""
    pair, state, weights = make_state(shape)

    def cost(values):
        field = np.float32(values).reshape(shape)
        return descent.evaluate(pair, field, weights).cost

    gradient = approx_fprime(state.field.ravel(), cost, 1e-3).reshape(shape)
    right = -state.density * descent.spread(state.residual)
    right -= descent.spread(descent._barrier(state.slope) * state.slope)
    right -= descent._smooth(state.field, weights)
    npt.assert_allclose(right, -gradient / 2, atol=0.01)
    assert np.abs(gradient).max() > 0.2


@SHAPES
def test_the_hessian_is_that_of_its_parts(shape, make_state, rng):
    _, state, weights = make_state(shape)
    barrier = descent._barrier(state.slope)
    assert barrier.max() > 1e-3
    hessian = descent.Hessian(state, weights)
    one, other = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    changes = (
        np.diff(state.density * one, axis=0),
        np.diff(state.density * other, axis=0),
    )
    slopes = np.diff(one, axis=0), np.diff(other, axis=0)
    expected = np.sum(changes[0] * changes[1]) + np.sum(barrier * slopes[0] * slopes[1])
    for axis, weight in enumerate(weights):
        parts = (np.diff(array, axis=axis) for array in (one, other))
        expected += weight * np.sum(np.prod(list(parts), axis=0))
    npt.assert_allclose(np.sum(other * hessian.apply(one)), expected, rtol=1e-4)


@SHAPES
def test_a_descent_lowers_the_cost_without_folds(shape, make_state, rng):
    pair, state, weights = make_state(shape)
    up, down = (rng.random(shape, np.float32) for _ in range(2))
    pair = Profiles(up), Profiles(down)
    before = descent.evaluate(pair, state.field, weights).cost
    field = descent.descend(pair, state.field, weights)
    assert descent.evaluate(pair, field, weights).cost < before
    assert np.abs(np.diff(field, axis=0)).max() < 1


def test_fields_that_fold_have_no_finite_cost(make_state):
    pair, state, weights = make_state((7, 4))
    steep = np.float32(1.1) * np.arange(7, dtype=np.float32)[:, None] * np.ones((1, 4))
    assert descent.evaluate(pair, np.float32(steep), weights).cost == np.inf


@SHAPES
def test_conjugate_gradients_solve_the_system(shape, make_state, rng):
    _, state, weights = make_state(shape)
    hessian = descent.Hessian(state, weights)
    size = np.prod(shape)
    columns = [
        hessian.apply(c.reshape(shape)).ravel() for c in np.eye(size, dtype="f4")
    ]
    right = rng.normal(size=shape).astype(np.float32)
    expected = np.linalg.solve(np.stack(columns, 1), right.ravel()).reshape(shape)
    error = np.linalg.norm(hessian.solve(right) - expected)
    # Only a tenth of the first error may be left.
    assert error < 0.3 * np.linalg.norm(expected)
