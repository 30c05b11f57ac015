"""Models: each network, transform, loss and penalty trains, and is saved."""

from functools import partial
from itertools import cycle

import keras
from keras import layers, ops
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import affine_transform, gaussian_filter

from dipy_nn_reg import AffineRegistration, DeformableRegistration
from dipy_nn_reg.losses.choices import LOSSES, PENALTIES
from dipy_nn_reg.losses.images import lncc, mi
from dipy_nn_reg.networks import LIMITED, NETWORKS
from dipy_nn_reg.transform.kinds import TRANSFORMS

slow = pytest.mark.slow
# Shapes of images; those of 3D are slow.
SHAPES = [(16, 17), pytest.param((12, 13, 11), marks=slow)]
SYSTEMS = [
    (network, transform)
    for network in NETWORKS
    for transform in LIMITED.get(network, (sorted(TRANSFORMS), ""))[0]
]


def absolute(static, warped):
    return ops.mean(ops.abs(static - warped))


# Combinations: in 2D and in 3D each network, transform, loss and penalty occurs once or
# more, mostly beside others. A slow test below trains further networks and transforms.
COVER_2D = [
    pytest.param("dirnet", "tps", "mind", "bending", marks=slow),
    pytest.param("encoder_decoder", "bspline_velocity", "mi", "gradient", marks=slow),
    pytest.param("fcn", "displacement", partial(lncc, window=5), "folding", marks=slow),
    ("unet", "velocity", "lncc", "tv"),
    pytest.param("pyramid", "velocity", "ncc", "gradient", marks=slow),
    pytest.param("voxelmorph1", "affine", "mse", "gradient", marks=slow),
    pytest.param("voxelmorph2", "bspline", "ncc", "inverse_consistency", marks=slow),
    ("voxelmorph1", "displacement", "robust_lncc", "gradient"),
]
# More than half of the combinations in 3D are slow.
COVER_3D = [
    pytest.param("dirnet", "bspline", "mind", "tv", marks=slow),
    pytest.param(
        "encoder_decoder", "displacement", "ncc", "inverse_consistency", marks=slow
    ),
    pytest.param("fcn", "velocity", absolute, "gradient", marks=slow),
    pytest.param(
        *("unet", "bspline_velocity", "lncc", {"bending": 0.2, "folding": 5}),
        marks=slow,
    ),
    ("voxelmorph1", "tps", "mi", "bending"),
    pytest.param("voxelmorph2", "affine", "mse", "gradient", marks=slow),
    pytest.param("voxelmorph1", "displacement", "robust_lncc", "tv", marks=slow),
]


def train(images, *, epochs=20, **options):
    """Train on a few images and expect that it helps; return the registration."""
    registration = DeformableRegistration(
        input_shape=images.shape[1:], seed=0, **options
    )
    options = {"epochs": epochs, "batch_size": len(images), "verbose": 0}
    history = registration.fit(images, images[0], **options).history
    assert history["loss"][-1] < history["loss"][0]
    assert history["ncc"][-1] > history["ncc"][0]
    return registration


def assert_helps(registration, images, *, folds=True):
    """Expect more similar images, and without ``folds`` velocities that do not fold."""
    results = registration.evaluate(images, images[0], verbose=0)
    assert results["ncc_after"] > results["ncc_before"]
    if not folds and TRANSFORMS[registration.options["transform"]].integrated:
        assert results["folding"] <= 0.01


@pytest.mark.parametrize(("network", "transform", "loss", "penalty"), COVER_2D)
def test_combinations_train_in_2d(network, transform, loss, penalty, sevens):
    options = {"network": network, "transform": transform}
    images = sevens[:8]
    registration = train(images, epochs=10, loss=loss, penalty=penalty, **options)
    assert_helps(registration, images, folds=False)


@pytest.mark.parametrize(("network", "transform", "loss", "penalty"), COVER_3D)
def test_combinations_train_in_3d(network, transform, loss, penalty, rng, blobs):
    images = blobs(rng, 4, (12, 13, 11))
    options = {"network": network, "transform": transform}
    registration = train(images, epochs=6, loss=loss, penalty=penalty, **options)
    if transform == "velocity":  # the only one evaluated in 3D in the fast lane
        assert_helps(registration, images, folds=False)


