import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import transform
from dipy_nn_reg.intensities import estimate_background
from dipy_nn_reg.transform.layers import (
    AffineMatrix,
    ApplyAffine,
    Background,
    ComposeAffine,
    ControlPoints,
    CutLike,
    EnlargeDisplacement,
    IntegrateVelocity,
    Moments,
    RescaleIntensity,
    Warp,
)

SHAPE = (7, 8, 5)
# What each layer takes: images of so many channels, fields, or something else.
CASES = {
    "rescale": (RescaleIntensity(), [3]),
    "cut": (CutLike(), [3, 2]),
    "moments": (Moments(), [3]),
    "control points": (ControlPoints(spline="bspline", spacing=3), ["points", 1]),
    "thin plate": (ControlPoints(spline="tps", spacing=3), ["points", 1]),
    "affine matrix": (AffineMatrix(), ["parameters", 1]),
    "compose affine": (ComposeAffine(), ["matrix", "matrix"]),
    "apply affine": (ApplyAffine(), ["matrix", "field"]),
    "enlarge": (EnlargeDisplacement(stride=2), ["coarse", 1]),
    "warp": (Warp(), [1, "field"]),
    "warp constant images": (Warp(image_is_constant=True), [3, "field"]),
    "warp nearest": (Warp(interpolation="nearest"), [3, "field"]),
    "integrate": (IntegrateVelocity(steps=3), ["field"]),
}


