"""Choice of the best sound field, among predictions made by hand.

Expected values come from SciPy, and from :mod:`dipy_nn_reg.metrics`.
"""

from keras import ops
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from dipy_nn_reg import metrics
from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.losses.objective import ObjectiveOptions
from dipy_nn_reg.mapping.pair_on_grid import PairOnGrid
from dipy_nn_reg.mapping.parts import Parts, Prediction
from dipy_nn_reg.metrics.labels import dice_of_labels
from dipy_nn_reg.pairwise import safeguard
from dipy_nn_reg.pairwise.levels import DescentOptions
from dipy_nn_reg.pairwise.safeguard import best_sound_parts

SHAPES = [(33, 36), (19, 21, 20)]
# Width of the black border of the images: displacements of the tests are smaller.
MARGIN = 4
# Iterations of a descent that changes nothing, and of one that improves much.
NO_ITERS, MANY_ITERS = (0,), (25,)


def read(array, positions):
    return map_coordinates(array, positions, order=1, mode="nearest")


def moved(displacement):
    """Return the positions of all voxels after a displacement, (ndim, *spatial)."""
    return np.indices(displacement.shape[:-1]) + np.moveaxis(displacement, -1, 0)


def compose_by_scipy(first, second):
    """Return ``first(x) + second(x + first(x))``."""
    components = [read(second[..., d], moved(first)) for d in range(first.shape[-1])]
    return first + np.stack(components, axis=-1)


def integrate_by_scipy(velocity, steps=200):
    """Return the displacement of a velocity, by Euler steps."""
    displacement = np.zeros_like(velocity)
    for _ in range(steps):
        displacement = compose_by_scipy(displacement, velocity / steps)
    return displacement


def warp_by_scipy(image, displacement):
    return read(image, moved(displacement)).astype(np.float32)


def mean_length(field):
    """Return the mean length of a field, away from the border."""
    inside = (slice(MARGIN, -MARGIN),) * (field.ndim - 1)
    return np.linalg.norm(field, axis=-1)[inside].mean()


def make_image(shape, rng):
    """Return an image with plateaus of 0 and 1, so that rescaling does not change it.

    The safeguard rescales images from their 0.1 and 99.9 percentiles to 0 and 1.
    """
    texture = gaussian_filter(rng.random(shape), 1.5)
    texture = (texture - texture.min()) / np.ptp(texture)
    inside = np.zeros(shape)
    inside[(slice(MARGIN, -MARGIN),) * len(shape)] = 1
    image = np.clip(texture / np.quantile(texture[inside > 0], 0.9), 0, 1)
    return (image * inside).astype(np.float32)


def pair_of(moving, static, **annotations):
    prealign = np.eye(static.ndim + 1)
    images = moving[..., None], static[..., None]
    return PairOnGrid(*images, Annotations(**annotations), prealign)


def options_of(loss="mse"):
    objective = ObjectiveOptions.of(
        loss=loss,
        penalty="gradient",
        smoothness=0.001,
        label_weight=1.0,
        landmark_weight=0.0,
    )
    return DescentOptions(objective, "velocity", spacing=1, field_stride=1)


def prediction_of(displacement, *, velocity=None, matrix=None):
    """Return a Prediction, whose inverse is a marker where it is not needed."""
    parts = Parts(displacement.astype(np.float32), lambda: -displacement, matrix)
    if velocity is not None:
        velocity = ops.convert_to_tensor(velocity[None].astype(np.float32))
    return Prediction(parts, velocity, 1)


def mse(static, warped):
    return np.mean((static - warped) ** 2)


def warnings_in(dipy_log):
    return [
        record.message
        for record in dipy_log.records
        if (record.name, record.levelname) == ("dipy", "WARNING")
    ]


@pytest.fixture(params=SHAPES, ids=["2D", "3D"])
def shape(request):
    return request.param


@pytest.fixture
def moving(shape, rng):
    return make_image(shape, rng)


@pytest.fixture
def displacement(shape, smooth_field):
    return smooth_field(shape, sigma=5, largest=1.5)


@pytest.fixture
def static(moving, displacement):
    """The moving image after the displacement."""
    return warp_by_scipy(moving, displacement)


def assert_measured(candidate, moving, static, displacement):
    """Compare the measures of a candidate with those of its displacement by SciPy."""
    warped = warp_by_scipy(moving, displacement)
    measures = candidate.measures
    npt.assert_allclose(measures["loss"], mse(static, warped), rtol=1e-3, atol=1e-6)
    npt.assert_allclose(measures["ncc"], metrics.ncc(static, warped), atol=1e-4)


def test_a_good_prediction_is_returned_as_it_is(moving, static, displacement):
    prediction = prediction_of(0.9 * displacement)
    affine, best = best_sound_parts(
        pair_of(moving, static), prediction, options_of(), optimize=False
    )
    assert (affine.used, best.used) == ("affine", "model")
    assert best.parts is prediction.parts
    assert not affine.parts.displacement.any()
    assert not affine.parts.invert().any()
    assert_measured(affine, moving, static, 0 * displacement)
    assert_measured(best, moving, static, 0.9 * displacement)
    assert best.measures["ncc"] > 0.99 > affine.measures["ncc"]