def test_combinations_cover_all_choices():
    """Each in 2D and in 3D, but for the pyramid, whose trainings in 3D are others."""
    for cover, others in ((COVER_2D, set()), (COVER_3D, {"pyramid"})):
        rows = [getattr(row, "values", row) for row in cover]
        networks, transforms, losses, penalties = zip(*rows)
        assert set(networks) | others == set(NETWORKS)
        assert set(transforms) == set(TRANSFORMS)
        assert {loss for loss in losses if isinstance(loss, str)} == set(LOSSES)
        names = [[p] if isinstance(p, str) else list(p) for p in penalties]
        assert set(sum(names, [])) == set(PENALTIES)


@slow
@pytest.mark.parametrize("shape", [(28, 27), (12, 13, 11)])
@pytest.mark.parametrize("network", NETWORKS)
def test_each_network_predicts_each_transform(network, shape):
    """All layers fit each other, without a training."""
    for transform in [t for n, t in SYSTEMS if n == network]:
        registration = DeformableRegistration(
            input_shape=shape, network=network, transform=transform, seed=0
        )
        image = keras.KerasTensor((3, *shape, 1), "float32")
        outputs = registration.model.compute_output_spec(
            {"moving": image, "static": image}
        )
        assert outputs["displacement"].shape == (3, *shape, len(shape))
        assert outputs["warped"].shape == (3, *shape, 1)


@slow
@pytest.mark.parametrize(
    ("loss", "shape"), list(zip(LOSSES, cycle([(16, 17), (12, 13, 11)])))
)
def test_each_loss_trains_with_two_channels(loss, shape, rng, blobs):
    """The second channel has another contrast, which each loss must account for."""
    images = blobs(rng, 6, shape)
    both = np.stack([images, 1 - images**2], axis=-1)
    registration = DeformableRegistration(
        input_shape=shape, num_channels=2, loss=loss, network="voxelmorph1", seed=0
    )
    history = registration.fit(
        both, both[0], epochs=20, batch_size=6, verbose=0
    ).history
    assert history["loss"][-1] < history["loss"][0]
    assert registration.predict(both, both[0]).shape == both.shape


def small_network(moving, static):
    x = layers.Concatenate()([moving, static])
    x = layers.Conv2D(16, 5, padding="same", activation="relu")(x)
    return layers.Conv2D(2, 5, padding="same", kernel_initializer="zeros")(x)


@pytest.fixture
def small_model():
    inputs = [keras.Input((None, None, 1)) for _ in range(2)]
    return keras.Model(inputs, small_network(*inputs))


@pytest.mark.parametrize("kind", [pytest.param("function", marks=slow), "model"])
def test_network_of_the_user_trains(kind, small_model, rng, blobs):
    network = small_network if kind == "function" else small_model
    images = blobs(rng, 8, (16, 17))
    assert_helps(train(images, epochs=8, network=network), images)


def test_network_of_the_user_is_saved(small_model, rng, blobs, tmp_path):
    model, images = small_model, blobs(rng, 8, (16, 17))
    registration = DeformableRegistration(network=model, input_shape=(16, 17))
    registration.fit(images, epochs=1, verbose=0)
    registration.save(tmp_path / "own.keras")
    loaded = DeformableRegistration.load(tmp_path / "own.keras")
    for predict in ("predict", "predict_field"):
        expected = getattr(registration, predict)(images, images[0])
        npt.assert_array_equal(getattr(loaded, predict)(images, images[0]), expected)