def make_inputs(name, ndim, rng):
    """Return the arrays of a case."""
    shape = SHAPE[:ndim]
    shapes = {
        "coarse": (*[-(-n // 2) for n in shape], ndim),
        "field": (*shape, ndim),
        "matrix": (ndim, ndim + 1),
        "parameters": (ndim * (ndim + 1),),
        "points": (*[-(-n // 3) for n in shape], ndim),
    }
    return [
        rng.normal(size=(2, *shapes.get(kind, (*shape, kind)))).astype(np.float32)
        for kind in CASES[name][1]
    ]


def shape_of_input(array, ndim):
    """Return a shape of any size, as images and fields have."""
    if array.ndim < ndim + 2:
        return array.shape[1:]
    return (*[None] * ndim, array.shape[-1])


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("name", CASES)
def test_layer_contract(name, ndim, rng):
    """Same result in a graph of any size, and from the configuration alone."""
    layer = CASES[name][0]
    arrays = make_inputs(name, ndim, rng)
    inputs = [keras.Input(shape_of_input(array, ndim)) for array in arrays]
    copy = type(layer).from_config(layer.get_config())
    model = keras.Model(inputs, copy(*inputs))
    direct = keras.ops.convert_to_numpy(layer(*arrays))
    npt.assert_allclose(model.predict_on_batch(arrays), direct, atol=1e-5)
    assert direct.shape == copy.compute_output_shape(*[a.shape for a in arrays])


@pytest.mark.parametrize("ndim", [2, 3])
def test_layers_do_as_the_functions(ndim, rng):
    image, field = make_inputs("warp", ndim, rng)
    for interpolation in ("linear", "nearest"):
        found = keras.ops.convert_to_numpy(
            Warp(interpolation=interpolation)(image, field)
        )
        expected = transform.warp(image, field, interpolation=interpolation)
        npt.assert_array_equal(found, expected)
    found = keras.ops.convert_to_numpy(IntegrateVelocity(steps=4)(field))
    npt.assert_array_equal(found, transform.integrate(field, steps=4))


@pytest.mark.parametrize("shape", [(40, 30), (12, 10, 11), (300, 280), (60, 50, 55)])
def test_rescale_each_image_and_channel(shape, rng):
    images = rng.normal(size=(2, *shape, 2)).astype(np.float32)
    images[0, ..., 1] = 7
    rescaled = keras.ops.convert_to_numpy(RescaleIntensity()(images))
    npt.assert_array_equal(rescaled[0, ..., 1], 0)
    most = {2: 256, 3: 48}[len(shape)]
    every = tuple(slice(None, None, -(-n // most)) for n in shape)
    for item, channel in ((0, 0), (1, 0), (1, 1)):
        values = images[item, ..., channel]
        low, high = np.percentile(values[every], [0.1, 99.9])
        expected = np.clip((values - low) / (high - low), 0, 1)
        npt.assert_allclose(rescaled[item, ..., channel], expected, atol=1e-5)


def test_rescale_is_not_misled_by_outliers(rng):
    image = rng.random((1, 30, 30, 30, 1)).astype(np.float32)
    spoilt = image.copy()
    spoilt[0, 3, :2, :4] = 50
    clean, found = (
        keras.ops.convert_to_numpy(RescaleIntensity()(x)) for x in (image, spoilt)
    )
    assert np.abs(clean - found)[spoilt == image].max() < 0.01


def test_rescale_of_little_in_front_of_nothing_is_by_the_extremes():
    images = np.zeros((1, 50, 50, 50, 1), np.float32)
    images[0, 20:22, 20:22, 20:22] = 4
    npt.assert_array_equal(
        keras.ops.convert_to_numpy(RescaleIntensity()(images)), images / 4
    )


@pytest.mark.parametrize("shape", [(4, 6), (5, 3, 4)])
def test_cut_keeps_the_start_of_each_axis(shape, rng):
    features = rng.random((1, *[n + 1 for n in shape], 2), dtype=np.float32)
    reference = np.zeros((1, *shape, 1), np.float32)
    found = keras.ops.convert_to_numpy(CutLike()(features, reference))
    start = (slice(None), *[slice(n) for n in shape])
    npt.assert_array_equal(found, features[start])


@pytest.mark.parametrize("shape", [(7, 5), (4, 6, 5)])
def test_moments_tell_where_a_feature_is(shape):
    """A single voxel of height h: its mean, and that times its position."""
    place = (1, 4, 2)[: len(shape)]
    features = np.zeros((1, *shape, 1), np.float32)
    features[(0, *place)] = 3 * np.prod(shape)
    found = keras.ops.convert_to_numpy(Moments()(features))[0]
    positions = [(2 * p - (n - 1)) / max(shape) for p, n in zip(place, shape)]
    npt.assert_allclose(found, [3, *np.multiply(3, positions)], atol=1e-5)


@pytest.mark.parametrize("shape", [(9, 12), (7, 10, 5)])
def test_an_affine_map_about_the_centre(shape, rng):
    ndim, center = len(shape), (np.array(shape) - 1) / 2
    parameters = rng.normal(0, 0.2, (2, ndim, ndim + 1)).astype(np.float32)
    reference = np.zeros((2, *shape, 1), np.float32)
    flat = parameters.reshape(2, -1)
    matrices = keras.ops.convert_to_numpy(AffineMatrix()(flat, reference))
    point = rng.uniform(0, 9, ndim)
    for matrix, parameter in zip(matrices, parameters):
        linear, offset = np.eye(ndim) + parameter[:, :ndim], parameter[:, ndim]
        expected = linear @ (point - center) + center + offset * max(shape) / 2
        npt.assert_allclose(matrix @ [*point, 1], expected, atol=1e-5)
    identity = keras.ops.convert_to_numpy(AffineMatrix()(0 * flat, reference))
    npt.assert_array_equal(identity[0], np.eye(ndim, ndim + 1))


@pytest.mark.parametrize("shape", [(9, 12), (7, 10, 5)])
def test_affine_maps_in_a_row(shape, rng):
    ndim = len(shape)
    outer, inner = rng.normal(0, 1, (2, 1, ndim, ndim + 1)).astype(np.float32)
    displacement = rng.normal(size=(1, *shape, ndim)).astype(np.float32)
    product = keras.ops.convert_to_numpy(ComposeAffine()(outer, inner))[0]
    last = np.eye(ndim + 1)[-1:]
    expected = np.vstack([outer[0], last]) @ np.vstack([inner[0], last])
    npt.assert_allclose(product, expected[:ndim], atol=1e-5)
    found = keras.ops.convert_to_numpy(ApplyAffine()(outer, displacement))[0]
    grid = np.moveaxis(np.indices(shape), 0, -1)
    moved = (grid + displacement[0]) @ outer[0, :, :ndim].T + outer[0, :, ndim]
    npt.assert_allclose(found, moved - grid, atol=1e-4)


@pytest.mark.parametrize("shape", [(9, 12), (300, 5), (7, 8, 9), (60, 50, 4)])
def test_background_as_it_is_estimated_from_arrays(shape, rng):
    """Large faces are thinned out, which hardly moves a median."""
    images = rng.random((2, *shape, 3)).astype(np.float32)
    images[:, 2:-2, 2:-2] += 5
    found = keras.ops.convert_to_numpy(Background()(images))
    expected = [
        [estimate_background(image[..., c]) for c in range(3)] for image in images
    ]
    exact = max(shape) <= 48
    npt.assert_allclose(found, expected, atol=1e-7 if exact else 0.1)
