"""Logarithms undo exponentials, and means of them are neutral to inversion."""

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from dipy_nn_reg.mapping.logarithms import mean_affine, stretch_of, velocity_of
from dipy_nn_reg.transform import integrate


@pytest.mark.parametrize("shape", [(32, 35), (20, 22, 19)])
def test_a_velocity_is_found_from_its_displacement(shape, smooth_field):
    velocity = smooth_field(shape, sigma=4, largest=3.0)
    inner = np.zeros(shape)
    inner[(slice(5, -5),) * len(shape)] = 1
    velocity *= gaussian_filter(inner, 2)[..., None]
    found = velocity_of(integrate(velocity))
    assert np.abs(integrate(found) - integrate(velocity)).max() < 0.05
    assert np.abs(found - velocity).mean() < 0.02


def test_the_mean_of_opposite_affines_is_the_identity(rng):
    affine = np.eye(4)
    affine[:3] += 0.2 * rng.normal(size=(3, 4))
    mean = mean_affine([affine, np.linalg.inv(affine)])
    np.testing.assert_allclose(mean, np.eye(4), atol=1e-10)


def test_the_mean_of_rotations_about_one_axis_has_their_mean_angle():
    affines = [np.eye(4) for _ in range(3)]
    for affine, angle in zip(affines, (10, 20, 60)):
        affine[:3, :3] = Rotation.from_euler("z", angle, degrees=True).as_matrix()
    expected = Rotation.from_euler("z", 30, degrees=True).as_matrix()
    np.testing.assert_allclose(mean_affine(affines)[:3, :3], expected, atol=1e-10)
    weighted = mean_affine(affines, weights=[1, 0, 1])
    expected = Rotation.from_euler("z", 35, degrees=True).as_matrix()
    np.testing.assert_allclose(weighted[:3, :3], expected, atol=1e-10)


def test_an_affine_without_a_real_logarithm_is_refused():
    with pytest.raises(ValueError, match="affines with real logarithms"):
        mean_affine([np.diag([-1.0, 1, 1, 1])])


def test_a_stretch_has_no_rotation_and_keeps_a_point(rng):
    rotation = Rotation.random(random_state=3).as_matrix()
    symmetric = expm(0.1 * (a := rng.normal(size=(3, 3))) + 0.1 * a.T)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = rotation @ symmetric, [5, 6, 7]
    center = np.array([1.0, 2, 3])
    stretch = stretch_of(affine, center)
    np.testing.assert_allclose(stretch[:3, :3], symmetric, atol=1e-10)
    np.testing.assert_allclose(stretch @ [*center, 1], [*center, 1], atol=1e-10)