def test_a_prediction_of_no_motion_is_that_of_the_model(moving, static, displacement):
    affine, best = best_sound_parts(
        pair_of(moving, static),
        prediction_of(0 * displacement),
        options_of(),
        optimize=False,
    )
    assert best.used == "model"
    assert best.measures == affine.measures


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["displacement", "matrix"])
def test_a_prediction_that_is_not_finite_is_not_used(
    moving, static, displacement, part, value, dipy_log
):
    matrix = np.eye(moving.ndim + 1)
    array = displacement if part == "displacement" else matrix
    array[(0,) * array.ndim] = value
    affine, best = best_sound_parts(
        pair_of(moving, static),
        prediction_of(displacement, matrix=matrix),
        options_of(),
        level_iters=NO_ITERS,
    )
    assert best is affine
    first, second = warnings_in(dipy_log)
    expected = "The prediction of the model holds values that are not finite."
    assert first == f"{expected} It is not used."
    assert second.startswith("No field makes the images more similar.")


def test_a_displacement_that_folds_is_not_used(
    moving, static, displacement, rng, dipy_log
):
    folded, center = displacement.copy(), (slice(8, 11),) * moving.ndim
    folded[center] = 3 * rng.normal(size=folded[center].shape)
    percentage = metrics.folding(folded)
    assert percentage > 0.01
    affine, best = best_sound_parts(
        pair_of(moving, static),
        prediction_of(folded),
        options_of(),
        level_iters=NO_ITERS,
    )
    assert best is affine
    assert f"folds at {percentage:.4f} % of the voxels" in warnings_in(dipy_log)[0]


@pytest.mark.parametrize("optimize", [False, True])
def test_a_velocity_that_folds_is_smoothed(moving, displacement, rng, optimize):
    velocity = displacement
    static = warp_by_scipy(moving, integrate_by_scipy(velocity))
    center = (slice(8, 12),) * moving.ndim
    velocity = velocity.copy()
    velocity[center] += 4 * rng.normal(size=velocity[center].shape)
    predicted = integrate_by_scipy(velocity)
    assert metrics.folding(predicted) > 0.01
    affine, best = best_sound_parts(
        pair_of(moving, static),
        prediction_of(predicted, velocity=velocity),
        options_of(),
        level_iters=MANY_ITERS,
        optimize=optimize,
    )
    assert best.used == ("model, optimized" if optimize else "model")
    assert metrics.folding(best.parts.displacement) == 0
    assert_measured(best, moving, static, best.parts.displacement)
    assert best.measures["ncc"] > 0.97
    assert best.measures["loss"] < affine.measures["loss"]


def test_a_prediction_that_makes_images_less_similar_is_not_used(
    moving, static, displacement, dipy_log
):
    affine, best = best_sound_parts(
        pair_of(moving, static),
        prediction_of(-displacement),
        options_of(),
        level_iters=NO_ITERS,
    )
    assert best is affine
    losses = mse(static, moving), mse(static, warp_by_scipy(moving, -displacement))
    assert losses[0] < losses[1]
    expected = "the loss rises from {:.4f} to {:.4f}".format(*losses)
    assert expected in warnings_in(dipy_log)[0]


def contrast(static, warped):
    """A loss that improves as the images become less similar."""
    axes = tuple(range(1, len(static.shape)))
    return -ops.mean(ops.square(static - warped), axis=axes)


@pytest.mark.parametrize(
    ("before", "after", "is_used"),
    [(0.01, 0.6, False), (0.01, 0.03, True), (1.0, 1.6, True)],
    ids=["nearly equal", "small decrease", "different"],
)
def test_nearly_equal_images_may_not_become_less_similar(
    moving, displacement, before, after, is_used, dipy_log
):
    """Even if that improves the loss, which it does here."""
    static = warp_by_scipy(moving, before * displacement)
    prediction = (before - after) * displacement
    correlations = [
        metrics.ncc(static, warp_by_scipy(moving, u))
        for u in (0 * displacement, prediction)
    ]
    # What the thresholds in the safeguard are about.
    assert (correlations[0] >= 0.995) == (before < 1)
    assert (correlations[1] < correlations[0] - 0.001) == (after > 0.1)
    _, best = best_sound_parts(
        pair_of(moving, static),
        prediction_of(prediction),
        options_of(contrast),
        level_iters=NO_ITERS,
        optimize=False,
    )
    assert best.used == ("model" if is_used else "affine")
    if not is_used:
        expected = "decreases from {:.4f} to {:.4f}".format(*correlations)
        assert expected in warnings_in(dipy_log)[0]


