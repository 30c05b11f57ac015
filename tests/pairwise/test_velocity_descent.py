from functools import partial

from keras import ops
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.losses.images import lncc
from dipy_nn_reg.losses.objective import ObjectiveOptions
from dipy_nn_reg.pairwise import levels
from dipy_nn_reg.pairwise.levels import DescentOptions
from dipy_nn_reg.pairwise.pair_tensors import PairTensors
from dipy_nn_reg.pairwise.velocity_descent import optimize_velocity
from dipy_nn_reg.transform.functions import integrate
from dipy_nn_reg.transform.layers import RescaleIntensity
from dipy_nn_reg.transform.pyramid import enlarge

OPTIONS = {
    "loss": "ncc",
    "penalty": "gradient",
    "smoothness": 0.1,
    "label_weight": 1.0,
    "landmark_weight": 0.0,
    "transform": "velocity",
    "spacing": 1,
    "field_stride": 1,
}
SHAPES = [(37, 40), (26, 24, 27)]


def optimize(moving, static, y=None, level_iters=(20, 20), **changes):
    images = (
        RescaleIntensity()(ops.convert_to_tensor(image[None, ..., None]))
        for image in (moving, static)
    )
    chosen = {**OPTIONS, **{k: v for k, v in changes.items() if k in OPTIONS}}
    start = {k: v for k, v in changes.items() if k not in OPTIONS}
    objective = ObjectiveOptions.of(**chosen)
    field = (chosen[name] for name in ("transform", "spacing", "field_stride"))
    black = ops.zeros((1, 1))
    found = optimize_velocity(
        PairTensors(*images, black, black, Annotations(**(y or {}))),
        DescentOptions(objective, *field),
        level_iters=level_iters,
        **start,
    )
    return ops.convert_to_numpy(found)


def inner_error(velocity, displacement):
    """Return the mean distance of two fields, away from the border."""
    found = integrate(velocity)[0]
    inside = (slice(5, -5),) * (found.ndim - 1)
    return np.linalg.norm(found - displacement, axis=-1)[inside].mean()


@pytest.mark.parametrize("shape", SHAPES, ids=["2D", "3D"])
@pytest.mark.parametrize(
    "options",
    [{}, {"transform": "bspline_velocity", "spacing": 4}],
    ids=["velocity", "B-spline"],
)
def test_a_known_displacement_is_found(make_pair, shape, options):
    moving, static, displacement = make_pair(shape)
    before = inner_error(np.zeros((1, *displacement.shape), np.float32), displacement)
    velocity = optimize(moving, static, **options)
    assert velocity.shape == (1, *displacement.shape)
    assert inner_error(velocity, displacement) < 0.35 * before


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"loss": partial(lncc, window=5)},
        {"loss": "mi", "smoothness": 0.3},
        {"loss": "mind", "smoothness": 0.03},
        {"penalty": "bending"},
        {"penalty": {"tv": 0.02, "folding": 1.0}, "smoothness": None},
        {"penalty": "inverse_consistency", "smoothness": 0.1},
    ],
    ids=lambda options: "-".join(map(str, options.values()))[:20],
)
def test_a_known_displacement_is_found_with_each_loss_and_penalty(make_pair, options):
    moving, static, displacement = make_pair(SHAPES[0])
    before = inner_error(np.zeros((1, *displacement.shape), np.float32), displacement)
    assert inner_error(optimize(moving, static, **options), displacement) < before / 2


@pytest.mark.slow
@pytest.mark.parametrize("stride", [1, 4])
def test_the_search_finds_motion_larger_than_the_structures(
    stride, rng, texture, monkeypatch
):
    """Descent without the search ends at the nearest match."""
    moving = texture(rng, (96, 100))
    bump = np.outer(*(np.sin(np.pi * np.arange(n) / (n - 1)) for n in moving.shape))
    displacement = bump[..., None] * np.array([-9, 5])
    positions = np.indices(moving.shape) + np.moveaxis(displacement, -1, 0)
    static = map_coordinates(moving, positions, order=1)

    def error():
        options = {"level_iters": (20, 20, 20), "field_stride": stride}
        found = optimize(moving, static, **options)
        found = enlarge(found, static[None, ..., None], stride)
        return inner_error(ops.convert_to_numpy(found), displacement)

    with_search = error()
    monkeypatch.setattr(levels, "MAX_SEARCHED", 0)
    assert with_search < 1 < 3 < error()


def test_a_velocity_at_every_second_voxel(make_pair):
    moving, static, displacement = make_pair(SHAPES[0])
    velocity = optimize(moving, static, field_stride=2)
    assert velocity.shape == (1, 19, 20, 2)
    # The unit is two voxels, so the values are half of those at each voxel.
    lengths = np.linalg.norm(displacement, axis=-1).mean()
    npt.assert_allclose(
        2 * np.linalg.norm(velocity, axis=-1).mean(), lengths, rtol=0.35
    )


def test_the_descent_starts_from_a_velocity(make_pair):
    moving, static, displacement = make_pair(SHAPES[0])
    good = optimize(moving, static)
    start = ops.convert_to_tensor(good)
    kept = optimize(moving, static, level_iters=(0,), velocity=start)
    npt.assert_array_equal(kept, good)
    coarse = ops.convert_to_tensor(good[:, ::2, ::2] / 2)
    found = optimize(
        moving, static, level_iters=(3,), velocity=coarse, velocity_stride=2
    )
    assert inner_error(found, displacement) < 0.35 * inner_error(0 * good, displacement)


def test_the_descent_is_reproducible(make_pair):
    moving, static, _ = make_pair(SHAPES[0])
    npt.assert_array_equal(optimize(moving, static), optimize(moving, static))


@pytest.mark.backends
def test_voxels_outside_a_mask_are_ignored(make_pair):
    moving, static, displacement = make_pair(SHAPES[0])
    spoilt = static.copy()
    spoilt[:, 20:] = static[::-1, 20:]
    mask = np.ones((1, *SHAPES[0], 1), np.float32)
    mask[:, :, 20:] = 0
    errors = [
        np.linalg.norm(
            integrate(optimize(moving, spoilt, y))[0] - displacement, axis=-1
        )
        for y in ({}, {"mask": ops.convert_to_tensor(mask)})
    ]
    without, with_mask = (error[5:-5, 5:18].mean() for error in errors)
    assert with_mask < 0.3
    assert without > 1.5 * with_mask


def test_labels_move_equal_images(rng, texture):
    shape = SHAPES[0]
    labels = np.zeros((2, *shape, 1), np.float32)
    labels[0, 12:24, 14:26] = 1
    labels[1, 14:26, 14:26] = 1
    moving, static = (ops.convert_to_tensor(m[None]) for m in labels)
    image = texture(rng, shape)
    y = {"moving_labels": moving, "static_labels": static}
    velocity = optimize(image, image, y, label_weight=20.0)
    # The static label lies two voxels further along the first axis.
    assert -3 < integrate(velocity)[0, 14:24, 16:24, 0].mean() < -1


def test_equal_images_do_not_move(rng, texture):
    image = texture(rng, SHAPES[0])
    assert not optimize(image, image).any()