@slow
@pytest.mark.parametrize(
    "options",
    [
        {
            "network": "fcn",
            "penalty": "inverse_consistency",
            "loss": partial(mi, bins=8),
        },
        {
            "network": "dirnet",
            "transform": "tps",
            "spacing": 8,
            "loss": partial(lncc, window=5),
            "penalty": {"tv": 0.1, "folding": 1.0},
        },
    ],
)
def test_options_are_saved(options, rng, blobs, tmp_path):
    images = blobs(rng, 4, (16, 17))
    registration = DeformableRegistration(input_shape=(16, 17), seed=0, **options)
    registration.fit(images, epochs=1, verbose=0)
    registration.save(tmp_path / "model.keras")
    loaded = DeformableRegistration.load(tmp_path / "model.keras")
    npt.assert_array_equal(
        loaded.predict_field(images, images[0]),
        registration.predict_field(images, images[0]),
    )
    results = [r.evaluate(images, images[0], verbose=0) for r in (registration, loaded)]
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "vnet"}, r"network.*'unet'.*'vnet'"),
        ({"network": "fcn", "transform": "affine"}, "displacement.*three resolutions"),
        ({"transform": "affin"}, r"transform.*'affine'.*'velocity'.*'affin'"),
        ({"transform": "bspline", "spacing": 29}, "28 voxels at most.*29"),
        ({"loss": "ssd"}, r"loss.*'mse', 'ncc'.*'ssd'"),
        ({"loss": partial(lncc, window=29)}, "window.*28 voxels.*window=29"),
        ({"loss": "lncc", "network": "fcn"}, "window.*7 voxels.*window=9"),
        ({"penalty": None}, r"penalty.*'gradient'.*None"),
        ({"smoothness": -0.1}, "smoothness.*-0.1"),
        ({"label_weight": -1}, "label_weight.*-1"),
        ({"landmark_weight": None}, "landmark_weight.*None"),
        ({"affine": "first"}, "AffineRegistration.*str"),
        ({"optimizer": "sdg"}, "optimizer.*'sgd'.*Received 'sdg'"),
        ({"input_shape": (28,)}, "input_shape"),
        ({"num_channels": 0}, "num_channels"),
        ({"seed": -1}, "seed"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"Expected {message}|Expected .*{message}"):
        DeformableRegistration(**options)


def test_mismatched_affine_first_stage_is_refused():
    affine = AffineRegistration(input_shape=(16, 17, 18))
    for options, message in [
        ({"input_shape": (28, 28)}, "2 axes and 1 channels.*3 axes and 1"),
        ({"input_shape": (8, 8, 8), "num_channels": 2}, "3 axes and 2.*3 axes and 1"),
        ({"input_shape": (8, 8, 8), "transform": "affine"}, "transform that deforms"),
    ]:
        with pytest.raises(ValueError, match=f"Expected .*{message}"):
            DeformableRegistration(affine=affine, **options)
    with pytest.raises(ValueError, match="Expected passes.*0"):
        AffineRegistration(passes=0)


def texture(rng, shape):
    """Return an image with detail everywhere that fades toward its border."""
    image = gaussian_filter(rng.normal(size=shape), 2)
    image = (image - image.min()) / np.ptp(image)
    axes = [np.hanning(n + 2)[1:-1] for n in shape]
    window = np.prod(np.meshgrid(*axes, indexing="ij"), axis=0)
    return (image * window).astype(np.float32)


def random_affine(rng, ndim, *, degrees, shift):
    """Return a rotation and a translation, both about the centre of the image."""
    rotation = np.eye(ndim)
    for one, other in [(0, 1), (0, 2), (1, 2)][: ndim * (ndim - 1) // 2]:
        angle = np.deg2rad(rng.uniform(-degrees, degrees))
        turn = np.eye(ndim)
        turn[[one, one, other, other], [one, other, one, other]] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        rotation = rotation @ turn
    return rotation, rng.uniform(-shift, shift, ndim)


def move(image, rotation, shift):
    """Return a moving image that ``rotation (x - c) + c + shift`` brings back."""
    center = (np.array(image.shape) - 1) / 2
    inverse = np.linalg.inv(rotation)
    offset = center - inverse @ (center + shift)
    return affine_transform(image, inverse, offset, order=1)


def recovery_errors(affines, truths, shape):
    """Return the errors of translations in voxels and of rotations in degrees."""
    center, errors = (np.array(shape) - 1) / 2, []
    for affine, (rotation, shift) in zip(affines, truths):
        linear = affine[:-1, :-1]
        found_shift = linear @ center + affine[:-1, -1] - center
        u, _, vt = np.linalg.svd(linear @ rotation.T)
        cosine = (np.trace(u @ vt) - (len(shape) - 2)) / 2
        angle = np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))
        errors.append((np.abs(found_shift - shift).max(), angle))
    return np.array(errors)


