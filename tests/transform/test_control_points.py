from math import ceil

from keras import ops
import numpy as np
import numpy.testing as npt
import pytest
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import map_coordinates

from dipy_nn_reg.transform.control_points import SPLINES, bspline, thin_plate

pytestmark = pytest.mark.backends

CASES = [((13, 11), 2), ((28, 31), 5), ((7, 9), 3), ((9, 8, 7), 3), ((10, 13, 11), 4)]


def field_of(spline, values, shape, spacing):
    values = ops.convert_to_tensor(values, "float32")
    return ops.convert_to_numpy(spline(values, shape, spacing))


def control_axes(shape, spacing):
    """Return the positions of the control points in voxels, for each axis."""
    axes = []
    for n in shape:
        points = spacing * np.arange(ceil(n / spacing))
        axes.append(points - points.mean() + (n - 1) / 2)
    return axes


def grid_of(axes):
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def random_values(rng, shape, spacing):
    points = [len(axis) for axis in control_axes(shape, spacing)]
    return rng.normal(size=(2, *points, len(shape)))


@pytest.mark.parametrize(("shape", "spacing"), [*CASES, ((6, 15), 7), ((5, 5), 5)])
def test_bspline_agrees_with_scipy(shape, spacing, rng):
    ndim = len(shape)
    values = random_values(rng, shape, spacing)
    first = np.array([axis[0] for axis in control_axes(shape, spacing)])
    positions = (grid_of([np.arange(n) for n in shape]) - first) / spacing
    # Beyond the reach of a cubic B-spline, so that the border of SciPy has no effect.
    margin = 4
    padded = np.pad(values, [(0, 0), *[(margin, margin)] * ndim, (0, 0)], mode="edge")
    expected = np.zeros((2, *shape, ndim))
    for image, component in np.ndindex(2, ndim):
        expected[image, ..., component] = map_coordinates(
            padded[image, ..., component],
            np.moveaxis(positions, -1, 0) + margin,
            order=3,
            mode="nearest",
            prefilter=False,
        )
    npt.assert_allclose(field_of(bspline, values, shape, spacing), expected, atol=1e-4)


@pytest.mark.parametrize(("shape", "spacing"), [*CASES, ((28, 27), 2)])
def test_thin_plate_agrees_with_scipy(shape, spacing, rng):
    ndim = len(shape)
    values = random_values(rng, shape, spacing)
    control = grid_of(control_axes(shape, spacing)).reshape(-1, ndim)
    voxels = grid_of([np.arange(n) for n in shape]).reshape(-1, ndim)
    kernel = {2: "thin_plate_spline", 3: "linear"}[ndim]
    expected = [
        RBFInterpolator(control, v.reshape(-1, ndim), kernel=kernel, degree=1)(voxels)
        for v in values
    ]
    found = field_of(thin_plate, values, shape, spacing)
    npt.assert_allclose(found, np.reshape(expected, found.shape), atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "spacing"), [((13, 9), 4), ((11, 15), 4), ((9, 7, 7), 2), ((10, 7, 4), 3)]
)
def test_thin_plate_meets_the_values_at_control_points_on_voxels(shape, spacing, rng):
    values = random_values(rng, shape, spacing)
    axes = [axis.astype(int) for axis in control_axes(shape, spacing)]
    npt.assert_array_equal(
        np.concatenate(axes), np.concatenate(control_axes(shape, spacing))
    )
    field = field_of(thin_plate, values, shape, spacing)
    npt.assert_allclose(field[:, *np.ix_(*axes)], values, atol=1e-4)


@pytest.mark.parametrize(("shape", "spacing"), CASES)
@pytest.mark.parametrize("name", SPLINES)
def test_constant_values_give_a_constant_field(name, shape, spacing, rng):
    values = random_values(rng, shape, spacing)
    values[:] = [1.5, -2.0, 0.25][: len(shape)]
    field = field_of(SPLINES[name], values, shape, spacing)
    assert field.shape == (2, *shape, len(shape))
    expected = np.broadcast_to(values.flat[: len(shape)], field.shape)
    npt.assert_allclose(field, expected, atol=1e-4)


@pytest.mark.parametrize(("shape", "spacing"), [((13, 14), 3), ((10, 13, 11), 3)])
@pytest.mark.parametrize("name", SPLINES)
def test_linear_values_give_a_linear_field(name, shape, spacing, rng):
    ndim = len(shape)
    matrix = rng.normal(0, 0.2, (ndim, ndim))
    values = grid_of(control_axes(shape, spacing)) @ matrix.T
    voxels = grid_of([np.arange(n) for n in shape])
    field = field_of(SPLINES[name], values[None], shape, spacing)[0]
    # A B-spline repeats its border values, so it is not linear up to the second point.
    first = {"bspline": 1, "tps": 0}[name]
    axes = control_axes(shape, spacing)
    inside = np.ix_(
        *(
            [v for v in range(n) if first == 0 or axis[1] <= v <= axis[-2]]
            for n, axis in zip(shape, axes)
        )
    )
    assert field[inside].size >= 2 * 4 * ndim
    npt.assert_allclose(field[inside], (voxels @ matrix.T)[inside], atol=1e-4)


@pytest.mark.parametrize(("shape", "spacing"), [((7, 9), 3), ((5, 6, 7), 3)])
@pytest.mark.parametrize("name", SPLINES)
def test_gradients_are_those_of_a_linear_function(name, shape, spacing, rng, gradient):
    values = random_values(rng, shape, spacing)
    weights = rng.normal(size=(2, *shape, len(shape)))

    def loss(values):
        field = SPLINES[name](values, shape, spacing)
        return ops.sum(ops.multiply(field, weights))

    (found,) = gradient(loss, values)
    for direction in rng.normal(size=(3, *values.shape)):
        expected = np.sum(field_of(SPLINES[name], direction, shape, spacing) * weights)
        npt.assert_allclose(np.sum(found * direction), expected, atol=1e-3)
