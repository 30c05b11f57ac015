from keras import ops
import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from dipy_nn_reg import AffineRegistration, DeformableRegistration, metrics, register
from dipy_nn_reg.data.heads import make_head
from dipy_nn_reg.data.phantoms import make_phantoms
from dipy_nn_reg.mapping import view
from dipy_nn_reg.mapping.maps import mapping_to_displacement
from dipy_nn_reg.mapping.parts import Parts, Prediction
from dipy_nn_reg.metrics.labels import dice_of_labels
from dipy_nn_reg.pairwise.options import LOSS
from dipy_nn_reg.transform.functions import integrate, warp

SHAPE = (36, 41)
AFFINES = "moving_affine", "static_affine"


def texture(rng, shape):
    """Return an image of large and small structures, dark at the border."""
    image = gaussian_filter(rng.random(shape), 1.5)
    image = (image - image.min()) / np.ptp(image)
    for axis, size in enumerate(shape):
        window = np.hanning(size).reshape(
            [-1 if a == axis else 1 for a in range(len(shape))]
        )
        image = image * window**0.5
    return image.astype(np.float32)


@pytest.fixture
def images(rng, smooth_field):
    """A moving and a static image in 2D."""
    moving = texture(rng, SHAPE)
    field = smooth_field(SHAPE, sigma=6, largest=2.5)
    return moving, warp(moving, field)


@pytest.fixture(scope="module")
def model():
    """A model that predicts no motion: it has not been trained."""
    return DeformableRegistration(input_shape=SHAPE, seed=0)


def test_the_outcome_describes_the_map(images, dipy_log):
    moving, static = images
    mapping, outcome = register(moving, static, prealign=None)
    assert outcome.used == "optimized"
    warped = mapping.transform(moving)
    npt.assert_allclose(outcome.ncc_before, metrics.ncc(static, moving), atol=5e-3)
    npt.assert_allclose(outcome.ncc_after, metrics.ncc(static, warped), atol=5e-3)
    assert outcome.ncc_after > 0.98 > outcome.ncc_before
    assert outcome.loss_after < outcome.loss_before
    displacement, _ = mapping_to_displacement(mapping)
    lengths = np.linalg.norm(displacement, axis=-1)
    npt.assert_allclose(outcome.mean_displacement_mm, lengths.mean(), rtol=1e-4)
    npt.assert_allclose(outcome.largest_displacement_mm, lengths.max(), rtol=1e-4)
    npt.assert_allclose(
        outcome.inverse_error_mm, mapping.compute_inversion_error()[1][1], atol=0.05
    )
    assert outcome.folding == metrics.folding(displacement) == 0
    assert outcome.seconds > 0
    assert str(outcome) in dipy_log.text


def test_registration_is_reproducible(images):
    first, second = (register(*images, prealign=None)[0] for _ in range(2))
    npt.assert_array_equal(first.backward, second.backward)
    npt.assert_array_equal(first.forward, second.forward)


def test_images_on_different_grids_are_registered(scene):
    """The ground truth is a map by which DIPY made the static image."""
    truth = scene(3, True)
    rng = np.random.default_rng(7)
    truth.moving = texture(rng, truth.moving.shape)
    static = truth.make_mapping().transform(truth.moving)
    mapping, outcome = register(
        truth.moving,
        static,
        moving_affine=truth.moving_affine,
        static_affine=truth.static_affine,
        prealign=truth.prealign,
        smoothness=3,
    )
    assert outcome.ncc_after > 0.97
    inside = (slice(6, -6),) * 3
    found = mapping.backward[inside]
    true = truth.make_mapping().backward[inside]
    error = np.linalg.norm(found - true, axis=-1).mean()
    # The images are small and interpolated twice: half of the error remains.
    assert error < 0.5 * np.linalg.norm(true, axis=-1).mean()


def test_images_are_aligned_by_dipy_first(rng):
    static = texture(rng, (40, 44))
    static[:8], static[-8:], static[:, :8], static[:, -8:] = 0, 0, 0, 0
    moving = np.roll(static, (5, -4), (0, 1))
    grids = {"moving_affine": np.diag([2, 2, 1]), "static_affine": np.diag([2, 2, 1])}
    mapping, outcome = register(moving, static, **grids)
    assert metrics.ncc(static, mapping.transform(moving)) > 0.99
    # The field does not contain the affine.
    assert outcome.mean_displacement_mm < 2


