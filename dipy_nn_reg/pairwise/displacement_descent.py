"""Descent of a displacement, composed of small steps, that registers one pair.

Each step moves the warped image a little further. The displacement is not penalised:
it is relaxed by a small part of its Laplacian after each step, and a pressure pushes
volumes back to what they were. On coarse images both directions are registered, and
each is corrected by the inverse of the other: without this, they drift apart along the
contours of an image, which does not resist there. A symmetric descent does so in full
resolution as well. doc/experiments.md has what each part contributes.
"""

from functools import lru_cache, partial
from math import ceil, isfinite
from typing import Any, NamedTuple

from keras import ops

from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.backend import (
    as_one_graph,
    compiled,
    recomputed,
    value_and_gradient,
)
from dipy_nn_reg.losses.objective import Objective
from dipy_nn_reg.losses.penalties import volume_factor
from dipy_nn_reg.pairwise.coarse_search import search_displacement
from dipy_nn_reg.pairwise.inverses import nearly_inverted
from dipy_nn_reg.pairwise.levels import best_end, is_searched, levels_of, on_grid
from dipy_nn_reg.pairwise.pair_tensors import warp_moving
from dipy_nn_reg.progress import progress_bar
from dipy_nn_reg.transform.functions import compose
from dipy_nn_reg.transform.pyramid import coarse_shape, enlarge
from dipy_nn_reg.transform.smoothing import relax, shifted, smooth

# Root mean square of the step of the largest force of a level, and largest step of a
# voxel, in voxels of this level. Steps decay as a square root, and with the force.
# These values and those below were chosen on brains at 2 mm and 1 mm
# (doc/experiments.md).
_STEP, _LONGEST_STEP = 0.6, 0.5
# Decay of the running mean of the force.
_DECAY = 0.5
# Part of the force that is the pull of the static image on the displacement, and not of
# the warped one.
_STATIC_PULL = 0.4
# Parts of the Laplacian and of the pressure at a smoothness of 1, and the largest part
# of the Laplacian that is added at once.
_RELAXATION, _PRESSURE, _MOST_RELAXED = 0.065, 0.06, 0.12
# Smaller determinants count as this one where their logarithm is computed.
_LEAST_DETERMINANT = 0.05
# Smallest mean square by which something is divided.
_TINY = 1e-30
# Standard deviation of the Gaussian that smooths the force, in voxels of the level: on
# coarse images, and on those in full resolution.
_SIGMA, _LAST_SIGMA = 1.0, 0.7


def optimize_displacement(pair, options, *, level_iters, start=None):
    """Return the displacement that registers a moving image to a static one.

    Parameters
    ----------
    pair : PairTensors
    options : DescentOptions
    level_iters : sequence of int
        Number of iterations of each level. The last one is for the images in full
        resolution, the one before for images shrunk by 2, and so on.
    start : tuple of tensor, shape (1, *spatial, ndim), optional
        A displacement and its inverse, in voxels. Without it, the descent starts from
        zero, and, if the coarsest images are small, from what a coarse search finds in
        either direction; of the ends of the first level, that of least loss is kept.

    Returns
    -------
    displacement : tensor, shape (1, *spatial, ndim)
        In voxels.
    inverse : tensor, shape (1, *spatial, ndim)
        Its inverse as far as coarse images tell, to start an inversion.
    """
    fields, stride = start, 1
    levels = levels_of(pair.shape, level_iters)
    with progress_bar(levels, desc="Levels") as progress:
        for level, iterations in progress:
            grid = max(level, options.field_stride)
            still = _zeros((1, *coarse_shape(pair.shape, grid), len(pair.shape)))
            if fields is None:
                starts = _first_starts(pair, level, grid, still, iterations)
            else:
                starts = [[on_grid(field, stride, grid, still) for field in fields]]
            step = _stepper(
                options, grid // level, _LAST_SIGMA if level == 1 else _SIGMA
            )
            both_ways = level > 1 or options.symmetric
            descend = partial(_run_level, pair.shrunk(level), step, both_ways, progress)
            fields = best_end([descend(start, iterations) for start in starts])
            stride = grid
    return tuple(enlarge(field, pair.static, stride) for field in fields)


def _first_starts(pair, level, grid, still, iterations):
    """Return starts without a displacement, and from a coarse search if it is run."""
    starts = [(still, still)]
    if iterations and is_searched(coarse_shape(pair.shape, level), level):
        # What is found by matching is rough, and not always the better start.
        match, back = (
            on_grid(_match(images, level), level, grid, still)
            for images in (pair, pair.swapped())
        )
        starts.append((match, nearly_inverted(match, -match)))
        starts.append((nearly_inverted(back, -back), back))
    return starts


def _match(pair, level):
    match = search_displacement(pair.moving, pair.static, level, pair.annotations)
    return ops.convert_to_tensor(match)


def _run_level(images, step, both_ways, progress, start, iterations):
    """Return the displacements of both directions after a level, and their loss."""
    descend = partial(_descend, step=step, iterations=iterations, progress=progress)
    if not both_ways:
        # The other direction would cost overlap here, and most of the time.
        (forward,), loss = descend([images], start[:1])
        return (forward, start[1]), loss
    fields, loss = descend([images, images.swapped()], start)
    return _symmetrized(*fields), loss


