from functools import partial

from dipy.align.imwarp import DiffeomorphicMap
import keras
from keras import ops
import numpy as np
import numpy.testing as npt
import pytest
from scipy.linalg import expm
from scipy.ndimage import map_coordinates

from dipy_nn_reg.transform.functions import (
    compose,
    identity_grid,
    integrate,
    sample,
    warp,
)

SHAPES = [(28, 28), (27, 31), (12, 9, 10)]


def scipy_warp(image, displacement, *, order, mode):
    """Warp a batch with channels by SciPy, an independent oracle."""
    warped = np.empty((*displacement.shape[:-1], image.shape[-1]))
    grid = identity_grid(displacement.shape[1:-1])
    for i, c in np.ndindex(len(image), image.shape[-1]):
        positions = np.moveaxis(grid + displacement[i], -1, 0)
        warped[i, ..., c] = map_coordinates(
            image[i, ..., c], positions, order=order, mode=mode
        )
    return warped


@pytest.mark.backends
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("border", ["zero", "repeat"])
@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_zero_displacement_returns_the_image_bit_for_bit(
    shape, interpolation, border, rng
):
    image = rng.normal(size=(2, *shape, 3)).astype(np.float32)
    image[0] *= 1e8
    zero = np.zeros((2, *shape, len(shape)), np.float32)
    warped = warp(image, zero, interpolation=interpolation, border=border)
    npt.assert_array_equal(warped, image)


@pytest.mark.parametrize("shape", [*SHAPES, (1, 7)])
@pytest.mark.parametrize(("interpolation", "order"), [("linear", 1), ("nearest", 0)])
@pytest.mark.parametrize(
    ("border", "mode"), [("zero", "grid-constant"), ("repeat", "nearest")]
)
def test_warp_agrees_with_scipy(shape, interpolation, order, border, mode, rng):
    image = rng.random((2, *shape, 3), dtype=np.float32)
    # Up to several voxels beyond every border.
    displacement = rng.normal(0, 5, (2, *shape, len(shape))).astype(np.float32)
    warped = warp(image, displacement, interpolation=interpolation, border=border)
    expected = scipy_warp(image, displacement, order=order, mode=mode)
    npt.assert_allclose(warped, expected, atol=1e-5)


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_sample_at_and_beyond_the_last_row(interpolation, rng):
    image = rng.random((4, 5), dtype=np.float32)
    rows = [-2, -1, -0.75, -0.25, 0, 2.5, 3, 3.25, 3.75, 4, 4.5, 100]
    positions = np.array([(row, 2) for row in rows], np.float32)
    order = {"linear": 1, "nearest": 0}[interpolation]
    expected = map_coordinates(image, positions.T, order=order, mode="grid-constant")
    npt.assert_allclose(
        sample(image, positions, interpolation=interpolation), expected, atol=1e-6
    )


@pytest.mark.backends
@pytest.mark.parametrize("shape", [(20, 22), (12, 9, 10)])
def test_warp_agrees_with_dipy(shape, rng):
    ndim = len(shape)
    image = rng.random(shape, dtype=np.float32)
    displacement = rng.normal(0, 3, (*shape, ndim)).astype(np.float32)
    mapping = DiffeomorphicMap(ndim, shape)
    mapping.forward = displacement
    expected = mapping.transform(image, interpolation="linear")
    npt.assert_allclose(warp(image, displacement), expected, atol=1e-5)


@pytest.mark.backends
def test_nearest_keeps_labels_and_their_type(rng):
    labels = rng.integers(0, 2**30, (1, 9, 9)).astype(np.int32)
    displacement = rng.normal(0, 2, (1, 9, 9, 2)).astype(np.float32)
    warped = warp(labels, displacement, interpolation="nearest")
    assert warped.dtype == labels.dtype
    assert set(warped.ravel()) <= {0, *labels.ravel()}


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64, bool])
def test_images_of_other_types(dtype, rng):
    image = rng.integers(0, 2, (1, 8, 9)).astype(dtype)
    displacement = np.full((1, 8, 9, 2), 0.5)
    expected = warp(image.astype(np.float32), displacement)
    npt.assert_array_equal(warp(image, displacement), expected)


@pytest.mark.parametrize("ndim", [2, 3])
def test_layouts_agree(ndim, rng):
    shape = (7, 8, 6)[:ndim]
    image = rng.random((2, *shape, 1), dtype=np.float32)
    field = rng.normal(size=(2, *shape, ndim)).astype(np.float32)
    expected = warp(image, field)
    npt.assert_array_equal(warp(image[..., 0], field), expected[..., 0])
    npt.assert_array_equal(warp(image[0], field[0]), expected[0])
    npt.assert_array_equal(warp(image[0, ..., 0], field[0]), expected[0, ..., 0])
    positions = identity_grid(shape) + field[0]
    npt.assert_array_equal(sample(image[0, ..., 0], positions), expected[0, ..., 0])


