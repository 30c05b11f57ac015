from keras import ops
import numpy as np
import numpy.testing as npt
import pytest
from scipy.spatial.transform import Rotation

from dipy_nn_reg.transform.orientations import turn

pytestmark = pytest.mark.backends

SHAPE = (7, 6, 8)
INSIDE = (slice(1, -1),) * 3


def dyads(directions):
    x, y, z = np.moveaxis(directions, -1, 0)
    return np.stack([x * x, x * y, y * y, x * z, y * z, z * z], axis=-1)


def turned(tensors, displacement):
    arrays = (
        ops.convert_to_tensor(a[None], "float32") for a in (tensors, displacement)
    )
    return ops.convert_to_numpy(turn(*arrays))[0]


def linear(matrix):
    """Return the displacement of voxels that are read at ``matrix @ x``."""
    voxels = np.moveaxis(np.indices(SHAPE, float), 0, -1)
    return voxels @ (matrix - np.eye(3)).T


def directions(rng):
    along = rng.normal(size=(*SHAPE, 3))
    return along / np.linalg.norm(along, axis=-1, keepdims=True)


def test_without_a_displacement_nothing_turns(rng):
    tensors = rng.normal(size=(*SHAPE, 6)).astype(np.float32)
    tensors[..., [0, 2, 5]] = np.abs(tensors[..., [0, 2, 5]])  # a positive density
    npt.assert_array_equal(turned(tensors, np.zeros((*SHAPE, 3))), tensors)


@pytest.mark.parametrize("order", ["x", "y", "z", "xyz"])
def test_fibres_turn_by_the_inverse_of_the_rotation_of_points(order, rng):
    angles = 25 if len(order) == 1 else [20, -15, 30]
    rotation = Rotation.from_euler(order, angles, degrees=True).as_matrix()
    along = directions(rng)
    found = turned(dyads(along), linear(rotation))
    npt.assert_allclose(found[INSIDE], dyads(along @ rotation)[INSIDE], atol=1e-5)


def test_a_single_fibre_moves_as_the_tissue_and_keeps_its_density(rng):
    matrix = np.eye(3) + 0.2 * rng.normal(size=(3, 3))
    along = directions(rng)
    moved = along @ np.linalg.inv(matrix).T
    moved /= np.linalg.norm(moved, axis=-1, keepdims=True)
    density = rng.random((*SHAPE, 1)) + 0.1
    found = turned(density * dyads(along), linear(matrix))
    npt.assert_allclose(found[INSIDE], (density * dyads(moved))[INSIDE], atol=1e-5)


def test_crossing_fibres_move_together(rng):
    matrix = np.eye(3) + 0.2 * rng.normal(size=(3, 3))
    both = dyads(directions(rng)) + 0.5 * dyads(directions(rng))
    full = both[..., np.array([[0, 1, 3], [1, 2, 4], [3, 4, 5]])]
    inverse = np.linalg.inv(matrix)
    moved = inverse @ full @ inverse.T
    moved *= (np.trace(full, axis1=3, axis2=4) / np.trace(moved, axis1=3, axis2=4))[
        ..., None, None
    ]
    expected = moved[..., [0, 0, 1, 0, 1, 2], [0, 1, 1, 2, 2, 2]]
    npt.assert_allclose(
        turned(both, linear(matrix))[INSIDE], expected[INSIDE], atol=1e-5
    )


def test_voxels_without_fibres_stay_empty(rng):
    displacement = rng.normal(size=(*SHAPE, 3))
    nothing = np.zeros((*SHAPE, 6))
    npt.assert_array_equal(turned(nothing, displacement), nothing)


def test_the_gradient_is_that_of_finite_differences(rng, gradient):
    tensors = dyads(directions(rng))[None]
    displacement = 0.3 * rng.normal(size=(1, *SHAPE, 3))
    weights = rng.normal(size=(1, *SHAPE, 6)).astype(np.float32)

    def value(tensors, displacement):
        return ops.sum(ops.multiply(turn(tensors, displacement), weights))

    def number(*arrays):
        tensors = (ops.convert_to_tensor(a, "float32") for a in arrays)
        return float(value(*tensors))

    found = gradient(value, tensors, displacement)
    step = 1e-2
    for index in [(0, 2, 3, 4, 0), (0, 3, 2, 1, 2), (0, 1, 4, 6, 1)]:
        for which, arrays in enumerate([tensors, displacement]):
            ends = []
            for sign in (1, -1):
                moved = arrays.copy()
                moved[index] += sign * step
                pair = [tensors, displacement]
                pair[which] = moved
                ends.append(number(*pair))
            expected = (ends[0] - ends[1]) / (2 * step)
            npt.assert_allclose(found[which][index], expected, rtol=0.02, atol=0.02)
