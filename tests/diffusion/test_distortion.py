import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.diffusion.correction import correct_distortion
from dipy_nn_reg.diffusion.distortion import estimate_distortion

# Shapes, some of odd size, and axes.
CASES = [
    ((64, 64), 0),
    ((64, 64), 1),
    ((63, 51), 1),
    ((33, 40, 36), 1),
    ((40, 31, 34), 2),
    pytest.param((64, 80, 48), 0, marks=pytest.mark.slow),
    pytest.param((64, 80, 48), 1, marks=pytest.mark.slow),
]


def difference(one, other, inside):
    return np.abs(one - other)[inside].mean()


@pytest.mark.parametrize(("shape", "axis"), CASES)
@pytest.mark.parametrize("noise", [0, 0.02])
def test_known_fields_are_found(noise, shape, axis, make_distorted):
    """Displacements of up to 8 voxels, or less in small volumes, with pile-up."""
    pair = make_distorted(shape, axis=axis, seed=1, noise=noise)
    assert np.abs(pair.field).max() > 3.5
    assert 0.3 < np.abs(np.diff(pair.field, axis=axis)).max() < 0.9
    found = estimate_distortion(pair.up, pair.down, axis=axis)
    assert found.dtype == np.float32 and found.shape == shape
    errors = np.abs(found - pair.field)[pair.inside]
    assert errors.mean() < 0.06 < 0.2  # 0.2 is what is promised
    assert np.percentile(errors, 95) < 0.2
    assert np.abs(np.diff(found, axis=axis)).max() < 1
    corrected = [
        correct_distortion(image, found, axis=axis, sign=sign)
        for image, sign in ((pair.up, 1), (pair.down, -1))
    ]
    before = difference(pair.up, pair.down, pair.inside)
    left = difference(*corrected, pair.inside) / before
    # Independent noise of both images stays.
    assert left < (0.1 if noise else 0.05)
    if not noise:
        mean = sum(corrected) / 2
        assert difference(mean, pair.image, pair.inside) < 0.1 * before


def test_the_field_of_the_exchanged_pair_is_the_opposite_one(make_distorted):
    pair = make_distorted((48, 40), axis=0, seed=2, noise=0.02)
    field = estimate_distortion(pair.up, pair.down, axis=0)
    opposite = estimate_distortion(pair.down, pair.up, axis=0)
    npt.assert_allclose(opposite, -field, atol=1e-3)
    assert np.abs(field).max() > 3


def test_a_mirrored_axis_changes_the_sign(make_distorted):
    pair = make_distorted((48, 40), axis=1, seed=3)
    field = estimate_distortion(pair.up, pair.down, axis=1)
    mirrored = estimate_distortion(pair.up[:, ::-1], pair.down[:, ::-1], axis=1)
    inside = pair.inside
    assert np.abs(mirrored[:, ::-1] + field)[inside].mean() < 0.02


@pytest.mark.parametrize("axis", [0, 1])
def test_a_shift_is_found_with_its_sign(axis):
    """Tissue of ``x`` is shown at ``x + 2`` by the first image."""
    image = np.zeros((40, 36), np.float32)
    image[14:24, 12:22] = np.random.default_rng(0).random((10, 10)) + 1
    up, down = (np.roll(image, shift, axis) for shift in (2, -2))
    field = estimate_distortion(up, down, axis=axis, smoothness=10)
    npt.assert_allclose(field[15:23, 13:21], 2, atol=0.1)


def test_equal_images_have_no_distortion(make_distorted):
    image = make_distorted((32, 30), axis=0, seed=0).image
    npt.assert_array_equal(estimate_distortion(image, image, axis=0), 0)


def test_empty_images_have_no_distortion():
    empty = np.zeros((32, 30))
    npt.assert_array_equal(estimate_distortion(empty, empty, axis=1), 0)