def _descend(pairs, fields, *, step, iterations, progress):
    """Return the displacements of pairs after the steps of a level, and a loss.

    The loss is the sum of the losses of the pairs, before the last step.
    """
    data, losses = [pair.as_dicts() for pair in pairs], [0.0]
    states = [
        _State(field, ops.zeros_like(field), _zeros(()), _zeros(())) for field in fields
    ]
    for i in range(iterations):
        # The running mean starts at 0.
        rate = _STEP * (1 - i / iterations) ** 0.5 / (1 - _DECAY ** (i + 1))
        losses, moved = step(states, _number(rate), data)
        losses = [float(loss) for loss in losses]
        progress.set_postfix(loss=f"{losses[0]:.4f}")
        if not all(map(isfinite, losses)):
            break
        states = moved
    return [state.field for state in states], sum(losses)


class _State(NamedTuple):
    """State of the descent of one level.

    Attributes
    ----------
    field, mean : tensor, shape (1, *coarse, ndim)
        Displacement, and running mean of the force.
    largest_pull, largest_force : tensor
        Largest mean squares until now: of the force of the images where there is one,
        and of the whole force. Where images need no more, steps become small.
    """

    field: Any
    mean: Any
    largest_pull: Any
    largest_force: Any


@lru_cache(maxsize=16)  # JAX compiles each function object anew
def _stepper(options, ratio, sigma):
    """Return a function that makes one step for each of some pairs."""
    evaluate = value_and_gradient(_loss_of(options.objective, ratio), arguments=2)
    pressure = _PRESSURE * options.smoothness
    relaxation = _RELAXATION * options.smoothness
    times = ceil(relaxation / _MOST_RELAXED)

    def step(state, rate, images, fills, annotations):
        field, mean, largest_pull, largest_force = state
        still = ops.zeros_like(field)
        loss, *pulls = evaluate(field, still, images, fills, annotations)
        force, largest_pull = _force(
            *pulls, largest_pull, _log_volume(field), _number(pressure)
        )
        mean, largest_force = _accumulate(mean, largest_force, smooth(force, sigma))
        field = compose(field, _limited(mean, rate, largest_force))
        for _ in range(times):
            field = relax(field, _number(relaxation / times))
        return loss, _State(field, mean, largest_pull, largest_force)

    def steps(states, rate, data):
        # In one graph, pairs are computed at the same time where there are processors.
        losses, states = zip(*(step(s, rate, *d) for s, d in zip(states, data)))
        return list(losses), list(states)

    return as_one_graph(steps)


def _zeros(shape):
    return ops.zeros(shape, dtype="float32")


def _number(value):
    return ops.convert_to_tensor(value, dtype="float32")


def _loss_of(objective, ratio):
    """Return the loss as a function of two displacements.

    By the first one the moving image is warped. The second one is zero, and moves the
    static image: its gradient is the pull of the static image.
    """
    objective = Objective(objective)

    def evaluate(field, still, images, fills, annotations):
        static = images["static"]
        displacement = enlarge(field, static, ratio)
        outputs = {
            "static": _pulled(enlarge(still, static, ratio), static),
            "displacement": displacement,
            "field": field,
            "warped": warp_moving(images, fills["moving"], displacement),
        }
        return ops.mean(objective(outputs, Annotations(**annotations))["loss"])

    return evaluate


@partial(recomputed, constants=1)
def _pulled(pull, static):
    """Move the static image by a small displacement, linearly in the displacement."""
    slopes = [
        (shifted(static, axis, 1) - shifted(static, axis, -1)) / 2
        for axis in range(1, len(static.shape) - 1)
    ]
    return static + sum(slope * pull[..., d, None] for d, slope in enumerate(slopes))


@compiled
def _log_volume(field):
    """Return the logarithm of the factor by which volumes grow."""
    return ops.log(ops.maximum(volume_factor(field), _LEAST_DETERMINANT))


@compiled
def _force(warped_pull, static_pull, largest, log_volume, pressure):
    """Return the direction in which the loss grows, and the largest force until now.

    The force of the images is divided by its size where there is one, so that its
    weight beside the pressure depends on no loss and on no background.
    """
    force = (1 - _STATIC_PULL) * warped_pull - _STATIC_PULL * static_pull
    force = force * ops.cast(ops.size(log_volume), "float32")  # near 1, not 1e-7
    squares = ops.sum(ops.square(force), axis=-1)
    size = ops.sum(ops.square(squares)) / ops.maximum(ops.sum(squares), _TINY)
    largest = ops.maximum(largest, size)
    force = force / ops.sqrt(ops.maximum(largest, _TINY))
    # Minus the gradient of the mean square of the logarithm, up to a factor.
    outward = [
        log_volume - shifted(log_volume, axis, -1)
        for axis in range(1, len(log_volume.shape))
    ]
    return force - pressure * ops.stack(outward, axis=-1), largest


@compiled
def _accumulate(mean, largest, force):
    """Return the running mean of the force, and its largest mean square."""
    size = ops.mean(ops.sum(ops.square(force), axis=-1))
    return _DECAY * mean + (1 - _DECAY) * force, ops.maximum(largest, size)


@compiled
def _limited(mean, rate, largest):
    """Return a step against the force, of limited length in each voxel."""
    step = -rate / ops.sqrt(ops.maximum(largest, _TINY)) * mean
    length = ops.sqrt(ops.sum(ops.square(step), axis=-1, keepdims=True))
    return step * (_LONGEST_STEP / ops.maximum(length, _LONGEST_STEP))


@as_one_graph
def _symmetrized(forward, backward):
    """Return the means of each displacement and the inverse of the other."""
    return (
        (forward + nearly_inverted(backward, forward)) / 2,
        (backward + nearly_inverted(forward, backward)) / 2,
    )