def test_slices_are_registered_in_their_plane(images):
    moving, static = (image[:, :, None] for image in images)
    grids = {"moving_affine": np.eye(4), "static_affine": np.eye(4)}
    mapping, outcome = register(moving, static, prealign=None, **grids)
    assert mapping.backward.shape == (*SHAPE, 1, 3)
    assert not mapping.backward[..., 2].any()
    assert outcome.ncc_after > 0.98


@pytest.mark.parametrize("channels", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_files_and_images_of_nibabel_bring_their_affines(images, channels, tmp_path):
    moved, affines = [], [np.diag([2.0, 2, 1, 1]), np.diag([2.0, -2, 1, 1])]
    for image, flip in zip(images, (1, -1)):
        data = image[:, ::flip, None]
        moved.append(data if channels == 1 else np.stack([data, 1 - data], axis=-1))
    affines[1][1, 3] = 2 * (SHAPE[1] - 1)
    options = {"num_channels": channels, "prealign": None, "level_iters": (2, 2)}
    expected, _ = register(*moved, **dict(zip(AFFINES, affines)), **options)
    nibabel = [nib.Nifti1Image(*given) for given in zip(moved, affines)]
    paths = [tmp_path / name for name in ("moving.nii.gz", "static.nii")]
    for image, path in zip(nibabel, paths):
        nib.save(image, path)
    loaded = [nib.load(path) for path in paths]
    named = [str(path) for path in paths]
    for pair in (paths, named, nibabel, loaded, [moved[0], paths[1]]):
        given = {} if pair[0] is not moved[0] else {"moving_affine": affines[0]}
        mapping, _ = register(*pair, **given, **options)
        npt.assert_array_equal(mapping.backward, expected.backward)
    own = dict(zip(AFFINES, [np.eye(4)] * 2))  # goes before those of the files
    expected, _ = register(*moved, **own, **options)
    mapping, _ = register(*paths, **own, **options)
    npt.assert_array_equal(mapping.backward, expected.backward)


def test_a_file_that_does_not_exist_is_named(images, tmp_path):
    with pytest.raises(FileNotFoundError, match="no file .*absent.nii"):
        register(tmp_path / "absent.nii", images[1])


def test_images_of_two_channels(images):
    moving, static = (np.stack([image, 1 - image], axis=-1) for image in images)
    _, outcome = register(moving, static, num_channels=2, prealign=None)
    assert outcome.ncc_after > 0.98


def test_images_of_inverted_contrast(images):
    moving, static = images
    _, outcome = register(moving, 1 - static, prealign=None, loss="mi")
    assert outcome.ncc_after < -0.98


def lengths_above_and_below(mapping):
    """Return how far voxels move in the upper and in the lower third, on average."""
    lengths = np.linalg.norm(mapping.backward, axis=-1)
    return lengths[:12].mean(), lengths[24:].mean()


@pytest.mark.parametrize(
    "shape", [SHAPE, pytest.param((20, 22, 19), marks=pytest.mark.slow)]
)
def test_the_order_in_memory_does_not_matter(rng, smooth_field, shape):
    """Arrays of files are in Fortran's order, and views may run backwards."""
    moving = texture(rng, shape)
    static = warp(moving, smooth_field(shape, sigma=6, largest=2.5))
    mask = (static > 0.1).astype(np.uint8)
    expected, outcome = register(moving, static, mask=mask)
    backwards = moving[::-1].copy()[::-1]
    for change in (np.asfortranarray, lambda image: backwards):
        changed = change(moving), np.asfortranarray(static)
        found, other = register(*changed, mask=np.asfortranarray(mask))
        npt.assert_array_equal(found.backward, expected.backward)
        assert other.alignment.information == outcome.alignment.information


def test_only_voxels_inside_a_mask_are_compared(images):
    whole, _ = register(*images, prealign=None)
    everywhere = lengths_above_and_below(whole)
    mask = np.ones(SHAPE, np.uint8)
    unmasked, _ = register(*images, prealign=None, mask=mask)
    # Beyond the border, there is background without a mask, and nothing with one.
    inner = (slice(6, -6),) * 2
    npt.assert_allclose(unmasked.backward[inner], whole.backward[inner], atol=0.02)
    for inside in (0, 1):
        mask[:18], mask[18:] = inside == 0, inside == 1
        mapping, _ = register(*images, prealign=None, mask=mask)
        lengths = lengths_above_and_below(mapping)
        # Inside as without a mask; outside there is only what smoothness extends.
        npt.assert_allclose(lengths[inside], everywhere[inside], rtol=0.1)
        assert lengths[1 - inside] < 0.4 * everywhere[1 - inside]


def test_a_mask_of_ones_changes_no_velocity(images):
    fields = [
        register(*images, prealign=None, transform="velocity", mask=mask)[0].backward
        for mask in (None, np.ones(SHAPE, np.uint8))
    ]
    npt.assert_allclose(*fields, atol=1e-3)


def test_a_mask_of_the_moving_image_goes_with_it(images):
    """A bright patch in the moving image is left out, and so is its place."""
    moving, static = images
    expected, _ = register(moving, static, prealign=None, loss=LOSS)
    patch = np.zeros(SHAPE, bool)
    patch[14:22, 16:25] = True
    spoiled = np.where(patch, 1.3 * moving.max(), moving)
    errors = []
    for options in ({}, {"moving_mask": ~patch}):
        mapping, _ = register(spoiled, static, prealign=None, loss=LOSS, **options)
        difference = np.linalg.norm(mapping.backward - expected.backward, axis=-1)
        errors.append(difference[8:28, 10:31].mean())
    assert errors[1] < 0.5
    assert errors[1] < 0.8 * errors[0]


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(64, 56), (40, 38, 36)])
def test_what_the_moving_image_has_not_seen_is_not_compared(
    shape, smooth_field, monkeypatch
):
    """Half of a head is registered to a whole one, deformed by a known field."""
    static = make_phantoms(1, shape=shape, seed=2)[0][0]
    velocity = smooth_field(shape, sigma=6, largest=2.5)
    moving = warp(static, integrate(-velocity))[: shape[0] // 2]
    truth = np.indices(shape) + np.moveaxis(integrate(velocity), -1, 0)
    overlap = (truth[0] < len(moving) - 1) & (static > 0.1)
    points = np.argwhere(overlap).astype(float)
    errors = []
    for background in (True, False):
        with monkeypatch.context() as patched:
            if background:
                patched.setattr(view, "find_unseen", lambda *arrays: None)
            affines = {name: np.eye(len(shape) + 1) for name in AFFINES}
            mapping, outcome = register(moving, static, prealign=None, **affines)
        found = mapping.transform_points(points)
        errors.append(np.linalg.norm(found - truth[:, overlap].T, axis=1).mean())
    assert errors[1] < 0.6
    assert errors[1] < 0.8 * errors[0]
    assert outcome.ncc_after > 0.99


def test_a_loss_without_a_mask_compares_the_whole_grid(monkeypatch):
    """A function of the user goes on working, as it did before."""

    def difference(static, warped):
        return ops.mean(ops.square(static - warped), axis=(1, 2, 3))

    def refuse(*arrays):
        raise AssertionError

    monkeypatch.setattr(view, "find_unseen", refuse)
    static = make_phantoms(1, shape=(64, 56), seed=2)[0][0]
    affines = {name: np.eye(3) for name in AFFINES}
    options = {"prealign": None, "level_iters": (2,), "smoothness": 0.1, **affines}
    _, outcome = register(static[:32], static, loss=difference, **options)
    assert np.isfinite(outcome.loss_after)


def test_masks_that_do_not_overlap_are_refused(images):
    upper = np.zeros(SHAPE, bool)
    upper[:18] = True
    masks = {"mask": upper, "moving_mask": ~upper}
    with pytest.raises(ValueError, match="Expected masks, and fields of view"):
        register(*images, prealign=None, **masks)


@pytest.mark.parametrize(
    ("transform", "overlap_after"), [("displacement", 0.95), ("velocity", 0.98)]
)
def test_labels_guide_a_registration(images, transform, overlap_after):
    """The labels contradict the images: they are displaced by three voxels."""
    moving_labels = np.zeros(SHAPE, np.int32)
    moving_labels[10:20, 12:24] = 1
    static_labels = np.roll(moving_labels, 3, axis=1)
    labels = {"moving_labels": moving_labels, "static_labels": static_labels}
    dice, losses = [], []
    for options in ({}, labels):
        mapping, outcome = register(
            *images, prealign=None, transform=transform, **options
        )
        warped = mapping.transform(moving_labels, interpolation="nearest")
        dice.append(dice_of_labels(static_labels, warped.astype(int))[1])
        losses.append(outcome.loss_before)
    assert dice[0] < 0.7 and dice[1] > overlap_after
    # One minus the overlap is part of the loss.
    overlap = dice_of_labels(static_labels, moving_labels)[1]
    assert losses[1] - losses[0] == pytest.approx(1 - overlap, abs=1e-3)


def test_optimisation_after_a_model_leaves_the_model_unchanged(images, model):
    before = [w.copy() for w in model.model.get_weights()]
    state = [np.array(v) for v in model.model.optimizer.variables]
    mapping, outcome = register(
        *images, model=model, prealign=None, level_iters=(10, 10)
    )
    assert outcome.used == "model, optimized"
    refined, after = model.refine(*images, level_iters=(10, 10))
    assert after.used == outcome.used
    npt.assert_array_equal(mapping.backward, refined.backward)
    for old, new in zip(before, model.model.get_weights()):
        npt.assert_array_equal(old, new)
    for old, new in zip(state, model.model.optimizer.variables):
        npt.assert_array_equal(old, np.array(new))


@pytest.mark.parametrize(
    "make",
    [
        lambda: DeformableRegistration(
            input_shape=SHAPE, transform="displacement", seed=1
        ),
        lambda: AffineRegistration(input_shape=SHAPE, seed=1),
    ],
    ids=["displacement", "affine"],
)
def test_optimisation_after_other_transforms(images, make):
    model = make()
    weights = model.model.get_weights()
    rng = np.random.default_rng(3)
    # Random weights predict some motion.
    weights = [w + 1e-3 * rng.normal(size=w.shape).astype(w.dtype) for w in weights]
    model.model.set_weights(weights)
    mapping, outcome = register(
        *images, model=model, prealign=None, level_iters=(10, 10)
    )
    assert outcome.ncc_after > 0.9 > outcome.ncc_before - 0.1
    npt.assert_allclose(
        outcome.ncc_after,
        metrics.ncc(images[1], mapping.transform(images[0])),
        atol=0.01,
    )
    assert outcome.inverse_error_mm < 0.2


def spoil(model, value):
    """Add a value to all weights of a model."""
    model.model.set_weights([w + value for w in model.model.get_weights()])
    return model


@pytest.mark.parametrize("value", [0.3, np.nan], ids=["wild", "not finite"])
def test_a_bad_prediction_is_not_used(images, value, dipy_log):
    model = spoil(DeformableRegistration(input_shape=SHAPE, seed=0), value)
    _, outcome = register(*images, model=model, prealign=None, optimize=False)
    warnings = [
        r.message
        for r in dipy_log.records
        if (r.name, r.levelname) == ("dipy", "WARNING")
    ]
    assert len(warnings) == 1
    assert warnings[0].startswith("The prediction of the model ")
    assert warnings[0].endswith("It is not used.")
    assert outcome.used == "optimized"
    assert outcome.ncc_after > 0.98


def test_without_a_model_there_is_nothing_to_leave_as_it_is(rng):
    with pytest.raises(ValueError, match="a model with optimize=False"):
        register(rng.random((9, 8)), rng.random((9, 8)), optimize=False)


@pytest.mark.parametrize("optimize", [False, True])
def test_a_prediction_that_folds_is_smoothed(optimize, rng, smooth_field, monkeypatch):
    moving = texture(rng, SHAPE)
    velocity = smooth_field(SHAPE, sigma=6, largest=2.5)
    static = warp(moving, np.asarray(integrate(velocity[None]))[0])
    velocity[18:22, 18:22] += 4 * rng.normal(size=(4, 4, 2)).astype(np.float32)
    displacement = np.asarray(integrate(velocity[None]))[0]
    assert metrics.folding(displacement) > 0
    model = DeformableRegistration(input_shape=SHAPE, seed=0)
    parts = Parts(displacement, lambda: np.asarray(integrate(-velocity[None]))[0])
    prediction = Prediction(parts, ops.convert_to_tensor(velocity[None]), 1)
    monkeypatch.setattr(
        model.predictor, "predict_on_grid", lambda *images, finite: prediction
    )
    options = {"model": model, "prealign": None, "optimize": optimize}
    _, outcome = register(moving, static, **options)
    assert outcome.used == ("model, optimized" if optimize else "model")
    assert outcome.folding == 0
    assert outcome.ncc_after > 0.98


def test_the_affine_remains_if_no_field_is_better(images):
    moving, static = images
    mapping, outcome = register(moving, static, prealign=None, level_iters=(0,))
    assert outcome.used == "affine"
    assert not mapping.backward.any()

    def worse(static, warped):
        return np.nan * ops.mean(static - warped, axis=(1, 2, 3))

    _, outcome = register(moving, static, prealign=None, loss=worse)
    assert outcome.used == "affine"


def test_equal_images_are_not_deformed(images):
    smooth = np.exp(-((np.indices(SHAPE) - 18) ** 2).sum(0) / 60)
    for image in (images[0], smooth):
        mapping, outcome = register(image, 3 * image + 5, prealign=None)
        assert not mapping.backward.any()
        assert outcome.used == "affine"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"moving": np.zeros(SHAPE)}, "moving image with contrast"),
        ({"static": np.full(SHAPE, 3.0)}, "static image with contrast"),
        (
            {"static": np.random.default_rng(0).random((*SHAPE, 5, 6))},
            "two or three axes",
        ),
        ({"mask": np.ones((3, 3), int)}, "Expected mask of the shape of its image"),
        ({"mask": np.full(SHAPE, np.nan)}, "booleans, or finite numbers, in mask"),
        ({"mask": np.zeros(SHAPE)}, "other than 0 in mask"),
        ({"moving_mask": np.ones((3, 3))}, "Expected moving_mask of the shape"),
        ({"moving_mask": np.full(SHAPE, np.inf)}, "in moving_mask.*not finite"),
        ({"moving_mask": np.zeros(SHAPE)}, "other than 0 in moving_mask"),
        ({"voxel_size": 0}, "Expected voxel_size"),
    ],
)
def test_invalid_images_are_refused(images, options, message):
    arguments = {"moving": images[0], "static": images[1], "prealign": None}
    with pytest.raises(ValueError, match=message):
        register(**arguments | options)


