import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg.mapping.inversion import check_field, invert_displacement


def window(shape):
    """Return a factor that falls to 0 towards the border."""
    axes = [np.hanning(n + 2)[1:-1] for n in shape]
    return np.prod(np.meshgrid(*axes, indexing="ij"), axis=0)


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_inverse_of_a_displacement_brings_points_back(ndim, smooth_field):
    field = smooth_field((28,) * ndim, sigma=4, largest=2)
    field *= window((28,) * ndim)[..., None]  # nothing leaves the grid
    inverse = invert_displacement(field)
    grid = np.moveaxis(np.indices(field.shape[:-1], dtype=float), 0, -1)
    there = grid + inverse
    back = there + np.stack(
        [
            map_coordinates(field[..., d], np.moveaxis(there, -1, 0), order=1)
            for d in range(ndim)
        ],
        axis=-1,
    )
    assert np.linalg.norm(back - grid, axis=-1).mean() < 0.02


def invert_by_scipy(field):
    """Return the inverse by a damped fixed-point iteration, the border repeated."""
    ndim = field.shape[-1]
    grid = np.moveaxis(np.indices(field.shape[:-1], float), 0, -1)
    inverse = -field.astype(float)
    for _ in range(300):
        at = np.moveaxis(grid + inverse, -1, 0)
        there = [
            map_coordinates(field[..., d].astype(float), at, order=1, mode="nearest")
            for d in range(ndim)
        ]
        inverse = 0.3 * inverse - 0.7 * np.stack(there, axis=-1)
    return inverse


@pytest.mark.parametrize(
    "shape",
    [
        *[(20, 21), (20, 21, 19), (20, 21, 2), (20, 1), (1, 20)],
        *[(1, 20, 21), (20, 1, 21), (20, 21, 1), (2, 20, 21), (20, 2, 21), (1, 1, 20)],
    ],
    ids=str,
)
def test_the_inverse_is_right_up_to_the_last_plane(shape, smooth_field):
    field = smooth_field(shape, sigma=3, largest=2)
    inverse = invert_displacement(field)
    expected = invert_by_scipy(field)
    assert inverse.dtype == np.float32
    npt.assert_allclose(inverse, expected, atol=0.03)
    assert np.abs(inverse - expected).mean() < 1e-3
    for axis in range(len(shape)):
        for end in (0, -1):
            plane = np.take(inverse - expected, end, axis=axis)
            assert np.abs(plane).mean() < 3e-3


@pytest.mark.parametrize("shape", [(9, 10), (9, 10, 1), (1, 9, 10), (9, 1, 10)])
def test_the_inverse_of_an_affine_displacement_is_known(shape):
    ndim = len(shape)
    rng = np.random.default_rng(0)
    matrix = rng.uniform(-0.15, 0.15, (ndim, ndim)) * (np.array(shape) > 1)
    grid = np.moveaxis(np.indices(shape, float), 0, -1) - 4
    inverse = invert_displacement(grid @ matrix.T)
    known = grid @ (np.linalg.inv(np.eye(ndim) + matrix) - np.eye(ndim)).T
    # Where the way back begins inside of the grid.
    start = grid + known + 4
    inside = np.all(
        (start >= 0) & (start <= np.array(shape) - 1) | (np.array(shape) == 1), -1
    )
    assert inside.mean() > 0.5
    npt.assert_allclose(inverse[inside], known[inside], atol=0.02)


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_inverse_of_a_steep_displacement_is_exact(ndim):
    # From voxel to voxel, the map goes ahead by 0.1 to 9 voxels.
    moved = np.cumsum([0, *[0.1] * 9, 9, 0.1, 5, *[0.3] * 6, 0.5])
    size = len(moved)
    field = np.zeros((size, *(4, 5)[: ndim - 1], ndim))
    along = (size, *[1] * (ndim - 1))
    field[..., 0] = (moved - np.arange(size)).reshape(along)
    known = np.interp(np.arange(18), moved, np.arange(size)) - np.arange(18)
    inverse = invert_displacement(field)[:18]
    npt.assert_allclose(inverse[..., 1:], 0, atol=1e-3)
    # An error of 0.0005 voxels in the moving image is ten times as large before.
    expected = np.broadcast_to(known.reshape(18, *along[1:]), inverse.shape[:-1])
    npt.assert_allclose(inverse[..., 0], expected, atol=5e-3)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_constant_displacement_has_its_negative_everywhere(ndim):
    field = np.full((8,) * ndim + (ndim,), 5.0)
    npt.assert_allclose(invert_displacement(field), -field, atol=2e-3)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_infinite_displacements_are_refused(value, ndim):
    field = np.zeros((6, 7, 5)[:ndim] + (ndim,))
    field[(3,) * ndim] = value
    with pytest.raises(ValueError, match=f"finite values in displacement.*{ndim} of"):
        invert_displacement(field)


@pytest.mark.parametrize("shape", [(5,), (5, 5), (5, 5, 3), (5, 5, 5, 2), (5,) * 5])
def test_arrays_of_other_shapes_are_no_fields(shape):
    with pytest.raises(ValueError, match=r"field of shape \(\*spatial, ndim\)"):
        check_field("field", np.zeros(shape))


def test_a_field_is_checked_and_converted():
    field = np.arange(24.0).reshape(3, 4, 2)
    checked = check_field("field", field, shape=(3, 4, 2))
    assert checked.dtype == np.float32
    npt.assert_array_equal(checked, field)
    assert check_field("field", checked) is checked
    with pytest.raises(ValueError, match=r"field of shape \(4, 3, 2\)"):
        check_field("field", field, shape=(4, 3, 2))
    with pytest.raises(ValueError, match="finite values in field"):
        check_field("field", 1e300 * field)


@pytest.mark.parametrize("missed", [np.ones((5, 5), bool), np.ones((5, 6))])
def test_what_was_missed_is_of_bool_on_the_grid(missed):
    with pytest.raises(ValueError, match="Expected missed"):
        invert_displacement(np.zeros((5, 6, 2)), missed=missed)
