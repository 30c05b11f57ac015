import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import transform
from dipy_nn_reg.transform.layers.fields import (
    ControlPoints,
    EnlargeDisplacement,
    IntegrateVelocity,
    Warp,
)

pytestmark = pytest.mark.backends


@pytest.mark.parametrize("ndim", [2, 3])
def test_layers_agree_with_the_functions(ndim, rng):
    shape = (7, 8, 5)[:ndim]
    image = rng.normal(size=(2, *shape, 1)).astype(np.float32)
    field = rng.normal(size=(2, *shape, ndim)).astype(np.float32)
    for interpolation in ("linear", "nearest"):
        actual = keras.ops.convert_to_numpy(
            Warp(interpolation=interpolation)(image, field)
        )
        expected = transform.warp(image, field, interpolation=interpolation)
        npt.assert_array_equal(actual, expected)
    actual = keras.ops.convert_to_numpy(IntegrateVelocity(steps=4)(field))
    npt.assert_array_equal(actual, transform.integrate(field, steps=4))


@pytest.mark.parametrize("spline", ["bspline", "tps"])
@pytest.mark.parametrize("shape", [(9, 12), (7, 10, 5)])
def test_equal_control_points_make_a_constant_field(shape, spline):
    ndim = len(shape)
    points = [-(-n // 3) for n in shape]
    values = np.broadcast_to(np.arange(1.0, ndim + 1), (1, *points, ndim))
    layer = ControlPoints(spline=spline, spacing=3)
    field = layer(values.astype(np.float32), np.zeros((1, *shape, 1), np.float32))
    expected = np.broadcast_to(np.arange(1.0, ndim + 1), (1, *shape, ndim))
    npt.assert_allclose(keras.ops.convert_to_numpy(field), expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(9, 12), (7, 10, 5)])
def test_an_enlarged_constant_displacement_is_in_fine_voxels(shape):
    coarse = np.full((1, *[-(-n // 4) for n in shape], len(shape)), 1.5, np.float32)
    reference = np.zeros((1, *shape, 1), np.float32)
    actual = EnlargeDisplacement(stride=4)(coarse, reference)
    npt.assert_allclose(
        keras.ops.convert_to_numpy(actual), np.full((1, *shape, len(shape)), 6.0)
    )