@slow
def test_known_affine_maps_are_recovered(rng):
    shape, n = (48, 44), 1600
    static = np.stack([texture(rng, shape) for _ in range(n + 40)])
    truths = [random_affine(rng, 2, degrees=15, shift=3) for _ in static]
    moving = np.stack([move(s, *truth) for s, truth in zip(static, truths)])
    registration = AffineRegistration(input_shape=shape, seed=0)
    registration.fit(moving[:n], static[:n], epochs=5, batch_size=16, verbose=0)
    affines = registration.predict_affine(moving[n:], static[n:])
    before = recovery_errors([np.eye(3)] * 40, truths[n:], shape).mean(axis=0)
    after = recovery_errors(affines, truths[n:], shape).mean(axis=0)
    assert np.all(before > (1, 5))
    assert np.all(after < (0.1, 0.5))


@pytest.mark.parametrize("shape", SHAPES)
def test_affine_registration_predicts_its_matrices(shape, rng, blobs, tmp_path):
    images = blobs(rng, 6, shape)
    registration = AffineRegistration(input_shape=shape, seed=0)
    npt.assert_array_equal(registration.predict(images, images[::-1]), images)
    ndim = len(shape)
    affines = registration.predict_affine(images, images[0])
    npt.assert_array_equal(affines, np.stack([np.eye(ndim + 1)] * 6))
    registration.fit(images, epochs=5, verbose=0)
    results = registration.evaluate(images, images[0], verbose=0)
    assert results["folding"] == 0
    registration.save(tmp_path / "affine.keras")
    loaded = AffineRegistration.load(tmp_path / "affine.keras")
    affines = registration.predict_affine(images, images[0])
    npt.assert_array_equal(loaded.predict_affine(images, images[0]), affines)
    # The field is that of the matrix, and the image is sampled where it points.
    field = registration.predict_field(images, images[0])
    grid = np.moveaxis(np.indices(shape), 0, -1)
    expected = grid @ affines[1, :-1, :-1].T + affines[1, :-1, -1] - grid
    npt.assert_allclose(field[1], expected, atol=1e-4)
    warped = registration.predict(images, images[0])
    expected = affine_transform(
        images[1],
        affines[1, :-1, :-1],
        affines[1, :-1, -1],
        order=1,
        mode="grid-constant",
    )
    npt.assert_allclose(warped[1], expected, atol=1e-4)


@slow
def test_network_of_the_user_in_a_first_stage_stays_trainable(rng, blobs):
    images = blobs(rng, 4, (16, 17))
    inputs = [keras.Input((None, None, 1)) for _ in range(2)]
    x = layers.Conv2D(4, 3, activation="relu")(layers.Concatenate()(inputs))
    network = keras.Model(inputs, layers.Dense(6)(layers.GlobalMaxPooling2D()(x)))
    affine = AffineRegistration(input_shape=(16, 17), network=network, seed=0)
    both = DeformableRegistration(input_shape=(16, 17), affine=affine, seed=0)
    assert network.trainable and len(network.trainable_weights) == 4
    alone = affine.predict(images, images[0])
    npt.assert_allclose(both.predict(images, images[0]), alone, atol=1e-5)


@slow
def test_affine_first_stage_is_kept_and_improved(rng, blobs, tmp_path):
    shape = (12, 13, 11)
    images = blobs(rng, 8, shape)
    options = {"input_shape": shape, "seed": 0}
    affine = AffineRegistration(**options)
    affine.fit(images, images[0], epochs=4, verbose=0)
    weights = affine.model.get_weights()
    alone = affine.predict(images, images[0])
    both = DeformableRegistration(affine=affine, **options)
    npt.assert_allclose(both.predict(images, images[0]), alone, atol=1e-5)
    both.fit(images, images[0], epochs=5, verbose=0)
    for before, after in zip(weights, affine.model.get_weights()):
        npt.assert_array_equal(before, after)
    affine.fit(images, images[0], epochs=1, verbose=0)  # it can still be trained
    results = both.evaluate(images, images[0], verbose=0)
    assert results["ncc_after"] > results["ncc_before"]
    both.save(tmp_path / "both.keras")
    loaded = DeformableRegistration.load(tmp_path / "both.keras")
    npt.assert_array_equal(
        loaded.predict(images, images[0]), both.predict(images, images[0])
    )