def test_infinite_intensities_are_refused(images):
    moving, static = (image.copy() for image in images)
    moving[5, 5] = np.inf
    with pytest.raises(ValueError, match="finite"):
        register(moving, static)


def test_a_model_for_other_images_is_refused(images, model):
    with pytest.raises(ValueError, match="num_channels"):
        register(*images, model=model, num_channels=2)
    stacks = np.random.default_rng(0).random((2, 9, 9, 9))
    message = r"moving to be one image, of shape \(x, y, 1\) or \(x, y\).*=\(9, 9, 9\)"
    with pytest.raises(ValueError, match=message):
        register(*stacks, model=model)


@pytest.mark.slow
@pytest.mark.parametrize("skull", ["moving", "static"])
def test_a_skull_does_not_draw_the_brain_outwards(skull):
    size = 4.5
    affine = np.array(
        [[0, size, 0, 0], [-size, 0, 0, 0], [0, 0, size, 0], [0, 0, 0, 1]]
    )
    images, labels = make_phantoms(2, shape=(40, 36, 34), seed=0)
    images = dict(zip(("moving", "static"), images * (labels > 0)))
    labels = dict(zip(("moving", "static"), labels))
    head = make_head(images[skull], affine, seed=0)
    images[skull], labels[skull] = head.image, head.place(labels[skull])
    affines = {"moving_affine": affine, "static_affine": affine}
    affines[f"{skull}_affine"] = head.affine
    volumes, errors = {}, {}
    for name, mask in (
        ("handled", None),
        ("as they are", np.ones_like(labels["static"])),
    ):
        mapping, outcome = register(
            images["moving"], images["static"], mask=mask, **affines
        )
        assert outcome.skull == (skull if mask is None else None)
        warped = mapping.transform(labels["moving"], interpolation="nearest")
        volumes[name] = (warped > 0).sum() / (labels["static"] > 0).sum()
        inside = (warped > 0) | (labels["static"] > 0)
        errors[name] = np.mean((warped > 0) != (labels["static"] > 0), where=inside)
    assert 0.93 < volumes["handled"] < 1.07
    assert errors["handled"] < errors["as they are"]


