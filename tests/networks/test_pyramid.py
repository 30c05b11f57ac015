import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.networks import check_network
from dipy_nn_reg.networks.pyramid import pyramid


def build(ndim, *, spacing=1, dial=False, seed=0):
    """Return a pyramid from two images, and a dial, to its velocity."""
    rng = np.random.default_rng(seed)
    images = [keras.Input((*[None] * ndim, 1)) for _ in range(2)]
    inputs = [*images, keras.Input((1,))] if dial else images
    velocity = pyramid(
        *images,
        values=ndim,
        spacing=spacing,
        seed=lambda: int(rng.integers(2**31)),
        dial=inputs[2] if dial else None,
    )
    return keras.Model(inputs, velocity)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((3, 50), 1), pytest.param((13, 9, 17), 2, marks=pytest.mark.slow)],
)
def test_any_size_and_no_motion_before_training(shape, spacing, rng):
    images = rng.random((2, 2, *shape, 1), dtype=np.float32)
    velocity = build(len(shape), spacing=spacing).predict_on_batch(list(images))
    assert velocity.shape == (2, *[-(-n // spacing) for n in shape], len(shape))
    npt.assert_array_equal(velocity, 0)


def test_it_is_compact():
    assert build(3).count_params() < 2_200_000


def test_the_seed_determines_the_weights():
    one, same, other = (build(2, seed=seed).get_weights() for seed in (1, 1, 2))
    for a, b in zip(one, same):
        npt.assert_array_equal(a, b)
    assert any(np.any(a != b) for a, b in zip(one, other))


@pytest.mark.slow
def test_the_dial_changes_the_field_of_each_image_by_itself(rng):
    network = build(2, dial=True)
    for weights in network.trainable_weights:
        weights.assign_add(0.05 * rng.normal(size=weights.shape))
    images = list(rng.random((2, 1, 20, 24, 1), dtype=np.float32))
    alone = [
        network.predict_on_batch([*images, np.full((1, 1), h, np.float32)])
        for h in (0, 1)
    ]
    assert np.abs(alone[0] - alone[1]).max() > 0.01
    twice = [np.repeat(image, 2, axis=0) for image in images]
    together = network.predict_on_batch([*twice, np.float32([[0], [1]])])
    npt.assert_allclose(together, np.concatenate(alone), atol=1e-3)


@pytest.mark.parametrize("transform", ["displacement", "bspline", "affine"])
def test_other_transforms_than_a_velocity_are_refused(transform):
    with pytest.raises(ValueError, match="Expected .*velocity.*'pyramid'.*warps"):
        check_network("pyramid", transform)
