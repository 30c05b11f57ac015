"""Choice of the best sound field between two images on one grid.

A field is sound if it is finite, folds hardly anywhere, and makes the images at least
as similar as the affine alone does.
"""

from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

from dipy.utils.logging import logger
from keras import ops
import numpy as np

from dipy_nn_reg import metrics
from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.backend import as_one_graph
from dipy_nn_reg.losses.objective import Objective, where_compared
from dipy_nn_reg.mapping.parts import Parts
from dipy_nn_reg.pairwise.optimized_parts import optimize_parts, unfolded_parts
from dipy_nn_reg.pairwise.pair_tensors import as_tensors, warp_moving
from dipy_nn_reg.pairwise.unfolding import where_folded

# Correlation above which images count as equal and are not registered: a loss of small
# windows would still improve a little in almost flat regions.
EQUAL = 1 - 1e-6
# Correlation from which images count as nearly equal, and the largest decrease of it
# that is then accepted: a loss of small windows still improves a little by fitting
# noise.
_NEARLY_EQUAL, _MAX_DECREASE = 0.995, 0.001
# Largest percentage of folded voxels of a field that is returned.
MAX_FOLDING = 0.001


class Candidate(NamedTuple):
    """A field, its source, and the similarity of the images that it registers.

    Attributes
    ----------
    used : str
        Source of the field: "affine", "model", "optimized" or "model, optimized".
    parts : Parts
    measures : dict of float
        ``loss`` and ``ncc`` of the images after registration by the field.
    """

    used: str
    parts: Parts
    measures: dict


def best_sound_parts(pair, prediction, options, *, level_iters=None, optimize=True):
    """Return the affine alone and the best sound field of two images on one grid.

    Parameters
    ----------
    pair : dipy_nn_reg.mapping.pair_on_grid.PairOnGrid
    prediction : dipy_nn_reg.mapping.parts.Prediction or None
        Prediction of a trained model, from which the optimisation starts.
    options : DescentOptions
    level_iters : sequence of int, optional
        Largest number of iterations of each level.
    optimize : bool, optional
        Whether a sound prediction is optimised. Without one, the optimisation runs in
        any case.

    Returns
    -------
    affine, best : Candidate
        The same object twice if no field is sound and better than the affine.
    """
    tensors = as_tensors(pair)
    still = np.zeros((*pair.static.shape[:-1], pair.static.ndim - 1), np.float32)
    parts = Parts(still, lambda: still)
    affine = Candidate("affine", parts, _measure(tensors, options, parts))
    turns = pair.annotations.static_orientations is not None
    if affine.measures["ncc"] > EQUAL and not turns:
        return affine, affine
    descend = partial(optimize_parts, options=options, level_iters=level_iters)
    judge = partial(_judge, tensors, options)
    best = affine
    if prediction is not None:
        best = _after_model(
            tensors, prediction, affine, judge, descend if optimize else None
        )
    if best is affine:
        best = judge("optimized", descend(tensors), affine)
    if best is affine:
        logger.warning(
            "No field makes the images more similar. The affine alone is returned."
        )
    return affine, best


def _after_model(tensors, prediction, affine, judge, descend):
    """Return the best candidate that starts from a prediction, or the affine alone.

    Without ``descend`` the prediction is not optimised.
    """
    parts, velocity, stride = prediction
    # A velocity that folds is optimised first and smoothed after that.
    start = judge("model", parts, affine, may_fold=velocity is not None)
    if start is affine:
        return affine
    if descend is not None:
        optimized = _continue(tensors, prediction, descend)
        best = judge("model, optimized", optimized, start)
        if best is not start:
            return best
    if velocity is None or not _folding(parts):
        return start
    repaired = unfolded_parts(velocity, tensors.static, stride)
    return judge("model", repaired._replace(matrix=parts.matrix), affine)


def _continue(tensors, prediction, descend):
    """Return Parts of the optimisation that starts from a prediction."""
    # The field itself is optimised, on images that are aligned by the affine alone.
    parts = prediction.parts
    if parts.matrix is not None:
        affine = parts._replace(displacement=0 * parts.displacement)
        tensors = tensors.warped(affine.whole_displacement()[None])
    # An affine model leaves everything else to be found.
    found = prediction if np.any(parts.displacement) else None
    return descend(tensors, found)._replace(matrix=parts.matrix)


def _judge(tensors, options, used, parts, before, *, may_fold=False):
    """Return the candidate of a field, or the one before if the field is not better."""
    measures = _measure(tensors, options, parts)
    is_better = measures["loss"] < before.measures["loss"]
    # A prediction may equal the affine, as that of images which need no field.
    if not (is_better or used == "model"):
        return before
    # Images that are nearly equal may still have fibres of other orientations.
    is_near = before.measures["ncc"] >= _NEARLY_EQUAL
    is_near = is_near and tensors.annotations.static_orientations is None
    fault = _find_fault(
        parts, measures, before.measures, may_fold=may_fold, is_near=is_near
    )
    if fault:
        name = "prediction of the model" if used == "model" else "optimised field"
        logger.warning(f"The {name} {fault}. It is not used.")
        return before
    return Candidate(used, parts, measures)


def _measure(tensors, options, parts):
    """Return the loss of the images, labels included, and their correlation."""
    displacement = ops.convert_to_tensor(parts.whole_displacement()[None])
    # Only the images are compared, not the smoothness of fields of several sources.
    measure = _measurer(replace(options.objective, penalties=()))
    loss, warped, weights = measure(displacement, *tensors.as_dicts())
    images = (ops.convert_to_numpy(image) for image in (tensors.static, warped))
    if weights is not None:
        # NaN counts as inside, so that the correlation is NaN as well.
        inside = ~(ops.convert_to_numpy(weights)[..., 0] <= 0)
        images = (image[inside] for image in images) if inside.any() else images
    return {"loss": float(loss), "ncc": metrics.ncc(*images)}


@lru_cache(maxsize=16)
def _measurer(objective):
    """Return a function that warps: the loss, the warped image, and the weights."""
    evaluate = Objective(objective)

    def measure(displacement, images, fills, annotations):
        warped = warp_moving(images, fills["moving"], displacement)
        outputs = {
            "static": images["static"],
            "warped": warped,
            "field": displacement,
            "displacement": displacement,
        }
        annotations = Annotations(**annotations)
        terms = evaluate(outputs, annotations)
        return ops.mean(terms["loss"]), warped, where_compared(annotations, outputs)

    return as_one_graph(measure)


def _find_fault(parts, measures, before, *, may_fold, is_near):
    """Return the reason for which a field is rejected, or None."""
    arrays = [part for part in (parts.displacement, parts.matrix) if part is not None]
    if not all(np.all(np.isfinite(array)) for array in arrays):
        return "holds values that are not finite"
    if not may_fold and (folding := _folding(parts)) > MAX_FOLDING:
        return f"folds at {folding:.4f} % of the voxels"
    if is_near and measures["ncc"] < before["ncc"] - _MAX_DECREASE:
        return (
            f"makes nearly equal images less similar: their correlation decreases from "
            f"{before['ncc']:.4f} to {measures['ncc']:.4f}"
        )
    if not measures["loss"] <= before["loss"]:
        return (
            f"makes the images less similar: the loss rises from "
            f"{before['loss']:.4f} to {measures['loss']:.4f}"
        )
    return None


def _folding(parts):
    """Return the percentage of voxels at which a field folds."""
    return 100 * where_folded(parts.displacement).mean()
