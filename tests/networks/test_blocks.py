import keras
from keras import layers, ops
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import convolve as scipy_convolve

from dipy_nn_reg.networks.blocks import (
    add_levels,
    conv_block,
    convolve,
    join,
    ranked,
    read_off,
    stride_to_reach,
)

SHAPES = [(7, 6), (5, 6, 4)]


def run(connect, *arrays):
    """Connect layers to inputs like arrays, and return their output for these."""
    inputs = [keras.Input(array.shape[1:]) for array in arrays]
    model = keras.Model(inputs, connect(*inputs))
    return model, model.predict_on_batch(list(arrays))


def convolve_by_scipy(x, kernel, bias):
    """Convolve an image by the kernel (*sizes, channels, filters) of a Keras layer."""
    flipped = np.flip(kernel, axis=tuple(range(kernel.ndim - 2)))
    return bias + np.stack(
        [
            sum(
                scipy_convolve(x[..., c], flipped[..., c, f], mode="constant")
                for c in range(x.shape[-1])
            )
            for f in range(kernel.shape[-1])
        ],
        axis=-1,
    )


def test_layers_of_two_and_three_dimensions():
    image, volume = keras.Input((8, 8, 1)), keras.Input((8, 8, 8, 1))
    assert ranked(image, "Conv") is layers.Conv2D
    assert ranked(volume, "Conv") is layers.Conv3D
    assert ranked(volume, "Conv{}Transpose") is layers.Conv3DTranspose


@pytest.mark.parametrize("shape", SHAPES)
def test_convolution_agrees_with_scipy(shape, rng):
    x = rng.normal(size=(1, *shape, 2)).astype(np.float32)
    model, actual = run(lambda x: convolve(x, 3, initializer="glorot_uniform"), x)
    kernel, bias = model.get_weights()
    npt.assert_allclose(actual[0], convolve_by_scipy(x[0], kernel, bias), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_block_is_a_convolution_and_a_leaky_relu(shape, rng):
    x = rng.normal(size=(1, *shape, 2)).astype(np.float32)
    model, actual = run(lambda x: conv_block(x, 3, seed=lambda: 0), x)
    linear = convolve_by_scipy(x[0], *model.get_weights())
    npt.assert_allclose(actual[0], np.where(linear < 0, 0.2, 1) * linear, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_joined_features_have_the_size_of_the_skip_connection(shape, rng):
    skip = rng.normal(size=(1, *shape, 2)).astype(np.float32)
    half = [-(-n // 2) for n in shape]
    x = rng.normal(size=(1, *half, 3)).astype(np.float32)
    _, actual = run(join, x, skip)
    doubled = x[0]
    for axis, n in enumerate(shape):
        doubled = np.take(np.repeat(doubled, 2, axis=axis), range(n), axis=axis)
    npt.assert_array_equal(actual[0], np.concatenate([doubled, skip[0]], axis=-1))


@pytest.mark.parametrize("shape", SHAPES)
def test_added_levels_of_constant_fields(shape):
    ndim = len(shape)
    sizes = [[-(-n // stride) for n in shape] for stride in (4, 2, 1)]
    fields = [np.full((1, *s, ndim), v, np.float32) for s, v in zip(sizes, (1, 10, 3))]
    _, actual = run(lambda *fields: add_levels(fields), *fields)
    # A voxel of the coarsest grid is four voxels of the finest one.
    npt.assert_allclose(actual, np.full((1, *shape, ndim), 4 * 1 + 2 * 10 + 3.0))


@pytest.mark.parametrize(
    ("spacing", "expected"), [(None, 16), (1, 1), (3, 1), (6, 2), (8, 8), (64, 16)]
)
def test_stride_to_reach(spacing, expected):
    assert stride_to_reach(spacing, coarsest=16) == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_values_are_predicted_from_averages_between_control_points(shape, rng):
    x = rng.normal(size=(1, *[4 * n for n in shape], 2)).astype(np.float32)
    model, actual = run(
        lambda x: read_off(
            x, 3, spacing=4, seed=None, kernel_size=1, initializer="glorot_uniform"
        ),
        x,
    )
    kernel, bias = model.get_weights()
    blocks = x[0].reshape(*np.ravel([(n, 4) for n in shape]), 2)
    averages = blocks.mean(axis=tuple(range(1, 2 * len(shape), 2)))
    npt.assert_allclose(actual[0], averages @ np.squeeze(kernel) + bias, atol=1e-5)


def test_values_start_at_zero_and_are_float32_in_a_bfloat16_network():
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        x = keras.Input((8, 8, 2))
        outputs = [read_off(x, 2, spacing=s, seed=lambda: 0) for s in (1, 4, None)]
    finally:
        keras.mixed_precision.set_dtype_policy(policy)
    assert [o.dtype for o in outputs] == ["float32"] * 3
    for value in keras.Model(x, outputs)(np.ones((1, 8, 8, 2), np.float32)):
        npt.assert_array_equal(ops.convert_to_numpy(value), 0)
