import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.transform.control_points import SPLINES
from dipy_nn_reg.transform.functions import integrate, warp
from dipy_nn_reg.transform.kinds import (
    TRANSFORMS,
    Transform,
    choose_field_stride,
    choose_spacing,
    connect_affine,
    connect_field,
    values_needed,
)
from dipy_nn_reg.transform.layers import INTEGRATION_STEPS, Background
from dipy_nn_reg.transform.pyramid import coarse_shape, enlarge


@pytest.mark.parametrize("transform", sorted(set(TRANSFORMS) - {"affine"}))
@pytest.mark.parametrize("shape", [(9, 13), (7, 8, 9)])
def test_displacement_of_the_values_of_each_transform(transform, shape, rng):
    kind, ndim = TRANSFORMS[transform], len(shape)
    spacing = choose_spacing(transform, shape)
    points = [-(-n // spacing) for n in shape]
    values = rng.normal(0, 0.3, (2, *points, ndim)).astype(np.float32)
    inputs = [keras.Input((*[None] * ndim, n)) for n in (ndim, 1)]
    model = keras.Model(inputs, connect_field(transform, *inputs, spacing=spacing))
    reference = np.zeros((2, *shape, 1), np.float32)
    field, displacement = model.predict_on_batch([values, reference])
    if kind.spline:
        values = keras.ops.convert_to_numpy(
            SPLINES[kind.spline](values, shape, spacing)
        )
    npt.assert_allclose(field, values, atol=1e-5)
    expected = integrate(field, steps=5) if kind.integrated else field
    npt.assert_allclose(displacement, expected, atol=1e-5)


def test_passes_of_an_affine_map_are_composed(rng):
    """The image is interpolated once, at the positions after both maps."""
    shape = (15, 12)
    parameters = rng.normal(0, 0.1, (1, 6)).astype(np.float32)
    inputs = [keras.Input((None, None, 1)) for _ in range(2)]
    constant = keras.layers.Dense(6, kernel_initializer="zeros", name="constant")
    predict = keras.Model(
        inputs, constant(keras.layers.GlobalAveragePooling2D()(inputs[0]))
    )
    constant.bias.assign(parameters[0])
    image = rng.random((1, *shape, 1), dtype=np.float32)
    once, twice = (
        keras.Model(
            inputs, connect_affine(predict, *inputs, Background()(inputs[0]), passes)
        ).predict_on_batch([image, image])
        for passes in (1, 2)
    )
    step = np.vstack([once[0][0], [0, 0, 1]])
    npt.assert_allclose(np.vstack([twice[0][0], [0, 0, 1]]), step @ step, atol=1e-5)
    grid = np.moveaxis(np.indices(shape), 0, -1)
    for matrix, displacement in (once, twice):
        expected = grid @ matrix[0, :, :2].T + matrix[0, :, 2] - grid
        npt.assert_allclose(displacement[0], expected, atol=1e-4)
    assert np.abs(once[1]).max() > 0.5
    assert np.any(warp(image, once[1]) != image)


@pytest.mark.parametrize(
    ("transform", "shape", "expected"),
    [
        ("velocity", (28, 28), 1),
        ("bspline", (28, 28), 4),
        ("bspline_velocity", (9, 8, 7), 4),
        ("tps", (28, 28), 8),
        ("tps", (16, 33), 8),
        ("tps", (40, 33), 16),
        ("bspline", (3, 20), 3),
        ("tps", (160, 192, 224), 64),
        ("affine", (28, 28), None),
    ],
)
def test_default_spacing(transform, shape, expected):
    assert choose_spacing(transform, shape) == expected
    assert (
        choose_spacing(
            transform, shape, expected if expected not in (1, None) else None
        )
        == expected
    )


def test_values_needed():
    assert [values_needed("affine", ndim) for ndim in (2, 3)] == [6, 12]
    assert [values_needed("tps", ndim) for ndim in (2, 3)] == [2, 3]


@pytest.mark.parametrize(
    ("transform", "shape", "spacing", "message"),
    [
        ("bspline", (28, 20), 21, r"20 voxels at most.*\(28, 20\).*spacing=21"),
        ("tps", (28, 20), 20, "19 voxels at most.*spacing=20"),
        ("tps", (2, 20), None, "1 voxels at most.*spacing=1"),
        ("bspline", (28, 28), 1, "spacing.*>= 2.*1"),
        ("tps", (28, 28), 7.0, "spacing.*integer.*7.0"),
        ("velocity", (28, 28), 4, "spacing=None.*'velocity' and spacing=4"),
        ("tps", (160, 192, 224), 8, "larger spacing.*13440 points"),
    ],
)
def test_an_invalid_spacing_is_refused(transform, shape, spacing, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        choose_spacing(transform, shape, spacing)


@pytest.mark.parametrize(("shape", "spacing"), [((28, 20), 20), ((160, 192, 224), 8)])
def test_each_thin_plate_spline_is_limited(shape, spacing, monkeypatch):
    kind = Transform(spline="tps", integrated=True)
    monkeypatch.setitem(TRANSFORMS, "tps_velocity", kind)
    with pytest.raises(ValueError, match="spacing"):
        choose_spacing("tps_velocity", shape, spacing)


@pytest.mark.parametrize(
    ("transform", "network", "ndim", "expected"),
    [
        ("velocity", "unet", 3, 2),
        ("displacement", "voxelmorph1", 3, 2),
        ("velocity", "unet", 2, 1),
        ("velocity", keras.layers.Identity(), 3, 1),
        ("bspline", "unet", 3, 1),
        ("affine", "unet", 3, 1),
    ],
)
def test_default_field_stride(transform, network, ndim, expected):
    assert choose_field_stride(transform, network, ndim) == expected


@pytest.mark.parametrize(
    ("transform", "stride", "message"),
    [
        ("velocity", 3, r"\[1, 2, 4\].*3"),
        ("velocity", True, r"\[1, 2, 4\].*True"),
        ("velocity", "2", r"\[1, 2, 4\].*'2'"),
        ("bspline", 2, "field_stride=1 with transform='bspline'.*2"),
    ],
)
def test_an_invalid_field_stride_is_refused(transform, stride, message):
    with pytest.raises(ValueError, match=message):
        choose_field_stride(transform, "unet", 3, stride)


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("shape", [(16, 21), (11, 16, 13)])
def test_a_coarse_velocity_is_integrated_and_enlarged(shape, stride, rng):
    ndim = len(shape)
    images = [keras.Input((*[None] * ndim, channels)) for channels in (ndim, 1)]
    outputs = connect_field("velocity", *images, spacing=1, stride=stride)
    values = rng.normal(size=(2, *coarse_shape(shape, stride), ndim)).astype("float32")
    image = np.zeros((2, *shape, 1), np.float32)
    field, displacement = keras.Model(images, outputs).predict_on_batch([values, image])
    npt.assert_array_equal(field, values)
    coarse = integrate(values, steps=INTEGRATION_STEPS)
    expected = keras.ops.convert_to_numpy(enlarge(coarse, image, stride))
    npt.assert_allclose(displacement, expected, atol=1e-5)
