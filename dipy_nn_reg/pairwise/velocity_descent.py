"""Descent of a stationary velocity that registers one pair of images.

The velocity minimises the loss with which networks are trained, by gradient descent
from coarse images to fine ones. The gradient with respect to the displacement is used
in place of that with respect to the velocity, as in log-domain demons (Vercauteren et
al., MICCAI 2008). This avoids backpropagation through the integration, and is exact in
the limit of small velocities.
"""

from functools import lru_cache

from keras import ops
import numpy as np

from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.backend import compiled, value_and_gradient
from dipy_nn_reg.losses.objective import Objective
from dipy_nn_reg.pairwise.coarse_search import search_displacement
from dipy_nn_reg.pairwise.levels import best_end, is_searched, levels_of, on_grid
from dipy_nn_reg.pairwise.pair_tensors import warp_moving
from dipy_nn_reg.progress import progress_bar
from dipy_nn_reg.transform.control_points import bspline
from dipy_nn_reg.transform.functions import integrate
from dipy_nn_reg.transform.kinds import TRANSFORMS
from dipy_nn_reg.transform.pyramid import coarse_shape, enlarge
from dipy_nn_reg.transform.smoothing import smooth

# Root mean square of the first step of a level, in voxels. The step decays as a square
# root, and is halved when the loss rises. This value and those below were chosen on
# pairs of brains at 2 mm (doc/experiments.md).
FIRST_STEP = 0.3
# Decay of the running means of the gradient and of its square. The latter is one number
# for all voxels: one per voxel, as in Adam, would amplify noise where images are flat.
_DECAY, _SQUARE_DECAY = 0.5, 0.9
# A level ends when the last _PATIENCE iterations contributed less than _TOLERANCE of
# the total decrease of its loss.
_PATIENCE, _TOLERANCE = 5, 0.01
# Number of squarings of the integration during the descent. Five give the same overlaps
# (doc/experiments.md).
_SQUARINGS = 3


def optimize_velocity(pair, options, *, level_iters, velocity=None, velocity_stride=1):
    """Return the velocity that registers a moving image to a static one.

    Parameters
    ----------
    pair : PairTensors
    options : DescentOptions
    level_iters : sequence of int
        Largest number of iterations of each level. The last one is for the images in
        full resolution, the one before for images shrunk by 2, and so on.
    velocity : tensor, shape (1, *coarse, ndim), optional
        Start of the descent, in voxels of a grid of ``velocity_stride``. Without it,
        the descent starts from zero, and a second time from the result of a coarse
        search if the coarsest images are small; the better result is kept.
    velocity_stride : int, optional

    Returns
    -------
    velocity : tensor, shape (1, *coarse, ndim)
        In voxels of a grid of ``field_stride``.
    """
    shape = pair.shape
    levels = levels_of(shape, level_iters)
    with progress_bar(levels, desc="Levels") as progress:
        for level, iterations in progress:
            grid = max(level, options.field_stride)
            evaluate = _loss_at(level, grid, pair, options)
            still = _zeros((1, *coarse_shape(shape, grid), len(shape)))
            starts = [still]
            if velocity is not None:
                starts = [on_grid(velocity, velocity_stride, grid, still)]
            elif iterations and is_searched(coarse_shape(shape, level), level):
                match = search_displacement(
                    pair.moving, pair.static, level, pair.annotations
                )
                match = ops.convert_to_tensor(match)
                # The result of matching is rough, and not always the better start.
                starts.append(on_grid(match, level, grid, still))
            ends = [
                _descend(evaluate, start, options, iterations, progress)
                for start in starts
            ]
            velocity = best_end(ends)
            velocity_stride = grid
    return velocity


