"""Choice of the best sound field between two images on one grid.

A field is sound if it is finite, does not fold, and makes the images no less similar
than the affine alone.
"""

from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

from dipy.utils.logging import logger
from keras import ops
import numpy as np

from dipy_nn_reg import metrics
from dipy_nn_reg.annotations import Annotations, find_label_values
from dipy_nn_reg.backend import as_one_graph
from dipy_nn_reg.losses.objective import Objective
from dipy_nn_reg.losses.supervision import one_hot
from dipy_nn_reg.mapping.parts import Parts
from dipy_nn_reg.pairwise.descent import PairTensors, optimize_velocity
from dipy_nn_reg.pairwise.unfolding import unfold, where_folded
from dipy_nn_reg.transform.functions import compose, integrate, warp
from dipy_nn_reg.transform.layers import INTEGRATION_STEPS, intensity_range, rescale
from dipy_nn_reg.transform.pyramid import enlarge

# Largest number of iterations on images shrunk by 8, 4, 2 and 1; after a model, by 2
# and 1.
LEVEL_ITERS, LEVEL_ITERS_AFTER_MODEL = (10, 10, 20, 30), (10, 4)
# Correlation above which images count as equal: a loss of small windows would still
# gain a little where they are almost flat.
EQUAL = 1 - 1e-6
# Correlation above which images count as nearly equal, and the fall of it that is then
# a loss: a loss of small windows still gains a little from noise.
_NEARLY_EQUAL, _SMALL_LOSS = 0.995, 0.001
# Largest percentage of voxels at which a field that is returned may fold.
MAX_FOLDING = 0.001


class Candidate(NamedTuple):
    """A field, how it came about, and how similar it makes the images.

    Attributes
    ----------
    used : str
        "affine", "model", "optimized" or "model, optimized".
    parts : Parts
    measures : dict of float
        ``loss`` and ``ncc``, after the field.
    """

    used: str
    parts: Parts
    measures: dict


def best_sound_parts(pair, prediction, options, *, level_iters=None, optimize=True):
    """Return the affine alone and the best sound field of two images on one grid.

    Parameters
    ----------
    pair : dipy_nn_reg.mapping.frame.PairOnGrid
    prediction : dipy_nn_reg.training.predictor.Prediction or None
        The start of a trained model.
    options : DescentOptions
    level_iters : sequence of int, optional
        Largest number of iterations of each level.
    optimize : bool, optional
        Whether a sound prediction is optimised as well.

    Returns
    -------
    affine, best : Candidate
        They are one if no field is sound and better.
    """
    tensors = _as_tensors(pair)
    still = np.zeros((*pair.static.shape[:-1], pair.static.ndim - 1), np.float32)
    parts = Parts(still, lambda: still)
    affine = Candidate("affine", parts, _measure(tensors, options, parts))
    if affine.measures["ncc"] > EQUAL:
        return affine, affine
    descend = partial(_descend, options=options, level_iters=level_iters)
    judge = partial(_judge, tensors, options)
    best = affine
    if prediction is not None:
        best = _after_model(
            tensors, prediction, affine, judge, descend if optimize else None
        )
    if best is affine:
        best = judge("optimized", descend(tensors, default_iters=LEVEL_ITERS), affine)
    if best is affine:
        logger.warning("No field was found: the affine alone is returned.")
    return affine, best


def _after_model(tensors, prediction, affine, judge, descend):
    """Return a prediction, optimised if it may be; or the affine alone."""
    parts, velocity, stride = prediction
    # A velocity that folds is smoothed, but not before it has been optimised.
    start = judge("model", parts, affine, may_fold=velocity is not None)
    if start is affine:
        return affine
    if descend is not None:
        optimized = _go_on(tensors, prediction, descend)
        best = judge("model, optimized", optimized, start)
        if best is not start:
            return best
    if velocity is None or not _folding(parts):
        return start
    mended = _unfolded(velocity, tensors.static, stride)
    return judge("model", mended._replace(matrix=parts.matrix), affine)


def _go_on(tensors, prediction, descend):
    """Optimise from where a prediction ends."""
    parts, velocity, stride = prediction
    descend = partial(descend, default_iters=LEVEL_ITERS_AFTER_MODEL)
    if velocity is None:
        added = descend(_warped(tensors, parts))
        return Parts(
            compose(parts.displacement, added.displacement),
            lambda: compose(added.invert(), parts.invert()),
            parts.matrix,
        )
    # The velocity itself goes on; the affine alone has been done.
    if parts.matrix is not None:
        done = parts._replace(displacement=0 * parts.displacement)
        tensors = _warped(tensors, done)
    optimized = descend(tensors, velocity=velocity, velocity_stride=stride)
    return optimized._replace(matrix=parts.matrix)


