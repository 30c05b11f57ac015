"""Displacements by composed steps; the truth is a field by which SciPy warped."""

from functools import partial

from keras import ops
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg import metrics, register
from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.losses.images import lncc, mse
from dipy_nn_reg.losses.objective import ObjectiveOptions
from dipy_nn_reg.mapping.maps import mapping_to_displacement
from dipy_nn_reg.pairwise import displacement_descent, levels
from dipy_nn_reg.pairwise.displacement_descent import optimize_displacement
from dipy_nn_reg.pairwise.levels import DescentOptions
from dipy_nn_reg.pairwise.pair_tensors import PairTensors

SHAPES = [(37, 40), (26, 24, 27)]
slow = pytest.mark.slow


def optimize(moving, static, *, loss="ncc", level_iters=(25, 25), stride=1, **options):
    images = (ops.convert_to_tensor(i[None, ..., None]) for i in (moving, static))
    start = options.pop("start", None)
    smoothness = options.pop("smoothness", 1.0)
    black = ops.zeros((1, 1))
    fields = optimize_displacement(
        PairTensors(*images, black, black, Annotations(**options)),
        DescentOptions(ObjectiveOptions(loss), "displacement", 1, stride, smoothness),
        level_iters=level_iters,
        start=start,
    )
    return [ops.convert_to_numpy(field)[0] for field in fields]


def inner_error(found, displacement):
    """Return the mean distance of two fields, away from the border."""
    inside = (slice(5, -5),) * (found.ndim - 1)
    return np.linalg.norm(found - displacement, axis=-1)[inside].mean()


@pytest.mark.parametrize(
    ("shape", "stride"),
    [
        (SHAPES[0], 1),
        (SHAPES[0], 2),
        pytest.param(SHAPES[1], 1, marks=slow),
        pytest.param(SHAPES[1], 2, marks=slow),
    ],
    ids=["2D-1", "2D-2", "3D-1", "3D-2"],
)
def test_a_known_displacement_is_found(make_pair, shape, stride):
    moving, static, displacement = make_pair(shape)
    found, inverse = optimize(moving, static, stride=stride)
    assert found.shape == inverse.shape == displacement.shape
    assert inner_error(found, displacement) < 0.35 * inner_error(
        0 * found, displacement
    )
    assert inner_error(-inverse, displacement) < inner_error(0 * found, displacement)


@slow
@pytest.mark.parametrize("shape", SHAPES, ids=["2D", "3D"])
@pytest.mark.parametrize(
    "loss", ["mse", "mi", "mind", "robust_lncc", partial(lncc, window=5, floor=0.05)]
)
def test_a_known_displacement_is_found_with_each_loss(make_pair, shape, loss):
    moving, static, displacement = make_pair(shape)
    found, _ = optimize(moving, static, loss=loss)
    assert inner_error(found, displacement) < 0.6 * inner_error(0 * found, displacement)


def test_the_scale_of_a_loss_does_not_change_the_result(make_pair):
    moving, static, _ = make_pair(SHAPES[0])
    fields = [
        optimize(moving, static, loss=lambda s, w, c=c: c * mse(s, w))[0]
        for c in (1, 2.0**-10, 2.0**10)
    ]
    npt.assert_allclose(fields[1], fields[0], atol=1e-4)
    npt.assert_allclose(fields[2], fields[0], atol=1e-4)


@slow
def test_more_smoothness_gives_smoother_fields(make_pair):
    """Each factor of four takes off something, and no field is a constant."""
    moving, static, _ = make_pair(SHAPES[1], largest=4.0)
    loss = partial(lncc, window=5, floor=0.05)
    rough = [
        metrics.sd_log_jacobian(optimize(moving, static, loss=loss, smoothness=s)[0])
        for s in (0, 0.25, 1, 4, 16)
    ]
    assert np.all(np.diff(rough) < 0) and rough[-1] > 0


def test_a_start_and_its_inverse_are_continued(make_pair):
    moving, static, displacement = make_pair(SHAPES[0])
    start = [ops.convert_to_tensor(s * displacement[None], "float32") for s in (1, -1)]
    kept, inverse = optimize(moving, static, level_iters=(0, 0), start=start)
    # Shrinking and enlarging a smooth field changes it little.
    assert inner_error(kept, displacement) < 0.1
    found, _ = optimize(moving, static, level_iters=(5,), start=start)
    assert inner_error(found, displacement) < 0.1


@pytest.mark.slow
def test_both_directions_agree_better_than_one_by_one(make_pair, monkeypatch):
    """On coarse images each direction is corrected by the other one."""
    moving, static, _ = make_pair((48, 52), largest=4.0)

    def apart():
        pairs = (moving, static), (static, moving)
        forth, back = (
            optimize(*pair, level_iters=(25, 25, 3), loss=partial(lncc, window=5))[0]
            for pair in pairs
        )
        there = np.indices(forth.shape[:-1]) + np.moveaxis(back, -1, 0)
        back = back + np.stack(
            [map_coordinates(forth[..., d], there, order=1) for d in range(2)], axis=-1
        )
        return inner_error(back, 0 * back)

    together = apart()
    monkeypatch.setattr(displacement_descent, "_symmetrized", lambda *fields: fields)
    assert together < 0.8 * apart()


@slow
def test_the_search_finds_motion_larger_than_the_structures(rng, texture, monkeypatch):
    """Descent without the search ends at the nearest match."""
    moving = texture(rng, (96, 100))
    bump = np.outer(*(np.sin(np.pi * np.arange(n) / (n - 1)) for n in moving.shape))
    displacement = bump[..., None] * np.array([-9, 5])
    positions = np.indices(moving.shape) + np.moveaxis(displacement, -1, 0)
    static = map_coordinates(moving, positions, order=1)

    def error():
        found, _ = optimize(moving, static, level_iters=(20, 20, 20))
        return inner_error(found, displacement)

    with_search = error()
    monkeypatch.setattr(levels, "MAX_SEARCHED", 0)
    assert with_search < 1 < 1.5 < error()


@pytest.mark.parametrize(
    "shape",
    [(40, 44), pytest.param((24, 26, 22), marks=pytest.mark.slow)],
    ids=["2D", "3D"],
)
def test_a_map_is_smooth_and_has_its_inverse(make_pair, shape):
    """Nothing folds between neighbouring voxels, and points come back."""
    moving, static, _ = make_pair(shape, largest=3.0)
    mapping, _ = register(moving, static, prealign=None)
    forward, inverse = mapping_to_displacement(mapping)
    assert metrics.folding(forward, strict=True) == 0
    there = np.indices(shape) + np.moveaxis(inverse, -1, 0)
    back = [
        map_coordinates(forward[..., d], there, order=1, mode="nearest")
        for d in range(len(shape))
    ]
    npt.assert_allclose(np.stack(back, axis=-1), -inverse, atol=1e-3)


def test_a_penalty_asks_for_a_velocity(make_pair):
    moving, static, _ = make_pair(SHAPES[0])
    options = {"prealign": None, "level_iters": (3,)}
    fields = [
        register(moving, static, **options, **chosen)[0].backward
        for chosen in (
            {"penalty": "gradient"},
            {"penalty": "gradient", "transform": "velocity"},
            {},
        )
    ]
    npt.assert_array_equal(fields[0], fields[1])
    assert np.abs(fields[0] - fields[2]).max() > 0.01
    with pytest.raises(ValueError, match="penalty=None with transform='displacement'"):
        register(moving, static, transform="displacement", penalty="bending")