@pytest.mark.parametrize("has_prediction", [False, True])
def test_equal_images_are_not_registered(
    moving, displacement, has_prediction, monkeypatch
):
    monkeypatch.setattr(safeguard, "optimize_parts", None)
    prediction = prediction_of(displacement) if has_prediction else None
    affine, best = best_sound_parts(
        pair_of(3 * moving + 5, moving), prediction, options_of()
    )
    assert best is affine
    npt.assert_allclose(affine.measures["ncc"], 1, atol=1e-6)


@pytest.mark.parametrize("optimize", [False, True])
def test_without_a_prediction_the_field_is_optimised(moving, static, optimize):
    affine, best = best_sound_parts(
        pair_of(moving, static),
        None,
        options_of(),
        level_iters=MANY_ITERS,
        optimize=optimize,
    )
    assert best.used == "optimized" and best.parts.matrix is None
    assert_measured(best, moving, static, best.parts.displacement)
    assert best.measures["loss"] < 0.5 * affine.measures["loss"]
    there_and_back = compose_by_scipy(best.parts.invert(), best.parts.displacement)
    assert mean_length(there_and_back) < 0.1 * mean_length(best.parts.displacement)


def test_the_affine_remains_if_no_field_is_better(moving, static, dipy_log):
    affine, best = best_sound_parts(
        pair_of(moving, static), None, options_of(), level_iters=NO_ITERS
    )
    assert best is affine
    (message,) = warnings_in(dipy_log)
    assert message.endswith("The affine alone is returned.")


def test_an_optimisation_that_does_not_help_leaves_the_prediction(
    moving, static, displacement
):
    prediction = prediction_of(displacement)
    _, best = best_sound_parts(
        pair_of(moving, static), prediction, options_of(), level_iters=NO_ITERS
    )
    assert best.used == "model" and best.parts is prediction.parts


def make_affine(ndim):
    """Return an affine near the identity, from and to voxels."""
    matrix = np.eye(ndim + 1)
    matrix[0, 1], matrix[1, 1], matrix[:-1, -1] = 0.03, 0.98, 0.4
    return matrix


def whole(displacement, matrix):
    """Return ``A (x + u(x)) - x``."""
    voxels = np.moveaxis(np.indices(displacement.shape[:-1]), 0, -1)
    positions = voxels + displacement
    return positions @ matrix[:-1, :-1].T + matrix[:-1, -1] - voxels


@pytest.mark.parametrize(
    "has_velocity", [False, True], ids=["displacement", "velocity"]
)
@pytest.mark.parametrize("has_affine", [False, True], ids=["alone", "after an affine"])
def test_the_optimisation_starts_from_the_prediction(
    moving, displacement, has_velocity, has_affine
):
    """A third of the motion is predicted, and the whole affine."""
    displacement = 1.6 * displacement
    matrix = make_affine(moving.ndim) if has_affine else np.eye(moving.ndim + 1)
    true = integrate_by_scipy(displacement)
    static = warp_by_scipy(moving, whole(true, matrix))
    velocity = displacement / 3
    start = integrate_by_scipy(velocity)
    assert metrics.folding(start) == 0
    prediction = prediction_of(
        start,
        velocity=velocity if has_velocity else None,
        matrix=matrix if has_affine else None,
    )
    if not has_velocity:
        inverse = integrate_by_scipy(-velocity)
        prediction = prediction._replace(
            parts=prediction.parts._replace(invert=lambda: inverse)
        )
    pair = pair_of(moving, static)
    _, predicted = best_sound_parts(pair, prediction, options_of(), optimize=False)
    assert predicted.used == "model"
    assert_measured(predicted, moving, static, whole(start, matrix))

    _, best = best_sound_parts(pair, prediction, options_of(), level_iters=MANY_ITERS)
    assert best.used == "model, optimized"
    parts = best.parts
    assert (parts.matrix is matrix) == has_affine
    # An image that is warped twice is interpolated twice: the measures are of the map.
    assert_measured(best, moving, static, whole(parts.displacement, matrix))
    assert best.measures["loss"] < 0.5 * predicted.measures["loss"]
    assert metrics.folding(parts.displacement) <= safeguard.MAX_FOLDING
    there_and_back = compose_by_scipy(parts.invert(), parts.displacement)
    assert mean_length(there_and_back) < 0.1 * mean_length(parts.displacement)


def test_a_mask_and_labels_count(moving, static, displacement):
    mask = np.zeros(moving.shape, np.uint8)
    mask[: moving.shape[0] // 2] = 1
    labels = {}
    for name, image in (("moving_labels", moving), ("static_labels", static)):
        labels[name] = np.digitize(image, [0.5, 0.8]).astype(np.int32)
    affine, _ = best_sound_parts(
        pair_of(moving, static, mask=mask, **labels),
        prediction_of(displacement),
        options_of(),
        optimize=False,
    )
    overlaps = [
        dice_of_labels(labels["static_labels"], labels["moving_labels"])[label]
        for label in (1, 2)
    ]
    inside = mask > 0
    expected = mse(static[inside], moving[inside]) + 1 - np.mean(overlaps)
    npt.assert_allclose(affine.measures["loss"], expected, rtol=1e-3)