@pytest.mark.parametrize(
    ("transform", "shape"),
    [
        ("displacement", SHAPE),
        pytest.param("displacement", (20, 22, 19), marks=pytest.mark.slow),
        ("velocity", SHAPE),
        pytest.param("velocity", (20, 22, 19), marks=pytest.mark.slow),
        pytest.param("bspline_velocity", SHAPE, marks=pytest.mark.slow),
    ],
)
def test_symmetric_registrations_are_inverse_to_each_other(
    rng, smooth_field, transform, shape
):
    moving = texture(rng, shape)
    static = warp(moving, smooth_field(shape, sigma=6, largest=2.5))

    def missed(**options):
        pairs = (moving, static), (static, moving)
        maps = [
            register(*p, prealign=None, transform=transform, **options)[0]
            for p in pairs
        ]
        there, back = (mapping_to_displacement(mapping)[0] for mapping in maps)
        places = np.indices(shape) + np.moveaxis(there, -1, 0)
        ends = [
            map_coordinates(back[..., axis], places, order=1, mode="nearest")
            for axis in range(len(shape))
        ]
        return np.linalg.norm(there + np.stack(ends, axis=-1), axis=-1).mean()

    one, both = missed(), missed(symmetric=True)
    assert both < 0.04 and both < one / 2
