from itertools import combinations, product

from keras import ops
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg import DeformableRegistration, metrics, register
from dipy_nn_reg.losses.choices import PENALTIES
from dipy_nn_reg.losses.penalties import (
    bending,
    folded,
    folding,
    gradient,
    inverse_consistency,
    tv,
)

SHAPES = [(7, 5), (4, 6, 5)]
FUNCTIONS = {
    "bending": bending,
    "folding": folding,
    "gradient": gradient,
    "inverse_consistency": inverse_consistency,
    "tv": tv,
}


def gradient_reference(field):
    axes = range(field.shape[-1])
    return np.mean([np.mean(np.diff(field, axis=axis) ** 2) for axis in axes])


def tv_reference(field):
    *shape, ndim = field.shape
    lengths = []
    for voxel in np.ndindex(*(n - 1 for n in shape)):
        steps = voxel + np.eye(ndim, dtype=int)
        differences = [field[tuple(step)] - field[voxel] for step in steps]
        squares = np.sum(np.square(differences), axis=0)
        lengths.append(np.sqrt(squares + 1e-6) - 1e-3)
    return np.mean(lengths)


def bending_reference(field):
    axes = range(field.shape[-1])
    pure = [np.mean(np.diff(field, n=2, axis=axis) ** 2) for axis in axes]
    mixed = [
        np.mean(np.diff(np.diff(field, axis=one), axis=other) ** 2)
        for one, other in combinations(axes, 2)
    ]
    return np.sum(pure) + 2 * np.sum(mixed)


def folding_reference(field):
    *shape, ndim = field.shape
    means = []
    for signs in product((1, -1), repeat=ndim):  # forward or backward
        negative_parts = []
        for voxel in np.ndindex(*shape):
            neighbours = voxel + np.diag(signs)
            if np.any(neighbours < 0) or np.any(neighbours >= shape):
                continue
            jacobian = np.eye(ndim)
            for axis, (neighbour, sign) in enumerate(zip(neighbours, signs)):
                jacobian[:, axis] += sign * (field[tuple(neighbour)] - field[voxel])
            negative_parts.append(max(-np.linalg.det(jacobian), 0))
        means.append(np.mean(negative_parts))
    return np.mean(means)


def inverse_consistency_reference(*fields):
    grid = np.indices(fields[0].shape[:-1])
    distances = []
    for first, second in (fields, fields[::-1]):
        arrived = np.moveaxis(first, -1, 0) + grid
        back = [
            map_coordinates(component, arrived, order=1, mode="nearest")
            for component in np.moveaxis(second, -1, 0)
        ]
        distances.append(np.sum((arrived + back - grid) ** 2, axis=0))
    return np.mean(distances)


REFERENCES = {
    "bending": bending_reference,
    "folding": folding_reference,
    "gradient": gradient_reference,
    "inverse_consistency": inverse_consistency_reference,
    "tv": tv_reference,
}


@pytest.fixture
def make_fields(rng):
    """Return a maker of the fields that are arguments of a penalty."""

    def make(name, shape):
        number = 2 if name == "inverse_consistency" else 1
        fields = rng.normal(size=(number, 2, *shape, len(shape)))
        fields[:, 1] *= 0.5
        return fields.astype(np.float32)

    return make


def penalty_of(function, *fields):
    fields = (ops.convert_to_tensor(np.asarray(f), "float32") for f in fields)
    return ops.convert_to_numpy(function(*fields))