def test_a_batch_of_one_is_used_for_all_items(rng):
    image = rng.random((1, 8, 8, 2), dtype=np.float32)
    fields = rng.normal(size=(3, 8, 8, 2)).astype(np.float32)
    one_by_one = np.concatenate([warp(image, f[None]) for f in fields])
    npt.assert_array_equal(warp(image, fields), one_by_one)
    images = rng.random((3, 8, 8, 2), dtype=np.float32)
    one_by_one = np.concatenate([warp(i[None], fields[:1]) for i in images])
    npt.assert_array_equal(warp(images, fields[:1]), one_by_one)


def test_image_and_field_may_differ_in_size(rng):
    image = rng.random((1, 9, 11, 1), dtype=np.float32)
    warped = warp(image, np.zeros((1, 5, 20, 2)))
    npt.assert_array_equal(warped[:, :5, :11], image[:, :5])
    npt.assert_array_equal(warped[:, :, 11:], 0)


@pytest.mark.backends
def test_tensors_in_tensors_out():
    image, field = ops.ones((1, 4, 4, 1)), ops.zeros((1, 4, 4, 2))
    by_keyword = warp(image=image, displacement=field)
    at_once = warp(np.ones((1, 4, 4, 1)), field)  # one tensor is enough
    for result in (by_keyword, at_once, compose(field, field), integrate(field)):
        assert ops.is_tensor(result)
        assert not isinstance(result, np.ndarray)
    assert isinstance(warp(np.ones((4, 4)), np.zeros((4, 4, 2))), np.ndarray)


@pytest.mark.backends
@pytest.mark.parametrize("border", ["zero", "repeat"])
@pytest.mark.parametrize("shape", [(6, 7), (5, 4, 6)])
def test_gradients_agree_with_finite_differences(shape, border, rng, gradient):
    ndim = len(shape)
    image = rng.random((2, *shape, 2), dtype=np.float32)
    weights = rng.normal(size=image.shape).astype(np.float32)
    # Off the grid lines, where linear interpolation has a kink, and beyond borders.
    whole = rng.integers(-2, 3, (2, *shape, ndim))
    displacement = (whole + rng.uniform(0.2, 0.8, whole.shape)).astype(np.float32)

    def loss(image, displacement):
        warped = warp(image, displacement, border=border)
        return ops.sum(ops.multiply(warped, weights))

    gradients = gradient(loss, image, displacement)
    step = 0.1  # within it the loss is linear in each value
    for array, actual in zip((image, displacement), gradients):
        for index in rng.choice(array.size, 20, replace=False):
            change = np.zeros(array.size, np.float32)
            change[index] = step
            change = change.reshape(array.shape)
            up, down = (
                float(loss(image + s * change, displacement))
                if array is image
                else float(loss(image, displacement + s * change))
                for s in (1, -1)
            )
            expected = (up - down) / (2 * step)
            npt.assert_allclose(actual.flat[index], expected, atol=2e-4)


@pytest.mark.backends
@pytest.mark.parametrize("shape", [(6, 7), (4, 5, 4)])
def test_gradients_of_fields_agree_with_finite_differences(shape, rng, gradient):
    ndim = len(shape)
    # Small and of one sign, so that no path crosses a grid line, where there is a kink.
    fields = rng.uniform(0.2, 0.6, (2, 1, *shape, ndim)).astype(np.float32)
    weights = rng.normal(size=fields[0].shape).astype(np.float32)

    def composed(first, second):
        return ops.sum(ops.multiply(compose(first, second), weights))

    def integrated(velocity, second):
        field = integrate(velocity, steps=4) + 0 * second
        return ops.sum(ops.multiply(field, weights))

    def sampled(first, second):
        positions = ops.add(second, identity_grid(shape))
        field = sample(first, positions, border="repeat")
        return ops.sum(ops.multiply(field, weights))

    for function in (composed, integrated, sampled):
        gradients = gradient(function, *fields)
        for direction in rng.normal(size=(5, *fields.shape)):
            step = 1e-3 * direction
            up, down = (
                float(function(*(fields + s * step).astype(np.float32)))
                for s in (1, -1)
            )
            expected = (up - down) / 2e-3
            actual = sum(np.sum(g * d) for g, d in zip(gradients, direction))
            npt.assert_allclose(actual, expected, rtol=2e-2, atol=2e-2)


