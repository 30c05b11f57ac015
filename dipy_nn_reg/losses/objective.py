"""Objective that registration minimises, in training and by descent for one pair."""

from collections.abc import Callable
from dataclasses import dataclass

from keras import ops

from dipy_nn_reg.checks import is_any
from dipy_nn_reg.losses.choice_checks import default_smoothness
from dipy_nn_reg.losses.choices import evaluate_loss, get_penalty
from dipy_nn_reg.losses.penalties import inverse_consistency
from dipy_nn_reg.losses.supervision import (
    label_overlap,
    landmark_error,
    misalignment,
)
from dipy_nn_reg.transform.functions import warp
from dipy_nn_reg.transform.orientations import turn
from dipy_nn_reg.transform.pyramid import shrink

# Weights of the levels of a network with several fields, the finest level first (Li and
# Fan, 2017).
LEVEL_WEIGHTS = (1.0, 0.6, 0.3)
# Factor of the weight of the penalty at a smoothness of 1, for models that are trained
# for any; at 0 the weight is divided by it, and at 0.5 it is the default one.
STRONGEST = 10.0


@dataclass(frozen=True)
class ObjectiveOptions:
    """Terms of an objective and their weights; hashable.

    Attributes
    ----------
    loss : str or callable
    penalties : tuple of (str or callable, float)
        Penalties, each a name or a function of the field, with their weights.
    label_weight, landmark_weight, orientation_weight : float
    coarser_stride : int
        Of a network of several fields, distance in voxels of the values of the finest
        one; that of each further one is twice as large.
    """

    loss: str | Callable
    penalties: tuple = ()
    label_weight: float = 1.0
    landmark_weight: float = 0.0
    orientation_weight: float = 0.0
    coarser_stride: int = 1

    @classmethod
    def of(
        cls,
        *,
        loss,
        penalty,
        smoothness,
        label_weight,
        landmark_weight,
        orientation_weight=0.0,
        field_stride=1,
        **others,
    ):
        """Return the terms that the options of a model define; ``others`` are ignored.

        See :class:`~dipy_nn_reg.model.DeformableRegistration`.
        """
        if is_any(smoothness):
            smoothness = default_smoothness(loss, penalty, others["transform"])
        weights = penalty if isinstance(penalty, dict) else {penalty: smoothness}
        return cls(
            loss,
            tuple(weights.items()),
            label_weight,
            landmark_weight,
            orientation_weight,
            field_stride,
        )

    @property
    def needs_both_directions(self):
        """Whether a penalty needs the displacements of both directions."""
        return bool(self._of_both_directions)

    @property
    def weight_of_both_directions(self):
        """Weight of the penalty of the displacements of both directions."""
        return sum(self._of_both_directions)

    @property
    def _of_both_directions(self):
        return [w for p, w in self.penalties if get_penalty(p).of == "both directions"]


class Objective:
    """Dissimilarity of images, penalties of fields, and supervision by annotations.

    Parameters
    ----------
    options : ObjectiveOptions
    """

    def __init__(self, options):
        self.options = options

    def __call__(self, outputs, annotations):
        """Return the terms of the objective for each pair.

        Parameters
        ----------
        outputs : dict of tensor
            ``static``, ``warped``, ``field`` and ``displacement``. Optionally, the same
            for the other direction as ``backward``, and for coarser images as a list
            ``coarser``; ``smoothness`` of each pair, from 0 to 1, shape (batch, 1).
        annotations : Annotations
            Tensors. Labels are the fraction of each label in each voxel; masks have
            shape (batch, *spatial, 1). The images are compared where the mask and the
            warped ``moving_mask`` are.

        Returns
        -------
        terms : dict of tensor, shape (batch,)
            ``loss`` is the sum that is minimised, and ``penalty`` the weighted sum of
            the penalties. With labels, landmarks or orientations, ``label_overlap``,
            ``landmark_error`` or ``misalignment``.
        """
        terms = self._one_way(outputs, annotations)
        if "backward" in outputs:
            forward = outputs["displacement"]
            backward = outputs["backward"]["displacement"]
            other = self._one_way(outputs["backward"], annotations.swapped())
            terms = {name: (term + other[name]) / 2 for name, term in terms.items()}
            weight = self.options.weight_of_both_directions
            inconsistent = weight * inverse_consistency(forward, backward)
            inconsistent *= _factor(outputs)
            terms["penalty"] += inconsistent
            terms["loss"] += inconsistent
        return terms

    def _one_way(self, outputs, annotations):
        options, mask = self.options, where_compared(annotations, outputs)
        whole_mask = mask
        loss, penalty, stride = 0.0, 0.0, 2 * options.coarser_stride
        for weight, level in zip(LEVEL_WEIGHTS, [outputs, *outputs.get("coarser", [])]):
            static, warped = level["static"], level["warped"]
            loss += weight * evaluate_loss(options.loss, static, warped, mask)
            penalty += weight * self._penalty(level)
            mask, stride = None if mask is None else shrink(mask, stride), 2
        terms = _supervision(outputs["displacement"], annotations, whole_mask)
        penalty *= _factor(outputs)
        loss += penalty
        if "label_overlap" in terms:
            loss += options.label_weight * (1 - terms["label_overlap"])
        if "misalignment" in terms:
            loss += options.orientation_weight * terms["misalignment"]
        if "landmark_error" in terms:
            loss += options.landmark_weight * terms["landmark_error"]
        return {"loss": loss, "penalty": penalty, **terms}

    def _penalty(self, level):
        total = ops.zeros(ops.shape(level["field"])[:1], dtype="float32")
        for choice, weight in self.options.penalties:
            penalty = get_penalty(choice)
            if penalty.of != "both directions":
                total += weight * penalty.function(level[penalty.of])
        return total


def _factor(outputs):
    """Return the factor of the weights of the penalties, one for each pair if any."""
    if "smoothness" not in outputs:
        return 1.0
    return STRONGEST ** (2 * outputs["smoothness"][:, 0] - 1)


def _supervision(displacement, annotations, mask):
    """Return what the annotations tell of a displacement, by name."""
    terms = {}
    if annotations.static_labels is not None:
        moving = annotations.moving_labels
        warped = warp(moving, displacement, image_is_constant=True)
        terms["label_overlap"] = label_overlap(annotations.static_labels, warped)
    if annotations.static_orientations is not None:
        moving = annotations.moving_orientations
        warped = warp(moving, displacement, image_is_constant=True)
        terms["misalignment"] = misalignment(
            annotations.static_orientations, turn(warped, displacement), mask
        )
    if annotations.static_landmarks is not None:
        terms["landmark_error"] = landmark_error(
            displacement, annotations.static_landmarks, annotations.moving_landmarks
        )
    return terms


def where_compared(annotations, outputs):
    """Return the weight of each voxel of the static image in the loss.

    Parameters
    ----------
    annotations : Annotations
        Tensors.
    outputs : dict of tensor
        ``displacement``, by which the mask of the moving image is warped.

    Returns
    -------
    weights : tensor, shape (batch, *spatial, 1), or None
        Product of both masks; None without masks.
    """
    mask, moving_mask = annotations.mask, annotations.moving_mask
    if moving_mask is None:
        return mask
    # Without a gradient: a field must not learn to move the mask away from differences.
    warped = ops.stop_gradient(warp(moving_mask, outputs["displacement"]))
    return warped if mask is None else mask * warped