def linear_field(matrix, shape, offset=0.0):
    """Return ``matrix @ x + offset`` at each voxel x."""
    return np.moveaxis(np.indices(shape), 0, -1) @ np.transpose(matrix) + offset


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_of_a_linear_field(shape, rng):
    matrix = rng.normal(size=(len(shape), len(shape)))
    fields = [linear_field(matrix, shape), np.ones((*shape, len(shape)))]
    # Each difference is an entry of the matrix; a constant field costs nothing.
    expected = [np.mean(matrix**2), 0]
    npt.assert_allclose(penalty_of(gradient, fields), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("shape", SHAPES)
def test_tv_of_a_linear_field(shape, rng):
    matrix = rng.normal(size=(len(shape), len(shape)))
    fields = [linear_field(matrix, shape), np.ones((*shape, len(shape)))]
    lengths = np.linalg.norm(matrix, axis=1)  # a row is the gradient of a component
    npt.assert_allclose(penalty_of(tv, fields), [np.mean(lengths), 0], atol=1e-3)
    # Smoothed near 0: a length of epsilon counts as 0.41 epsilon.
    slight = linear_field(1e-3 * matrix / lengths[:, None], shape)
    expected = 1e-3 * (np.sqrt(2) - 1)
    npt.assert_allclose(penalty_of(tv, [slight]), expected, rtol=1e-2)


@pytest.mark.parametrize("shape", SHAPES)
def test_bending_of_a_quadratic_field(shape, rng):
    ndim = len(shape)
    hessians = rng.normal(size=(ndim, ndim, ndim))
    hessians += np.swapaxes(hessians, 1, 2)
    grid = np.moveaxis(np.indices(shape), 0, -1)
    quadratic = np.einsum("...i,cij,...j->...c", grid, hessians, grid) / 2
    affine = linear_field(rng.normal(size=(ndim, ndim)), shape, rng.normal(size=ndim))
    # Second differences of a quadratic function are exact.
    expected = np.mean(np.sum(hessians**2, axis=(1, 2)))
    actual = penalty_of(bending, [quadratic + affine, affine])
    npt.assert_allclose(actual, [expected, 0], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("shape", [(2, 5), (5, 2), (4, 4, 2)])
def test_bending_needs_three_voxels(shape):
    field = ops.zeros((1, *shape, len(shape)))
    message = rf"Expected three voxels or more.*Received field.shape=\(1, {shape[0]}"
    with pytest.raises(ValueError, match=message):
        bending(field)


@pytest.mark.parametrize("shape", SHAPES)
def test_folding_of_a_linear_map(shape, rng):
    ndim = len(shape)
    jacobian = rng.normal(size=(ndim, ndim))
    jacobian[0] *= -np.sign(np.linalg.det(jacobian))
    mirrored = np.eye(ndim)
    mirrored[1, 1] = -1  # u = -2 x along this axis
    jacobians = np.stack([jacobian, mirrored, -jacobian if ndim == 3 else mirrored.T])
    fields = [linear_field(j - np.eye(ndim), shape) for j in jacobians]
    expected = np.maximum(-np.linalg.det(jacobians), 0)
    assert expected[0] > 0.1
    npt.assert_allclose(penalty_of(folding, fields), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(20, 23), (12, 15, 13)])
def test_folding_where_nothing_folds(shape, smooth_field):
    small = smooth_field(shape, sigma=4, largest=1)
    actual = penalty_of(folding, [small, np.zeros_like(small), 40 * small])
    npt.assert_array_equal(actual[:2], 0)
    assert actual[2] > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_inverse_consistency_of_shifts(shape):
    ndim = len(shape)
    # The border is repeated, so a constant field continues beyond it.
    shift, rest = np.array([1.7, -2.5, 0.6])[:ndim], np.array([0.3, 0, -0.4])[:ndim]
    forward = np.broadcast_to(shift, (2, *shape, ndim))
    backward = np.stack([-forward[0], rest - forward[1]])
    actual = penalty_of(inverse_consistency, forward, backward)
    npt.assert_allclose(actual, [0, np.sum(rest**2)], rtol=1e-4, atol=1e-12)


def test_all_penalties_are_tested():
    assert sorted(PENALTIES) == sorted(FUNCTIONS)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_at_a_field_of_zero_are_zero(name, shape, gradient):
    fields = np.zeros(
        (2 if name == "inverse_consistency" else 1, 2, *shape, len(shape))
    )
    actual = gradient(lambda *fields: ops.sum(FUNCTIONS[name](*fields)), *fields)
    npt.assert_array_equal(actual, 0)


@pytest.mark.backends
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_agrees_with_a_loop_in_numpy(name, shape, make_fields):
    fields = make_fields(name, shape)
    expected = [REFERENCES[name](*items) for items in zip(*fields.astype(np.float64))]
    assert np.min(expected) > 0.01
    npt.assert_allclose(penalty_of(FUNCTIONS[name], *fields), expected, rtol=1e-4)


@pytest.mark.backends
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_agree_with_finite_differences(
    name, shape, make_fields, rng, gradient
):
    fields = make_fields(name, shape)
    actual = gradient(lambda *fields: ops.sum(FUNCTIONS[name](*fields)), *fields)
    indices = rng.choice(fields.size, 10, replace=False)
    expected = []
    for index in indices:
        penalties = []
        for step in (1e-5, -1e-5):
            changed = fields.astype(np.float64)
            changed.flat[index] += step
            penalties.append(
                np.sum([REFERENCES[name](*items) for items in zip(*changed)])
            )
        expected.append((penalties[0] - penalties[1]) / 2e-5)
    largest = np.abs(expected).max()
    assert largest > 1e-3
    npt.assert_allclose(np.ravel(actual)[indices], expected, atol=1e-3 * largest)


@pytest.mark.parametrize("shape", [(2, 9, 10, 2), (2, 7, 8, 9, 3)])
def test_folds_are_counted_as_in_numpy(shape, rng):
    fields = (0.5 * rng.normal(size=shape)).astype(np.float32)
    fields[1] *= 0.01
    fields[0, 4, 4] = np.nan
    expected = [metrics.is_folded(metrics.jacobian_determinant(f)) for f in fields]
    assert np.mean(expected[0]) > 0.01
    assert not expected[1].any()
    actual = ops.convert_to_numpy(folded(ops.convert_to_tensor(fields)))
    npt.assert_array_equal(actual, expected)


THIN = [(6, 7, 1), (6, 1, 7), (1, 6, 7), (6, 1), (1, 6), (1, 1, 6), (1, 1)]


def penalty_in_plane(name, field):
    """Evaluate a reference on the axes of more than one voxel only."""
    flat = [np.squeeze(component) for component in np.moveaxis(field, -1, 0)]
    thick = [axis for axis, size in enumerate(field.shape[:-1]) if size > 1]
    if not thick:
        return 0.0
    if name == "folding":
        return folding_reference(np.stack([flat[axis] for axis in thick], axis=-1))
    if name == "gradient":  # averaged over all axes
        squares = [np.mean(np.diff(flat, axis=1 + a) ** 2) for a in range(len(thick))]
        return sum(squares) / field.shape[-1]
    # Each component is repeated to make a field, and evaluated by itself.
    each = [np.stack([f] * len(thick), axis=-1) for f in flat]
    return np.mean([REFERENCES[name](f) for f in each])


@pytest.mark.parametrize("shape", THIN)
@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"inverse_consistency"}))
def test_axes_of_one_voxel_add_nothing(name, shape, make_fields, gradient):
    (fields,) = make_fields(name, shape)
    expected = [penalty_in_plane(name, field.astype(np.float64)) for field in fields]
    compiled = PENALTIES[name].function
    for function in (FUNCTIONS[name], compiled):
        actual = penalty_of(function, fields)
        npt.assert_allclose(actual, expected, rtol=1e-4, atol=1e-7)
        (slope,) = gradient(lambda f, run=function: ops.sum(run(f)), fields)
        assert slope.shape == fields.shape and np.isfinite(slope).all()