@pytest.mark.backends
def test_compose_agrees_with_two_successive_warps():
    # A linear image is interpolated exactly, so both ways agree inside.
    rows, columns = np.mgrid[:20, :20].astype(np.float32)
    image = 2 * rows + 3 * columns
    first = np.stack([0.1 * rows, -0.05 * columns], axis=-1).astype(np.float32)
    second = np.stack([0.08 * columns - 1, 0.04 * rows - 1], axis=-1)
    second = second.astype(np.float32)
    successive = warp(warp(image, first), second)
    at_once = warp(image, compose(first, second))
    npt.assert_allclose(at_once[3:-5, 3:-5], successive[3:-5, 3:-5], atol=1e-3)
    npt.assert_array_equal(compose(np.zeros_like(second), second), second)


@pytest.mark.parametrize("shape", [(16, 16), (9, 10, 8)])
def test_integrate_a_constant_velocity_is_a_translation(shape):
    velocity = np.broadcast_to(np.arange(1.0, len(shape) + 1), (*shape, len(shape)))
    npt.assert_allclose(integrate(velocity), velocity, atol=1e-5)


@pytest.mark.backends
@pytest.mark.parametrize("shape", [(41, 41), (25, 25, 25)])
def test_integrate_a_linear_velocity_is_the_matrix_exponential(shape):
    ndim = len(shape)
    generator = np.array([[0.05, -0.2, 0.02], [0.2, 0.03, 0.0], [0.0, -0.04, -0.1]])
    generator = generator[:ndim, :ndim]
    centred = identity_grid(shape) - (np.array(shape) - 1) / 2
    expected = centred @ (expm(generator) - np.eye(ndim)).T
    actual = integrate(centred @ generator.T)
    # Away from the border, beyond which the velocity is no longer linear.
    inside = (slice(8, -8),) * ndim
    npt.assert_allclose(actual[inside], expected[inside], atol=5e-3)


@pytest.mark.parametrize(("shape", "sigma"), [((64, 64), 6), ((32, 36, 30), 6)])
def test_integrate_of_the_negative_is_the_inverse(shape, sigma, smooth_field):
    velocity = smooth_field(shape, sigma=sigma, largest=3)
    forward, backward = integrate(velocity), integrate(-velocity)
    # Away from the border, so that no path leaves the grid.
    inside = (slice(4, -4),) * len(shape)
    for both in (compose(forward, backward), compose(backward, forward)):
        assert np.linalg.norm(both[inside], axis=-1).max() < 0.05
    assert np.linalg.norm(forward, axis=-1).max() > 1


def test_integrate_batches_and_no_steps(rng):
    velocity = rng.normal(size=(2, 8, 9, 2)).astype(np.float32)
    npt.assert_allclose(integrate(velocity)[1], integrate(velocity[1]), atol=1e-6)
    npt.assert_array_equal(integrate(velocity, steps=0), velocity)
    npt.assert_array_equal(
        integrate(velocity, steps=np.int64(3)), integrate(velocity, steps=3)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: warp(np.ones((4, 4)), np.ones((4, 4, 3))), "Expected a displacement"),
        (lambda: warp(np.ones((2, 4, 4)), np.ones((3, 4, 4, 2))), "same batch"),
        (lambda: warp(np.ones(4), np.ones((4, 4, 2))), "Expected a displacement"),
        (lambda: warp(np.ones((3, 4, 4)), np.ones((4, 4, 2))), "same batch"),
        (lambda: compose(np.ones((4, 4, 1)), np.ones((4, 4, 2))), "two displacements"),
        (
            lambda: warp(np.ones((4, 4)), np.ones((4, 4, 2)), interpolation="cubic"),
            "'linear', 'nearest'.*Received 'cubic'",
        ),
        (
            lambda: sample(np.ones((4, 4)), np.ones((4, 2)), border="wrap"),
            "'repeat', 'zero'.*Received 'wrap'",
        ),
        (lambda: sample(np.ones((4, 4)), np.ones((4, 3))), "Expected an image"),
        (
            lambda: integrate(np.ones((4, 4, 2)), steps=-1),
            "steps to be an integer >= 0",
        ),
        (lambda: integrate(np.ones((4, 2))), "Expected a velocity"),
    ],
)
def test_invalid_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("border", ["zero", "repeat"])
@pytest.mark.parametrize("shape", [(7, 9), (6, 5, 8)])
def test_a_constant_image_changes_neither_values_nor_the_gradient_of_the_field(
    shape, border, rng, gradient
):
    image = rng.random((2, *shape, 3), dtype=np.float32)
    displacement = rng.normal(size=(2, *shape, len(shape))).astype(np.float32)
    weight = rng.normal(size=image.shape).astype(np.float32)
    options = {"border": border, "image_is_constant": True}
    npt.assert_array_equal(
        warp(image, displacement, **options), warp(image, displacement, border=border)
    )

    def weighted(displacement, **options):
        return ops.sum(ops.multiply(weight, warp(image, displacement, **options)))

    actual, expected = (
        gradient(partial(weighted, **o), displacement)[0]
        for o in (options, {"border": border})
    )
    npt.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 7), (6, 5, 7)])
