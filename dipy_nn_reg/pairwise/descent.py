"""Register one pair by optimisation, with no trained model or from where one ends.

A velocity goes down the gradient of the loss that trains a network, from coarse images
to fine ones. The gradient in the displacement is taken for that in the velocity, as in
log-domain demons (Vercauteren et al., MICCAI 2008): this spares the way back through
the integration, and is exact where the velocity is small.
"""

from functools import lru_cache
from math import prod

from keras import ops
import numpy as np

from dipy_nn_reg.backend import compiled, value_and_gradient
from dipy_nn_reg.losses.objective import Objective, hashable_options, options_of
from dipy_nn_reg.losses.penalties import folded
from dipy_nn_reg.pairwise.coarse_search import search_displacement
from dipy_nn_reg.progress import progress_bar
from dipy_nn_reg.transform.control_points import bspline
from dipy_nn_reg.transform.functions import integrate, warp
from dipy_nn_reg.transform.kinds import TRANSFORMS
from dipy_nn_reg.transform.pyramid import coarse_shape, enlarge, shrink
from dipy_nn_reg.transform.sampling import repeat_border

# Root mean square of the first step of a level, in voxels. It falls as a square root,
# and to half where the loss rises. This and what follows was chosen on pairs of brains
# at 2 mm (doc/performance.md).
STEP = 0.3
# Of the mean gradient and of its mean square, which is one number for all voxels: one
# for each, as in Adam, would amplify what is chance where images are flat.
_MEMORY, _SQUARE_MEMORY = 0.5, 0.9
# Smooths the gradient along each axis: 1.3 voxels wide.
_GAUSSIAN = np.exp(-((np.arange(-4, 5) / 1.3) ** 2) / 2)
_GAUSSIAN = tuple((_GAUSSIAN / _GAUSSIAN.sum()).tolist())
# A level ends when so many iterations have added less than this share to its gain.
_PATIENCE, _TOLERANCE = 5, 0.01
# Of the integration on the way down: with five, overlaps are the same (performance.md).
_STEPS = 3
# Along each axis; images are not shrunk to less.
_FEWEST_VOXELS = 12
# Of the coarsest images, if all displacements of some voxels are to be tried on them.
MOST_SEARCHED = 2**15
_MOST_REPAIRS = 10


def optimize_velocity(
    moving,
    static,
    y,
    options,
    *,
    fills,
    level_iters,
    velocity=None,
    velocity_stride=1,
):
    """Return the velocity that brings a moving image to a static one.

    Parameters
    ----------
    moving, static : tensor, shape (1, *spatial, channels)
        From 0 to 1.
    y : dict of tensor
        ``mask``, ``moving_labels`` and ``static_labels``, shape (1, *spatial, any),
        where there are any.
    options : dict
        As :class:`~dipy_nn_reg.losses.objective.Objective` takes them, with
        ``transform``, ``spacing`` and ``field_stride``.
    fills : dict of tensor, shape (1, channels)
        What lies outside of ``moving`` and of ``static``.
    level_iters : sequence of int
        Most iterations of each level. The last one is for the images as they are, the
        one before for images shrunk by 2, and so on.
    velocity : tensor, shape (1, *coarse, ndim), optional
        Where to start, in voxels of ``velocity_stride``. Without one, a coarse search
        says where, if the coarsest images are small.
    velocity_stride : int, optional

    Returns
    -------
    velocity : tensor, shape (1, *coarse, ndim)
        In voxels of ``field_stride``.
    """
    images = {"moving": moving, "static": static}
    shape, finest = tuple(static.shape[1:-1]), options["field_stride"]
    levels = [(2**i, most) for i, most in enumerate(reversed(level_iters))]
    levels = [
        (level, most)
        for level, most in reversed(levels)
        if level == 1 or min(shape) // level >= _FEWEST_VOXELS
    ]
    with progress_bar(levels, desc="Levels") as progress:
        for level, most in progress:
            grid = max(level, finest)
            evaluate = _loss_at(level, grid, images, fills, y, options)
            still = _zeros((1, *coarse_shape(shape, grid), len(shape)))
            starts = [still]
            if velocity is not None:
                starts = [_on_grid(velocity, velocity_stride, grid, still)]
            elif most and _is_searched(coarse_shape(shape, level), level):
                found = search_displacement(moving, static, level, y.get("mask"))
                found = ops.convert_to_tensor(found)
                # Rough, as matching alone is, it is not always the better start.
                starts.append(_on_grid(found, level, grid, still))
            ends = [_descend(evaluate, v, options, most, progress) for v in starts]
            velocity, _ = min(ends, key=lambda end: end[1])
            velocity_stride = grid
    return velocity