@pytest.mark.parametrize("shape", THIN)
def test_inverse_consistency_of_thin_fields(shape):
    shift = np.array([1.7, -2.5, 0.6])[: len(shape)]
    forward = np.broadcast_to(shift, (2, *shape, len(shape)))
    backward = np.stack([-forward[0], 0 * forward[1]])
    actual = penalty_of(inverse_consistency, forward, backward)
    npt.assert_allclose(actual, [0, np.sum(shift**2)], rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("shape", [(6, 7, 1), (6, 1, 7), (1, 6, 7), (6, 2, 7), (2, 2)])
def test_folds_of_thin_fields_are_counted_as_in_numpy(shape, rng):
    field = 0.7 * rng.normal(size=(2, *shape, len(shape)))
    expected = [
        metrics.is_folded(
            metrics.jacobian_determinant(metrics.in_plane(f.astype(np.float32)))
        ).reshape(shape)
        for f in field
    ]
    assert 0 < np.mean(expected) < 1
    npt.assert_array_equal(ops.convert_to_numpy(folded(field)), expected)


@pytest.mark.slow
def test_a_loss_is_finite_where_a_coarse_axis_has_one_voxel(rng):
    images = rng.random((2, 16, 16, 2), dtype=np.float32)
    model = DeformableRegistration(input_shape=(16, 16, 2), seed=0)
    history = model.fit(images, epochs=1, batch_size=2, verbose=0).history
    assert np.isfinite([*history["loss"], *history["penalty"]]).all()
    _, outcome = register(*images, loss="ncc", field_stride=4, prealign=None)
    assert outcome.used == "optimized" and np.isfinite(outcome.loss_after)


@pytest.mark.slow
def test_consistency_is_a_penalty_by_its_function(tmp_path, rng):
    images, found = rng.random((2, 12, 11), dtype=np.float32), []
    for penalty in (inverse_consistency, "inverse_consistency"):
        registration = DeformableRegistration(
            input_shape=(12, 11), penalty=penalty, seed=0
        )
        history = registration.fit(images, images[0], epochs=1, verbose=0)
        found.append(history.history["loss"][0])
    assert found[0] == found[1]
    registration.save(tmp_path / "model.keras")
    DeformableRegistration.load(tmp_path / "model.keras")
