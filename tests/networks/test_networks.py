from inspect import signature

import keras
from keras import layers
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.checks import DIALLED
from dipy_nn_reg.networks import (
    NETWORKS,
    check_network,
    choose_transform,
    connect,
)

# The pyramid predicts velocities alone, see test_pyramid.py.
OTHERS = set(NETWORKS) - {"pyramid"}
DENSE = sorted(OTHERS - {"dirnet"})


def test_the_networks_with_a_dial_are_those_that_take_one():
    takes = {
        n for n, build in NETWORKS.items() if "dial" in signature(build).parameters
    }
    assert takes == set(DIALLED)


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("shape", [(28, 28), (27, 31), (3, 50), (20, 24, 17)])
def test_any_size_and_no_motion_before_training(name, shape, predict):
    fields = predict(name, shape)
    for level, field in enumerate(fields if name == "fcn" else [fields]):
        size = [-(-n // 2**level) for n in shape]
        assert field.shape == (1, *size, 3)
        npt.assert_allclose(field, 0, atol=1e-3)


@pytest.mark.parametrize("name", sorted(OTHERS - {"fcn"}))
@pytest.mark.parametrize("shape", [(27, 31), (13, 9, 17)])
@pytest.mark.parametrize("spacing", [2, 4, 8])
def test_values_for_control_points(name, shape, spacing, predict):
    points = [-(-n // spacing) for n in shape]
    actual = predict(name, shape, spacing=spacing)
    assert actual.shape == (1, *points, 3)
    npt.assert_allclose(actual, 0, atol=1e-3)


@pytest.mark.parametrize("name", sorted(set(DENSE) - {"fcn"}))
@pytest.mark.parametrize("shape", [(27, 31), (13, 9, 17)])
def test_values_for_the_whole_image(name, shape, predict):
    actual = predict(name, shape, values=12, spacing=None)
    assert actual.shape == (1, 12)
    npt.assert_allclose(actual, 0, atol=1e-3)


@pytest.mark.parametrize("name", DENSE)
def test_the_seed_determines_the_weights(name, build):
    one, same, other = (build(name, ndim=2, seed=s).get_weights() for s in (1, 1, 2))
    for a, b in zip(one, same):
        npt.assert_array_equal(a, b)
    assert any(np.any(a != b) for a, b in zip(one, other))


@pytest.mark.parametrize(
    ("network", "transform", "message"),
    [
        ("vnet", "velocity", r"network.*'unet'.*'vnet'"),
        (None, "velocity", "network.*None"),
        ("dirnet", "velocity", "bspline.*predicts control points.*'velocity'"),
        ("dirnet", "affine", "bspline.*predicts control points.*'affine'"),
        ("fcn", "tps", "displacement.*three resolutions.*'tps'"),
    ],
)
def test_networks_that_cannot_serve_a_transform_are_refused(
    network, transform, message
):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        check_network(network, transform)


def test_a_network_that_cannot_be_called_is_refused():
    for network in (keras.Sequential([layers.Dense(2)]), lambda moving: moving):
        with pytest.raises(ValueError, match="Expected a network that can be called"):
            connect_user_network(network)


def connect_user_network(network, *, values=2, spacing=1, shape=(12, 14)):
    inputs = [keras.Input((*[None] * len(shape), 1)) for _ in range(2)]
    fields = connect(
        network, *inputs, shape=shape, values=values, spacing=spacing, seed=None
    )
    return keras.Model(inputs, fields)


def one_convolution(values, strides=1):
    """Return a user's network that takes both images as one input."""
    images = keras.Input((None, None, 2))
    x = layers.Conv2D(values, 3, strides=strides, padding="same")(images)
    return keras.Model(images, x)


def test_networks_of_a_user(rng):
    images = [np.float32(rng.random((1, 12, 14, 1))) for _ in range(2)]
    together = one_convolution(2)
    expected = together.predict_on_batch(np.concatenate(images, axis=-1))
    inputs = [keras.Input((None, None, 1)) for _ in range(2)]
    apart = keras.Model(inputs, together(layers.Concatenate()(inputs)))

    def function(moving, static):
        return together(layers.Concatenate()([moving, static]))

    for network in (together, apart, function):
        actual = connect_user_network(network).predict_on_batch(images)
        npt.assert_allclose(np.squeeze(actual), expected[0], atol=1e-6)
    control = connect_user_network(one_convolution(2, strides=4), spacing=4)
    assert np.shape(np.squeeze(control.predict_on_batch(images))) == (3, 4, 2)


@pytest.mark.parametrize(
    ("network", "received"),
    [
        (one_convolution(3), r"output of shape \(None, 12, 14, 3\)"),
        (one_convolution(2, strides=2), r"output of shape \(None, 6, 7, 2\)"),
        (
            lambda moving, static: [moving, moving],
            r"output of shape \(None, 12, 14, 1\)",
        ),
        (lambda moving, static: None, "a NoneType"),
        (lambda moving, static: [moving] * 4, "4"),
    ],
)
def test_a_network_with_an_output_of_another_shape_is_refused(network, received):
    expected = r"(.*\(None, 12, 14, 2\)|3 fields at most)"
    expected = f"Expected the network to return {expected}"
    with pytest.raises(ValueError, match=f"{expected}.*Received {received}"):
        connect_user_network(network)


@pytest.mark.parametrize("network", [*NETWORKS, lambda moving, static: moving])
def test_each_network_has_a_default_transform(network):
    expected = "bspline_velocity" if network == "dirnet" else "velocity"
    assert choose_transform(network, None) == expected
    assert choose_transform(network, expected) == expected


@pytest.mark.parametrize(
    ("network", "transform", "message"),
    [
        ("unet", "warp", "transform to be one of"),
        ("resnet", None, "network to be one of"),
    ],
)
def test_unknown_networks_and_transforms_are_refused(network, transform, message):
    with pytest.raises(ValueError, match=message):
        choose_transform(network, transform)
