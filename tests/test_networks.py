import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.networks import NETWORKS


def build(name, *, ndim, channels=1, values=2, seed=0):
    rng = np.random.default_rng(seed)
    inputs = [keras.Input((*[None] * ndim, channels)) for _ in range(2)]
    field = NETWORKS[name](
        *inputs, values=values, seed=lambda: int(rng.integers(2**31))
    )
    return keras.Model(inputs, field)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(28, 28), (27, 31), (3, 50), (20, 24, 17)])
def test_any_size_and_no_motion_before_training(name, shape, rng):
    network = build(name, ndim=len(shape), channels=2, values=3)
    images = rng.random((2, 1, *shape, 2), dtype=np.float32)
    field = network.predict_on_batch(list(images))
    assert field.shape == (1, *shape, 3)
    npt.assert_allclose(field, 0, atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_seed_decides_the_weights(name):
    one, same, other = (build(name, ndim=2, seed=s).get_weights() for s in (1, 1, 2))
    for a, b in zip(one, same):
        npt.assert_array_equal(a, b)
    assert any(np.any(a != b) for a, b in zip(one, other))


@pytest.mark.parametrize(
    ("name", "ndim", "parameters"),
    [
        ("voxelmorph1", 3, 259_675),
        ("voxelmorph2", 3, 300_547),
        ("voxelmorph1", 2, 86_658),
        ("voxelmorph2", 2, 100_242),
    ],
)
def test_number_of_parameters_as_published(name, ndim, parameters):
    assert build(name, ndim=ndim, values=ndim).count_params() == parameters


def test_unet_is_compact_and_starts_at_zero(rng):
    network = build("unet", ndim=2)
    assert network.count_params() < 100_000
    images = rng.random((2, 1, 9, 9, 1), dtype=np.float32)
    npt.assert_array_equal(network.predict_on_batch(list(images)), 0)