@pytest.mark.parametrize("factor", [1e-6, 4000])
def test_the_scale_of_intensities_does_not_matter(factor, make_distorted):
    pair = make_distorted((48, 40), axis=0, seed=1)
    one = estimate_distortion(pair.up, pair.down, axis=0)
    up, down = (factor * np.float64(image) for image in (pair.up, pair.down))
    npt.assert_allclose(estimate_distortion(up, down, axis=0), one, atol=1e-3)


@pytest.mark.parametrize(("shape", "axis"), [((64, 64), 1), ((33, 40, 36), 1)])
def test_a_floor_of_noise_does_not_look_like_a_field(shape, axis, make_distorted):
    """Noise that is not distorted is in the background, and in the object."""
    pair = make_distorted(shape, axis=axis, seed=2)
    up, down = (np.hypot(image, 0.1) for image in (pair.up, pair.down))
    found = estimate_distortion(up, down, axis=axis)
    assert np.abs(found - pair.field)[pair.inside].mean() < 0.04


def test_integers_are_accepted(make_distorted):
    pair = make_distorted((48, 40), axis=0, seed=1)
    one = estimate_distortion(pair.up, pair.down, axis=0)
    up, down = (np.int16(1000 * image) for image in (pair.up, pair.down))
    assert np.abs(estimate_distortion(up, down, axis=0) - one).mean() < 0.05


def test_more_smoothness_gives_smoother_fields(make_distorted):
    pair = make_distorted((48, 40), axis=0, seed=1, noise=0.1)
    fields = [
        estimate_distortion(pair.up, pair.down, axis=0, smoothness=smoothness)
        for smoothness in (0.1, 1, 10)
    ]
    rough = [np.square(np.diff(field, axis=1)).sum() for field in fields]
    assert rough[0] > 1.2 * rough[1] > 1.2**2 * rough[2]


@pytest.mark.parametrize("shape", [(40, 36, 1), (40, 3, 36), (2, 24, 24)])
def test_thin_volumes_are_accepted(shape):
    """Each slice of a stack is shifted by the same field."""
    place = np.indices(shape)
    image = np.exp(
        -sum((p - (n - 1) / 2) ** 2 for p, n in zip(place, shape) if n > 3) / 40
    )
    axis = int(np.argmax(shape))
    up, down = np.roll(image, 1, axis), np.roll(image, -1, axis)
    field = estimate_distortion(up, down, axis=axis)
    assert np.average(np.abs(field - 1), weights=image) < 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"down": np.ones((20, 21))}, r"one shape.*\(20, 20\) and \(20, 21\)"),
        ({"up": np.ones(20), "down": np.ones(20)}, "2D or 3D"),
        ({"up": np.full((20, 20), np.nan)}, "finite values in up"),
        ({"down": np.full((20, 20), 1j)}, "real numbers in down"),
        ({"axis": 2}, "axis to be an integer >= 0 and <= 1"),
        ({"axis": -1}, "axis to be an integer"),
        ({"smoothness": 0}, "smoothness"),
        ({"up": np.eye(20)}, "images with contrast"),
        ({"up": np.zeros((20, 20)), "down": np.eye(20)}, "an empty one"),
        ({}, "images with contrast"),
        ({"up": np.ones((1, 20)), "down": np.ones((1, 20))}, "two voxels or more"),
    ],
)
def test_invalid_input_is_refused(change, message):
    options = {"up": np.ones((20, 20)), "down": np.ones((20, 20)), "axis": 0} | change
    with pytest.raises(ValueError, match=message):
        estimate_distortion(options.pop("up"), options.pop("down"), **options)


def test_too_large_a_request_for_memory_is_refused(monkeypatch):
    monkeypatch.setattr("dipy_nn_reg.memory.memory_there", lambda: 1000)
    monkeypatch.setattr("dipy_nn_reg.backend.has_gpu", lambda: False)
    with pytest.raises(MemoryError, match="Estimating the distortion"):
        estimate_distortion(np.ones((20, 20)), np.ones((20, 20)), axis=0)
