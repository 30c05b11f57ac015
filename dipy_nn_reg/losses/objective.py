"""What is minimised, when a network is trained and when one pair is optimised."""

from keras import ops

from dipy_nn_reg.losses.choices import evaluate_penalty, get_loss, get_penalties
from dipy_nn_reg.losses.penalties import inverse_consistency
from dipy_nn_reg.losses.supervision import label_overlap, landmark_error
from dipy_nn_reg.transform.functions import warp
from dipy_nn_reg.transform.pyramid import shrink

# Of the losses of a network with several fields, the finest first (Li and Fan, 2017).
LEVEL_WEIGHTS = (1.0, 0.6, 0.3)
_OPTIONS = ("loss", "penalty", "smoothness", "label_weight", "landmark_weight")


def hashable_options(options):
    """Return the options of an :class:`Objective` as what a cache can look up."""
    found = [(name, options[name]) for name in _OPTIONS]
    return tuple((n, tuple(o.items()) if isinstance(o, dict) else o) for n, o in found)


def options_of(hashable):
    """Return the options that :func:`hashable_options` was given."""
    return {n: dict(o) if isinstance(o, tuple) else o for n, o in hashable}


class Objective:
    """Dissimilarity, penalties, and what labels and landmarks add.

    Parameters
    ----------
    options : dict
        With ``loss``, ``penalty``, ``smoothness``, ``label_weight`` and
        ``landmark_weight``, as of :class:`~dipy_nn_reg.model.DeformableRegistration`.
    """

    def __init__(self, options):
        self.dissimilarity = get_loss(options["loss"])
        self.penalties = get_penalties(options)
        self.label_weight = options["label_weight"]
        self.landmark_weight = options["landmark_weight"]

    def __call__(self, outputs, y):
        """Return the terms of the loss for each pair.

        Parameters
        ----------
        outputs : dict of tensor
            ``static``, ``warped``, ``field`` and ``displacement``; the same of the
            other direction as ``backward``, and of coarser images as a list
            ``coarser``, where there are any.
        y : dict of tensor
            Mask, labels and landmarks of a batch.

        Returns
        -------
        terms : dict of tensor, shape (batch,)
            ``loss`` is all that is to be minimised, ``penalty`` its part of the
            penalties; ``label_overlap`` and ``landmark_error`` where they are known.
        """
        terms = self._one_way(outputs, y)
        if "backward" in outputs:
            forward = outputs["displacement"]
            backward = outputs["backward"]["displacement"]
            other = self._one_way(outputs["backward"], _swap(y, backward))
            terms = {name: (term + other[name]) / 2 for name, term in terms.items()}
            weight = self.penalties["inverse_consistency"]
            inconsistent = weight * inverse_consistency(forward, backward)
            terms["penalty"] += inconsistent
            terms["loss"] += inconsistent
        return terms

    def _one_way(self, outputs, y):
        mask = y.get("mask")
        loss = penalty = 0.0
        for weight, level in zip(LEVEL_WEIGHTS, [outputs, *outputs.get("coarser", [])]):
            loss += weight * self.dissimilarity(level["static"], level["warped"], mask)
            penalty += weight * self._penalty(level)
            mask = None if mask is None else shrink(mask, 2)
        terms = {"penalty": penalty}
        loss += penalty
        displacement = outputs["displacement"]
        if "static_labels" in y:
            static, moving = (y[f"{image}_labels"] for image in ("static", "moving"))
            overlap = label_overlap(
                static, warp(moving, displacement, image_is_constant=True)
            )
            terms["label_overlap"] = overlap
            loss += self.label_weight * (1 - overlap)
        if "static_landmarks" in y:
            error = landmark_error(
                displacement, y["static_landmarks"], y["moving_landmarks"]
            )
            terms["landmark_error"] = error
            loss += self.landmark_weight * error
        return {"loss": loss, **terms}

    def _penalty(self, level):
        penalty = ops.zeros(ops.shape(level["field"])[:1], dtype="float32")
        for name, weight in self.penalties.items():
            if name != "inverse_consistency":
                penalty += weight * evaluate_penalty(
                    name, field=level["field"], displacement=level["displacement"]
                )
        return penalty


def _swap(y, displacement):
    """Return what supervises the other direction; masks are those of static images."""
    swapped = {}
    for kind in ("labels", "landmarks"):
        if f"static_{kind}" in y:
            swapped[f"static_{kind}"] = y[f"moving_{kind}"]
            swapped[f"moving_{kind}"] = y[f"static_{kind}"]
    if "mask" in y:
        # A field must not learn to move the mask away from what is dissimilar.
        swapped["mask"] = ops.stop_gradient(warp(y["mask"], displacement))
    return swapped