def unfold(velocity, displace):
    """Smooth a velocity where its displacement folds.

    Parameters
    ----------
    velocity : tensor, shape (1, *coarse, ndim)
    displace : callable
        Takes a velocity, and returns a displacement in voxels, a tensor of shape
        (1, *spatial, ndim).

    Returns
    -------
    velocity : tensor, shape (1, *coarse, ndim)
        What came, if nothing folds; after some repairs something still may.
    displacement : ndarray, shape (*spatial, ndim)
        That of the velocity.
    """
    for repairs in range(_MOST_REPAIRS + 1):
        displacement = ops.convert_to_numpy(displace(velocity))[0]
        where = where_folded(displacement)
        if not where.any() or repairs == _MOST_REPAIRS:
            break
        passed = _voxels_passed(where, displacement, velocity.shape[1:-1])
        # All of it within two voxels, less and less beyond.
        near = ops.clip(40 * _smooth(_smooth(ops.convert_to_tensor(passed))), 0, 1)
        velocity = velocity + near * (_smooth(velocity) - velocity)
    return velocity, displacement


def where_folded(displacement):
    """Tell where a displacement folds.

    Parameters
    ----------
    displacement : ndarray, shape (*spatial, ndim)

    Returns
    -------
    folded : ndarray of bool, shape (*spatial,)
        As :func:`~dipy_nn_reg.metrics.folding` counts them, in a third of the time.
    """
    return ops.convert_to_numpy(_folded(ops.convert_to_tensor(displacement[None])))[0]


_folded = compiled(folded)


def _voxels_passed(folded, displacement, shape):
    """Mark the voxels of a coarse grid on the straight way from where a field folds.

    What folds a displacement is the velocity anywhere on the way, not at its start.
    """
    starts, ways = np.argwhere(folded), np.nan_to_num(displacement[folded])
    passed = np.zeros((1, *shape, 1), np.float32)
    for share in np.linspace(0, 1, 5):
        places = (starts + share * ways + 0.5) * np.divide(shape, folded.shape)
        places = np.clip(places, 0, np.array(shape) - 1).astype(int)
        passed[(0, *places.T)] = 1
    return passed


