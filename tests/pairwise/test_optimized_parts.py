from dataclasses import replace

from keras import ops
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg import metrics
from dipy_nn_reg.losses.objective import ObjectiveOptions
from dipy_nn_reg.mapping.parts import Parts, Prediction
from dipy_nn_reg.pairwise import optimized_parts
from dipy_nn_reg.pairwise.levels import DescentOptions
from dipy_nn_reg.pairwise.optimized_parts import optimize_parts, unfolded_parts
from dipy_nn_reg.pairwise.pair_tensors import PairTensors

SHAPE = (33, 36)


@pytest.fixture
def pair(make_pair):
    """Two images as tensors, and the displacement from static to moving."""
    *images, displacement = make_pair(SHAPE)
    tensors = (ops.convert_to_tensor(i[None, ..., None], "float32") for i in images)
    return PairTensors(*tensors, *[ops.zeros((1, 1))] * 2), displacement


def options_of(transform):
    penalties = () if transform == "displacement" else (("gradient", 0.1),)
    return DescentOptions(ObjectiveOptions("ncc", penalties), transform, 1, 1)


def prediction_of(displacement):
    parts = Parts(displacement.astype("f4"), lambda: -displacement.astype("f4"))
    return Prediction(parts, None, 1)


def error(parts, displacement):
    return np.linalg.norm(parts.displacement - displacement, axis=-1)[5:-5, 5:-5].mean()


@pytest.mark.parametrize("transform", ["displacement", "velocity"])
@pytest.mark.parametrize("start", [pytest.param(None, marks=pytest.mark.slow), 0.5])
def test_the_field_and_its_inverse_are_found(pair, transform, start):
    tensors, displacement = pair
    prediction = None if start is None else prediction_of(start * displacement)
    parts = optimize_parts(
        tensors, prediction, options=options_of(transform), level_iters=None
    )
    assert (
        error(parts, displacement) < 0.35 * np.linalg.norm(displacement, axis=-1).mean()
    )
    assert metrics.folding(parts.displacement) == 0
    inverse = parts.invert()
    there = np.indices(SHAPE) + np.moveaxis(inverse, -1, 0)
    back = [
        map_coordinates(parts.displacement[..., d], there, order=1, mode="nearest")
        for d in range(2)
    ]
    off = np.linalg.norm(np.stack(back, axis=-1) + inverse, axis=-1)[5:-5, 5:-5]
    assert off.mean() < (1e-3 if transform == "displacement" else 0.1)


@pytest.mark.backends
@pytest.mark.parametrize("transform", ["displacement", "velocity"])
def test_a_prediction_shortens_the_way(pair, transform, monkeypatch):
    tensors, displacement = pair
    calls = []
    name = f"optimize_{transform}"
    optimize = getattr(optimized_parts, name)

    def spy(*arguments, **chosen):
        calls.append(chosen)
        return optimize(*arguments, **chosen)

    monkeypatch.setattr(optimized_parts, name, spy)
    options = options_of(transform)
    for prediction in (None, prediction_of(displacement)):
        optimize_parts(tensors, prediction, options=options, level_iters=None)
    without, after = ([*call["level_iters"]] for call in calls)
    assert len(after) == 2 < len(without) == 4
    with_own = replace(options.objective, loss="mse")
    optimize_parts(
        tensors, None, options=options._replace(objective=with_own), level_iters=(1,)
    )
    assert calls[-1]["level_iters"] == (1,)


def test_a_velocity_is_unfolded_and_its_inverse_integrated():
    velocity = np.zeros((1, 24, 20, 2), np.float32)
    velocity[0, 10, 8:12, 0], velocity[0, 12, 8:12, 0] = 4, -4
    parts = unfolded_parts(
        ops.convert_to_tensor(velocity), ops.zeros((1, 24, 20, 1)), 1
    )
    assert metrics.folding(parts.displacement) == 0
    assert parts.displacement.shape == parts.invert().shape == (24, 20, 2)