def _loss_at(level, grid, pair, options):
    """Return a function of values to add to a velocity: the loss and its gradient."""
    evaluate = _evaluator(options, grid // level)
    data = pair.shrunk(level).as_dicts()
    return lambda values, start: evaluate(values, start, *data)


def _no_values(start, options):
    """Return zeros in the shape of values to add to a velocity."""
    if not _is_spline(options.transform):
        return _zeros(start.shape)
    points = coarse_shape(start.shape[1:-1], options.spacing)
    return _zeros((1, *points, start.shape[-1]))


def _zeros(shape):
    return ops.zeros(shape, dtype="float32")


def _is_spline(transform):
    return TRANSFORMS[transform].spline is not None


def _descend(evaluate, start, options, iterations, progress):
    """Return the best velocity of a descent, and its loss."""
    values = best = _no_values(start, options)
    steps, losses = _Steps(values, iterations), []
    for _ in range(iterations):
        loss, gradient = evaluate(values, start)
        loss = float(loss)
        if not losses or loss < min(losses):
            best = values
        losses.append(loss)
        progress.set_postfix(loss=f"{loss:.4f}")
        if not np.isfinite(loss) or _has_converged(losses):
            break
        if not _is_spline(options.transform):
            gradient = smooth(gradient)
        rate = steps.next_rate(gradient, losses)
        if rate is None:
            break
        values = _move(values, steps.mean, rate)
    else:
        # The step after the last evaluation is not evaluated. It is the smallest, so it
        # is kept if that evaluation was the best.
        if losses and losses[-1] == min(losses):
            best = values
    best = _spread(best, start.shape[1:-1], options)
    return start + best, min(losses, default=0.0)


class _Steps:
    """Directions and sizes of the steps of one level.

    Parameters
    ----------
    zeros : tensor
        In the shape of the gradient.
    iterations : int
        Largest number of steps.

    Attributes
    ----------
    mean : tensor
        Running mean of the gradient: the direction, not corrected for its start at 0.
    """

    def __init__(self, zeros, iterations):
        self.mean, self._square = zeros, 0.0
        self._size, self._iterations, self._done = FIRST_STEP, iterations, 0

    def next_rate(self, gradient, losses):
        """Return the factor on the mean gradient; None if all gradients were zero.

        Parameters
        ----------
        gradient : tensor
        losses : list of float
            Losses of the level until now.
        """
        self.mean, size = _accumulate(self.mean, gradient)
        self._square = _SQUARE_DECAY * self._square + (1 - _SQUARE_DECAY) * float(size)
        if self._square == 0:
            return None
        i, self._done = self._done, self._done + 1
        unbiased = (1 - _DECAY ** (i + 1)) / (1 - _SQUARE_DECAY ** (i + 1)) ** 0.5
        if i > 0 and losses[-1] > losses[-2]:
            self._size /= 2
        rate = self._size * (1 - i / self._iterations) ** 0.5
        return ops.convert_to_tensor(rate / (unbiased * self._square**0.5), "float32")


def _has_converged(losses):
    if len(losses) <= _PATIENCE:
        return False
    before, now = min(losses[:-_PATIENCE]), min(losses)
    return before - now <= _TOLERANCE * (losses[0] - now)


@lru_cache(maxsize=16)  # JAX compiles each function object anew
def _evaluator(options, ratio):
    """Return a function of values to add to a velocity: the loss and its gradient."""
    objective = Objective(options.objective)

    def connect(velocity, images, fill):
        static = images["static"]
        constant = ops.stop_gradient(velocity)
        integrated = integrate(constant, steps=_SQUARINGS)
        displacement = velocity + (integrated - constant)
        displacement = enlarge(displacement, static, ratio)
        return {
            "static": static,
            "field": velocity,
            "displacement": displacement,
            "warped": warp_moving(images, fill, displacement),
        }

    def evaluate(values, start, images, fills, annotations):
        velocity = start + _spread(values, start.shape[1:-1], options)
        outputs = connect(velocity, images, fills["moving"])
        if options.objective.needs_both_directions:
            back = {"moving": images["static"], "static": images["moving"]}
            outputs["backward"] = connect(-velocity, back, fills["static"])
        return ops.mean(objective(outputs, Annotations(**annotations))["loss"])

    return value_and_gradient(evaluate)


def _spread(values, shape, options):
    """Return the velocity of values at voxels or at control points."""
    if not _is_spline(options.transform):
        return values
    return bspline(values, shape, options.spacing)


@compiled
def _accumulate(mean, gradient):
    """Return the updated running mean, and the mean square of the new gradient."""
    square = ops.mean(ops.sum(ops.square(gradient), axis=-1))
    return _DECAY * mean + (1 - _DECAY) * gradient, square


@compiled
def _move(values, mean, rate):
    return values - rate * mean