def _on_grid(velocity, stride, grid, reference):
    """Bring a velocity from voxels of one stride to those of another."""
    if grid > stride:
        return shrink(velocity, grid // stride) * (stride / grid)
    return enlarge(velocity, reference, stride // grid)


def _loss_at(level, grid, images, fills, y, options):
    """Return a function: the loss of values to add to a velocity, and its gradient."""
    evaluate = _evaluator(
        hashable_options(options),
        options["transform"],
        options["spacing"],
        grid // level,
    )
    images, y = (
        {name: shrink(array, level) for name, array in group.items()}
        for group in (images, y)
    )
    return lambda values, start: evaluate(values, start, images, fills, y)


def _is_searched(shape, level):
    return level > 1 and prod(shape) <= MOST_SEARCHED


def _no_values(start, options):
    """Return values to add to a velocity that change nothing."""
    if not _is_spline(options["transform"]):
        return _zeros(start.shape)
    points = coarse_shape(start.shape[1:-1], options["spacing"])
    return _zeros((1, *points, start.shape[-1]))


def _zeros(shape):
    return ops.zeros(shape, dtype="float32")


def _is_spline(transform):
    return TRANSFORMS[transform].spline is not None


def _descend(evaluate, start, options, most, progress):
    """Return the best of the velocities on the way down, and its loss."""
    values = _no_values(start, options)
    step, mean, square = STEP, values, 0.0
    best, losses = values, []
    for i in range(most):
        loss, gradient = evaluate(values, start)
        loss = float(loss)
        if not losses or loss < min(losses):
            best = values
        losses.append(loss)
        progress.set_postfix(loss=f"{loss:.4f}")
        if not np.isfinite(loss) or _has_converged(losses):
            break
        if not _is_spline(options["transform"]):
            gradient = _smooth(gradient)
        mean, size = _accumulate(mean, gradient)
        square = _SQUARE_MEMORY * square + (1 - _SQUARE_MEMORY) * float(size)
        if square == 0:
            break
        unbiased = (1 - _MEMORY ** (i + 1)) / (1 - _SQUARE_MEMORY ** (i + 1)) ** 0.5
        if i > 0 and loss > losses[-2]:
            step /= 2
        rate = step * (1 - i / most) ** 0.5
        rate = ops.convert_to_tensor(rate / (unbiased * square**0.5), "float32")
        values = _step(values, mean, rate)
    else:
        # The last step is the smallest: from the lowest loss it goes down unmeasured.
        if losses and losses[-1] == min(losses):
            best = values
    best = _spread(best, start.shape[1:-1], options["transform"], options["spacing"])
    return start + best, min(losses, default=0.0)


def _has_converged(losses):
    if len(losses) <= _PATIENCE:
        return False
    before, now = min(losses[:-_PATIENCE]), min(losses)
    return before - now <= _TOLERANCE * (losses[0] - now)


@lru_cache(maxsize=16)  # what JAX compiles belongs to one function
def _evaluator(options, transform, spacing, ratio):
    """Return a function: the loss of values to add to a velocity, and its gradient."""
    objective = Objective(options_of(options))
    symmetric = "inverse_consistency" in objective.penalties

    def connect(velocity, moving, static, fill):
        constant = ops.stop_gradient(velocity)
        integrated = integrate(constant, steps=_STEPS)
        displacement = velocity + (integrated - constant)
        displacement = enlarge(displacement, static, ratio)
        warped = warp(moving, displacement, fill=fill, image_is_constant=True)
        return {
            "static": static,
            "field": velocity,
            "displacement": displacement,
            "warped": warped,
        }

    def evaluate(values, start, images, fills, y):
        moving, static = images["moving"], images["static"]
        velocity = start + _spread(values, start.shape[1:-1], transform, spacing)
        outputs = connect(velocity, moving, static, fills["moving"])
        if symmetric:
            outputs["backward"] = connect(-velocity, static, moving, fills["static"])
        return ops.mean(objective(outputs, y)["loss"])

    return value_and_gradient(evaluate)


def _spread(values, shape, transform, spacing):
    return bspline(values, shape, spacing) if _is_spline(transform) else values


def _smooth(field):
    """Smooth a field by a Gaussian, beyond the border of which it is repeated."""
    field = _repeat_border(field, len(_GAUSSIAN) // 2)
    for axis in range(1, len(field.shape) - 1):
        field = _smooth_along(field, axis)
    return field


_repeat_border = compiled(repeat_border)


@compiled
def _smooth_along(field, axis):
    size = ops.shape(field)[axis] - len(_GAUSSIAN) + 1
    before = (slice(None),) * axis
    return sum(
        weight * field[(*before, slice(i, i + size))]
        for i, weight in enumerate(_GAUSSIAN)
    )


@compiled
def _accumulate(mean, gradient):
    """Return the mean gradient with a new one, and the mean square of that."""
    square = ops.mean(ops.sum(ops.square(gradient), axis=-1))
    return _MEMORY * mean + (1 - _MEMORY) * gradient, square


@compiled
def _step(values, mean, rate):
    return values - rate * mean
