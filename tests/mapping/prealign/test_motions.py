import numpy as np
import pytest
from scipy.linalg import expm
from scipy.optimize import approx_fprime

from dipy_nn_reg.mapping.prealign.motions import PARAMETERS, Motion


def motion_of(kind, ndim, rng):
    start = np.eye(ndim + 1)
    start[:-1] += 0.1 * rng.normal(size=(ndim, ndim + 1))
    points = rng.normal(size=(ndim, 50)) * 30 + 10
    return Motion(kind, start, points), start, points


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("kind", PARAMETERS)
def test_the_derivative_is_that_of_finite_differences(kind, ndim, rng):
    motion, _, _ = motion_of(kind, ndim, rng)
    weights = rng.normal(size=(ndim, ndim + 1))
    parameters = rng.normal(size=motion.size)

    def function(parameters):
        return np.sum(weights * motion.at(parameters)[0][:-1])

    expected = approx_fprime(parameters, function, 1e-6)
    _, chain = motion.at(parameters)
    np.testing.assert_allclose(chain(weights), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", PARAMETERS)
def test_zeros_give_the_start(kind, rng):
    motion, start, _ = motion_of(kind, 3, rng)
    np.testing.assert_allclose(motion.at(np.zeros(motion.size))[0], start, atol=1e-12)


def test_a_rotation_turns_about_the_centre_by_an_angle_in_mm(rng):
    motion, start, points = motion_of("rigid", 2, rng)
    center = points.mean(axis=1)
    radius = np.sqrt(np.mean(np.sum((points - center[:, None]) ** 2, axis=0)))
    affine, _ = motion.at(np.array([0, 0, 0.3 * radius]))
    turn = expm(np.array([[0, -0.3], [0.3, 0]]))
    np.testing.assert_allclose(affine[:2, :2], turn @ start[:2, :2])
    there = start[:2, :2] @ center + start[:2, 2]
    np.testing.assert_allclose(affine[:2, :2] @ center + affine[:2, 2], there)