def test_composed_fields_may_differ_in_size(shape, rng):
    ndim = len(shape)
    first = rng.normal(size=(*shape, ndim)).astype(np.float32)
    second = rng.normal(size=(*[n + 2 for n in shape], ndim)).astype(np.float32)
    expected = second + warp(first, second, border="repeat")
    npt.assert_allclose(compose(first, second), expected, atol=1e-6)


@pytest.mark.backends
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
@pytest.mark.parametrize("fill", [-1000.0, 0.7, 0.0])
def test_fill_agrees_with_scipy(ndim, interpolation, fill, rng):
    shape = (7, 6, 5)[:ndim]
    image = rng.random(shape).astype(np.float32)
    displacement = rng.uniform(-4, 4, (*shape, ndim)).astype(np.float32)
    positions = np.moveaxis(identity_grid(shape) + displacement, -1, 0)
    expected = map_coordinates(
        image,
        positions,
        order=1 if interpolation == "linear" else 0,
        mode="grid-constant",
        cval=fill,
    )
    options = {"interpolation": interpolation, "fill": fill}
    actual = warp(image, displacement, **options)
    npt.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    npt.assert_allclose(
        sample(image, np.moveaxis(positions, 0, -1), **options), actual, rtol=1e-6
    )
    npt.assert_array_equal(warp(image, 0 * displacement, **options), image)


def test_a_fill_for_each_image_and_channel(rng):
    images = rng.random((2, 5, 6, 3)).astype(np.float32)
    fill = np.arange(6.0).reshape(2, 3)
    far = np.full((2, 5, 6, 2), 50, np.float32)
    actual = warp(images, far, fill=fill)
    npt.assert_array_equal(actual, np.broadcast_to(fill[:, None, None], actual.shape))


def test_gradients_with_a_fill_agree_with_finite_differences(rng, gradient):
    image = rng.random((1, 5, 6, 1)).astype(np.float32)
    displacement = rng.uniform(-2, 2, (1, 5, 6, 2)).astype(np.float32)

    def total(image, displacement):
        return ops.sum(warp(image, displacement, fill=3.0) ** 2)

    of_image, of_displacement = gradient(total, image, displacement)
    step = np.zeros((1, 5, 6, 2), np.float32)
    step[0, 2, 3, 0] = 1e-2
    ends = [float(total(image, displacement + s * step)) for s in (1, -1)]
    npt.assert_allclose(
        of_displacement[0, 2, 3, 0], (ends[0] - ends[1]) / 2e-2, rtol=2e-2
    )
    step = step[..., :1]
    ends = [float(total(image + s * step, displacement)) for s in (1, -1)]
    npt.assert_allclose(of_image[0, 2, 3, 0], (ends[0] - ends[1]) / 2e-2, rtol=2e-2)


@pytest.mark.parametrize(
    "options",
    [
        {"fill": 1.0, "border": "repeat"},
        {"fill": np.nan},
        {"fill": np.array([[np.inf]])},
        {"fill": np.ones(2)},
        {"fill": np.ones((3, 1))},
    ],
)
def test_an_invalid_fill_is_refused(options):
    with pytest.raises(ValueError, match="Expected fill"):
        warp(np.ones((2, 4, 4, 1)), np.zeros((2, 4, 4, 2)), **options)


@pytest.mark.parametrize("steps", [65, 10**20, 10**400])
def test_more_than_64_steps_of_an_integration_are_refused(steps):
    with pytest.raises(ValueError, match="steps to be 64 at most"):
        integrate(np.zeros((4, 4, 2), np.float32), steps=steps)


@pytest.mark.backends
def test_64_steps_keep_a_velocity_of_zero(smooth_field):
    velocity = smooth_field((12, 13), sigma=3, largest=1.0)
    still = integrate(0 * velocity, steps=64)
    npt.assert_array_equal(still, 0)


@pytest.mark.parametrize("constant", [2, "yes", None, 1.0])
def test_image_is_constant_must_be_true_or_false(constant):
    image, displacement = np.ones((4, 4), "f4"), np.zeros((4, 4, 2), "f4")
    with pytest.raises(ValueError, match="image_is_constant to be True or False"):
        warp(image, displacement, image_is_constant=constant)
    warp(image, displacement, image_is_constant=np.bool_(True))


