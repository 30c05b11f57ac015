"""Networks of which half of f(moving, static) - f(static, moving) is the velocity."""

import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from dipy_nn_reg import DeformableRegistration
from dipy_nn_reg.data.phantoms import make_phantoms


@pytest.fixture
def symmetric(rng):
    """Return a maker of symmetric models with random weights."""

    def make(shape, scale=0.15, **options):
        options = {"network": "pyramid", **options}
        model = DeformableRegistration(
            input_shape=shape, symmetric=True, seed=0, **options
        )
        for weights in model.model.trainable_weights:
            weights.assign_add(scale * rng.normal(size=weights.shape))
        return model

    return make


def smooth_images(rng, n, shape):
    images = rng.normal(size=(n, *shape))
    return np.float32([gaussian_filter(image, 3) for image in images])


def compose(first, second):
    """Return the displacement of second after first, by SciPy."""
    positions = np.indices(first.shape[:-1]) + np.moveaxis(first, -1, 0)
    moved = [
        map_coordinates(component, positions, order=1, mode="nearest")
        for component in np.moveaxis(second, -1, 0)
    ]
    return first + np.stack(moved, axis=-1)


@pytest.mark.parametrize(
    ("shape", "scale"),
    [((27, 32), 0.15), pytest.param((17, 22, 15), 0.1, marks=pytest.mark.slow)],
)
def test_both_directions_are_inverse(shape, scale, symmetric, rng):
    model = symmetric(shape, scale)
    moving, static = np.split(smooth_images(rng, 6, shape), 2)
    assert_inverse(model, moving, static, size=0.3)
    there = model.predictor.predict("field", moving, static)
    npt.assert_array_equal(there, -model.predictor.predict("field", static, moving))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(48, 55), (40, 45, 42)])
def test_both_directions_of_the_pretrained_model_are_inverse(shape):
    """Without any training of its weights in this way."""
    images, _ = make_phantoms(2, shape=shape, seed=4)
    model = DeformableRegistration.pretrained(ndim=len(shape), symmetric=True)
    assert_inverse(model, images[:1], images[1:], size=0.8)


def assert_inverse(model, moving, static, *, size):
    """Compose the displacements of both directions, of a mean size in voxels."""
    there = model.predict_field(moving, static)
    back = model.predict_field(static, moving)
    assert np.linalg.norm(there, axis=-1).mean() > size
    for pair in zip(there, back):
        assert np.linalg.norm(compose(*pair), axis=-1).mean() < 0.05


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        pytest.param(
            (17, 22, 15),
            {"network": "voxelmorph1", "precision": "bfloat16"},
            marks=pytest.mark.slow,
        ),
        ((27, 32), {"network": "dirnet"}),
        pytest.param(
            (13, 14),
            {"network": "fcn", "transform": "velocity"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_velocities_of_exchanged_images_are_negated(shape, options, symmetric, rng):
    """Exactly, after training and loading as well."""
    model = symmetric(shape, scale=0.02, **options)
    images = smooth_images(rng, 4, shape)
    history = model.fit(images, epochs=1, batch_size=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    for one in (model, copied(model)):
        there, back = (
            one.predictor.predict("field", *pair)
            for pair in ((images[:3], images[1:]), (images[1:], images[:3]))
        )
        assert np.abs(there).max() > 1e-3
        npt.assert_array_equal(there, -back)
    expected = model.predictor.predict("field", images[:3], images[1:])
    npt.assert_array_equal(there, expected)


def copied(model):
    """Return the model that is saved and loaded, which pickling does."""
    create, arguments = model.__reduce__()
    return create(*arguments)


def test_it_is_half_of_the_difference_of_both_directions(rng):
    """Of a model with the same weights that is not symmetric."""
    images = smooth_images(rng, 2, (40, 44))
    plain = DeformableRegistration.pretrained(ndim=2, passes=1).predictor
    there, back = (
        plain.predict("field", pair[:1], pair[1:]) for pair in (images, images[::-1])
    )
    model = DeformableRegistration.pretrained(ndim=2, symmetric=True)
    found = model.predictor.predict("field", images[:1], images[1:])
    assert np.abs(found).max() > 0.1
    npt.assert_allclose(found, (there - back) / 2, atol=1e-4)


@pytest.mark.slow
def test_the_map_of_exchanged_images_is_the_inverse(symmetric, rng):
    model = symmetric((27, 32))
    images = smooth_images(rng, 2, (27, 32))
    mapping = model.predict_mapping(*images)
    other = model.predict_mapping(*images[::-1])
    npt.assert_allclose(mapping.forward, other.backward, atol=1e-4)
    assert np.abs(mapping.forward).max() > 0.5
