import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.transform.layers import (
    AffineMatrix,
    ApplyAffine,
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
# Layers and their inputs: images by their number of channels, or other arrays by name.
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
    """Return random inputs of a layer."""
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
    """Return the shape of an input, with unknown sizes for images and fields."""
    if array.ndim < ndim + 2:
        return array.shape[1:]
    return (*[None] * ndim, array.shape[-1])


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("name", CASES)
def test_layer_contract(name, ndim, rng):
    """Results are equal in a graph of any size, and from the configuration alone."""
    layer = CASES[name][0]
    arrays = make_inputs(name, ndim, rng)
    inputs = [keras.Input(shape_of_input(array, ndim)) for array in arrays]
    copy = type(layer).from_config(layer.get_config())
    model = keras.Model(inputs, copy(*inputs))
    direct = keras.ops.convert_to_numpy(layer(*arrays))
    npt.assert_allclose(model.predict_on_batch(arrays), direct, atol=1e-5)
    assert direct.shape == copy.compute_output_shape(*[a.shape for a in arrays])