def _descend(tensors, *, options, level_iters, default_iters, **start):
    level_iters = level_iters or default_iters
    velocity = optimize_velocity(tensors, options, level_iters=level_iters, **start)
    return _unfolded(velocity, tensors.static, options.field_stride)


def _judge(tensors, options, used, parts, before, *, may_fold=False):
    """Return the candidate of a field; or the one before, if that is no worse."""
    measures = _measure(tensors, options, parts)
    gains = measures["loss"] < before.measures["loss"]
    # A model may find that there is nothing to do.
    if not (gains or used == "model"):
        return before
    fault = _find_fault(parts, measures, before.measures, may_fold)
    if fault:
        name = "prediction of the model" if used == "model" else "optimised field"
        logger.warning(f"The {name} {fault}. It is not used.")
        return before
    return Candidate(used, parts, measures)


def _measure(tensors, options, parts):
    """Return the loss of the images, labels included, and their correlation."""
    displacement = ops.convert_to_tensor(parts.whole_displacement()[None])
    # However a field came about, the images alone are compared.
    measure = _measurer(replace(options.objective, penalties=()))
    loss, warped = measure(
        tensors.moving,
        tensors.static,
        tensors.moving_fill,
        displacement,
        tensors.annotations.as_dict(),
    )
    images = (ops.convert_to_numpy(image) for image in (tensors.static, warped))
    return {"loss": float(loss), "ncc": metrics.ncc(*images)}


@lru_cache(maxsize=16)
def _measurer(objective):
    """Return a function: how dissimilar images are after a warp, and the warped one."""
    evaluate = Objective(objective)

    def measure(moving, static, fill, displacement, annotations):
        warped = warp(moving, displacement, fill=fill)
        outputs = {
            "static": static,
            "warped": warped,
            "field": displacement,
            "displacement": displacement,
        }
        terms = evaluate(outputs, Annotations(**annotations))
        return ops.mean(terms["loss"]), warped

    return as_one_graph(measure)


def _as_tensors(pair):
    """Return two images from 0 to 1, with their backgrounds and annotations."""
    (moving, moving_fill), (static, static_fill) = map(
        _rescale, (pair.moving, pair.static)
    )
    annotations, values = pair.annotations, None
    if annotations.moving_labels is not None:
        both = annotations.moving_labels, annotations.static_labels
        values = find_label_values(*both)

    def to_tensor(array, place):
        if place.kind == "labels":
            return ops.convert_to_tensor(one_hot(array[None], values))
        inside = array[None, ..., None] > 0
        return ops.convert_to_tensor(inside.astype(np.float32))

    return PairTensors(
        moving, static, moving_fill, static_fill, annotations.map(to_tensor)
    )


def _rescale(image):
    """Return an image from 0 to 1, and its background there, shape (1, channels)."""
    image = ops.convert_to_tensor(image[None].astype(np.float32))
    ends = intensity_range(image)
    fill = rescale(ops.zeros_like(ends[0]), *ends)
    return rescale(image, *ends), ops.reshape(fill, (1, image.shape[-1]))


def _warped(tensors, parts):
    """Return a pair whose moving image is warped by Parts."""
    displacement = parts.whole_displacement()[None]
    moving = warp(tensors.moving, displacement, fill=tensors.moving_fill)
    return tensors._replace(moving=moving)


def _unfolded(velocity, static, stride):
    """Return Parts of a velocity, smoothed where they would fold."""

    def displace(velocity):
        displacement = integrate(velocity, steps=INTEGRATION_STEPS)
        return enlarge(displacement, static, stride)

    velocity, displacement = unfold(velocity, displace)
    return Parts(displacement, lambda: ops.convert_to_numpy(displace(-velocity))[0])


def _find_fault(parts, measures, before, may_fold):
    """Return why a field may not be returned, or None."""
    arrays = [part for part in (parts.displacement, parts.matrix) if part is not None]
    if not all(np.all(np.isfinite(array)) for array in arrays):
        return "holds values that are not finite"
    if not may_fold and (folding := _folding(parts)) > MAX_FOLDING:
        return f"folds at {folding:.4f} % of the voxels"
    nearly_equal = before["ncc"] >= _NEARLY_EQUAL
    if nearly_equal and measures["ncc"] < before["ncc"] - _SMALL_LOSS:
        return (
            f"makes images less similar that are nearly equal: their correlation goes "
            f"from {before['ncc']:.4f} to {measures['ncc']:.4f}"
        )
    if not measures["loss"] <= before["loss"]:
        return (
            f"makes the images less similar: the loss goes from {before['loss']:.4f} "
            f"to {measures['loss']:.4f}"
        )
    return None


def _folding(parts):
    """Return the percentage of voxels at which a field folds."""
    return 100 * where_folded(parts.displacement).mean()