@pytest.mark.parametrize("function", ["warp", "sample"])
def test_labels_of_64_bits_keep_all_of_them(function):
    labels = np.array([[1, 2**40 + 5], [2**33, 2**63 + 1]], np.uint64)
    if function == "warp":
        still = np.zeros((2, 2, 2), "f")
        found = warp(labels, still, interpolation="nearest")
        named = {"image": labels, "displacement": still, "interpolation": "nearest"}
        npt.assert_array_equal(warp(**named), labels)
    else:
        found = sample(labels, identity_grid((2, 2)), interpolation="nearest")
    npt.assert_array_equal(found, labels)
    assert found.dtype == np.uint64


@pytest.mark.backends
@pytest.mark.parametrize("dtype", ["i8", "u8", "f8", ">i8", ">u8", ">f8", ">i4", ">u2"])
@pytest.mark.parametrize("border", ["zero", "repeat"])
def test_numbers_of_any_type_keep_all_bits(border, dtype):
    """Also with JAX, which has no numbers of 64 bits."""
    bits = np.random.default_rng(0).integers(0, 2**64 - 1, 20, np.uint64)
    kind = np.dtype(dtype).newbyteorder("=")
    image = bits.view(kind)[:20].reshape(4, 5)
    image = np.nan_to_num(image) if kind.kind == "f" else image
    away = np.zeros((4, 5, 2), np.float32)
    away[0] = -9.0
    options = {"interpolation": "nearest", "border": border}
    found = warp(image.astype(dtype), away, **options)
    outside = image[0, 0] if border == "repeat" else kind.type(0)
    expected = np.vstack([np.full(5, outside), image[1:]])
    npt.assert_array_equal(found, expected)
    assert found.dtype == kind


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64])
def test_a_fill_beside_a_repeated_border_is_told_as_it_was_passed(dtype):
    image, still = np.ones((4, 4), dtype), np.zeros((4, 4, 2), np.float32)
    options = {"interpolation": "nearest", "border": "repeat"}
    with pytest.raises(ValueError, match="Expected fill=None.*Received fill=7"):
        warp(image, still, fill=7, **options)


@pytest.mark.backends
def test_tensors_without_64_bits_do_not_lose_them():
    labels = np.array([[1, 2**40 + 5]])
    still = ops.zeros((1, 2, 2))
    if keras.backend.backend() == "jax":
        with pytest.raises(
            ValueError, match="values that fit int32.* to 1099511627781"
        ):
            warp(labels, still, interpolation="nearest")
    else:
        found = warp(labels, still, interpolation="nearest")
        npt.assert_array_equal(ops.convert_to_numpy(found), labels)
    found = warp(labels % 1000, still, interpolation="nearest")
    npt.assert_array_equal(ops.convert_to_numpy(found), labels % 1000)


@pytest.mark.parametrize("kind", ["big-endian", "tensor", "positions"])
def test_labels_of_64_bits_may_have_any_form(kind):
    labels = np.array([[1, 2**40 + 5], [2**33, 2**63 + 1]], np.uint64)
    positions = identity_grid((2, 2))
    if kind in ("tensor", "positions") and keras.backend.backend() != "tensorflow":
        pytest.skip("tensors of uint64 are those of TensorFlow")
    image = labels.astype(">u8") if kind == "big-endian" else labels
    image = ops.convert_to_tensor(labels) if kind == "tensor" else image
    if kind == "positions":
        positions = ops.convert_to_tensor(positions)
    found = sample(image, positions, interpolation="nearest")
    assert keras.backend.standardize_dtype(found.dtype) == "uint64"
    npt.assert_array_equal(ops.convert_to_numpy(found), labels)


@pytest.mark.backends
@pytest.mark.parametrize(
    "dtype, fill",
    [
        (bool, True),
        (bool, 0),
        (np.uint8, 255),
        (np.int16, -3),
        (np.int32, 2**24 + 1),
        (np.int64, -(2**53) - 1),
        (np.uint64, 2**64 - 1),
        (np.float64, 0.1),
    ],
)
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_fill_is_that_of_the_type_of_the_image(ndim, dtype, fill):
    image = np.ones((3,) * ndim, dtype)
    away = np.full((*image.shape, ndim), -9.0, np.float32)
    found = warp(image, away, interpolation="nearest", fill=fill)
    assert found.dtype == dtype
    npt.assert_array_equal(found, np.full(image.shape, fill, dtype))
