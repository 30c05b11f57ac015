"""Find the best sound field between two images on one grid."""

from functools import lru_cache
from typing import NamedTuple

from dipy.utils.logging import logger
from keras import ops
from nibabel.affines import apply_affine
import numpy as np

from dipy_nn_reg import metrics
from dipy_nn_reg.backend import as_one_graph
from dipy_nn_reg.losses.choices import check_loss, check_penalties
from dipy_nn_reg.losses.objective import Objective, hashable_options, options_of
from dipy_nn_reg.mapping.physical import Parts
from dipy_nn_reg.memory import check_memory, memory_to_optimize
from dipy_nn_reg.pairwise.descent import optimize_velocity, unfold, where_folded
from dipy_nn_reg.training.annotations import one_hot
from dipy_nn_reg.transform.functions import compose, identity_grid, integrate, warp
from dipy_nn_reg.transform.kinds import check_spacing
from dipy_nn_reg.transform.layers import INTEGRATION_STEPS, intensity_range, rescale
from dipy_nn_reg.transform.pyramid import coarse_shape, enlarge

# Most iterations on images shrunk by 8, 4, 2 and 1; after a model, by 2 and 1.
LEVEL_ITERS, LEVEL_ITERS_AFTER_MODEL = (10, 10, 20, 30), (10, 4)
# Correlation of images between which there is nothing to find: a loss of small windows
# would still gain a little where they are almost flat.
EQUAL = 1 - 1e-6
# Where the correlation is so high, a fall of more than this says more than a loss of
# small windows, which still gains a little from noise.
_NEARLY_EQUAL, _SMALL_LOSS = 0.995, 0.001
# In percent of the voxels: a field with more is not returned.
MOST_FOLDING = 0.001


class _Found(NamedTuple):
    """A map, how it was found, and how alike the images are by it."""

    used: str
    parts: Parts
    measured: dict


class Pair:
    """From what a model predicts to what is returned.

    Parameters
    ----------
    model : dipy_nn_reg.registration.Registration or None
    optimize : bool
        Whether a sound prediction is optimised as well.
    options : dict
        As :func:`~dipy_nn_reg.pairwise.descent.optimize_velocity` takes them.
    level_iters : sequence of int or None

    Attributes
    ----------
    found : dict
        What a report says of the images, once they are registered.
    """

    def __init__(self, model, optimize, options, level_iters):
        self.model, self.optimize = model, optimize or model is None
        self.options, self.level_iters = options, level_iters
        self.found = {}

    def check_size(self, shape, labels=0):
        """Raise an error unless images of a shape can be registered.

        Parameters
        ----------
        shape : tuple of int
            (*spatial, channels)
        labels : int, optional
            Number of labels whose overlap counts.
        """
        options, spatial = self.options, shape[:-1]
        check_loss(options["loss"], (1, *shape))
        check_spacing(options["transform"], spatial, options["spacing"])
        field = coarse_shape(spatial, options["field_stride"])
        check_penalties(options, (1, *field, len(spatial)))
        check_memory(
            memory_to_optimize(options["loss"], (1, *shape), labels),
            what=f"Registering images of {spatial}",
            advice="A voxel_size above that of the images needs less.",
        )

    def register(self, moving, static, **annotations):
        """Return the Parts of a map: of a model, optimised, or those of no motion.

        Parameters
        ----------
        moving, static : ndarray, shape (*spatial, channels)
            With a background of 0.
        **annotations : ndarray, shape (*spatial,)
            ``mask``, or ``moving_labels`` and ``static_labels``, or all of them.
        """
        images = moving, static
        (self.moving, self.fill), (self.static, static_fill) = map(_rescale, images)
        self.fills = {"moving": self.fill, "static": static_fill}
        self.y = _as_tensors(annotations)
        still = np.zeros((*static.shape[:-1], static.ndim - 1), np.float32)
        parts = Parts(still, lambda: still)
        affine = found = _Found("affine", parts, self._measure(parts))
        if affine.measured["ncc"] <= EQUAL:
            found = affine if self.model is None else self._from_model(images, affine)
            if found is affine:
                found = self._judge("optimized", self._optimize(LEVEL_ITERS), affine)
            if found is affine:
                logger.warning("No field was found: the affine alone is returned.")
        self._note(found.used, affine.measured, found.measured)
        return found.parts

    def _from_model(self, images, affine):
        """Return what a model predicts, optimised if it may be; or the affine alone."""
        parts, velocity = self.model._predict_pair(*images)
        # A velocity that folds is smoothed, but not before it has been optimised.
        start = self._judge("model", parts, affine, may_fold=velocity is not None)
        if start is affine:
            return affine
        if self.optimize:
            found = self._judge("model, optimized", self._go_on(parts, velocity), start)
            if found is not start:
                return found
        if velocity is None or not _folding(parts):
            return start
        mended = _unfold(velocity, self.static, self._model_stride)
        return self._judge("model", mended._replace(matrix=parts.matrix), affine)

    def _go_on(self, start, velocity):
        """Optimise from where a prediction ends."""
        if velocity is not None:  # it goes on itself; only an affine has been done
            moving = self.moving
            if start.matrix is not None:
                done = start._replace(displacement=0 * start.displacement)
                moving = self._warp(done)
            parts = self._optimize(
                LEVEL_ITERS_AFTER_MODEL, moving, velocity, self._model_stride
            )
            return parts._replace(matrix=start.matrix)
        moving = self._warp(start)
        parts = self._optimize(LEVEL_ITERS_AFTER_MODEL, moving)
        return Parts(
            compose(start.displacement, parts.displacement),
            lambda: compose(parts.invert(), start.invert()),
            start.matrix,
        )

    def _optimize(self, level_iters, moving=None, velocity=None, stride=1):
        velocity = optimize_velocity(
            self.moving if moving is None else moving,
            self.static,
            self.y,
            self.options,
            fills=self.fills,
            level_iters=self.level_iters or level_iters,
            velocity=velocity,
            velocity_stride=stride,
        )
        return _unfold(velocity, self.static, self.options["field_stride"])

    @property
    def _model_stride(self):
        return self.model.model.options["field_stride"]

    def _warp(self, parts):
        """Warp the moving image by Parts."""
        return warp(self.moving, _whole_displacement(parts)[None], fill=self.fill)

    def _judge(self, used, parts, before, *, may_fold=False):
        """Return what was found now; or what was before, if this is no better."""
        measured = self._measure(parts)
        gains = measured["loss"] < before.measured["loss"]
        # A model may find that there is nothing to do.
        if not (gains or used == "model"):
            return before
        wrong = _find_wrong(parts, measured, before.measured, may_fold)
        if wrong:
            what = "prediction of the model" if used == "model" else "optimised field"
            logger.warning(f"The {what} {wrong}. It is not used.")
            return before
        return _Found(used, parts, measured)

    def _measure(self, parts):
        """Return how dissimilar the images are, labels included, and their NCC."""
        displacement = ops.convert_to_tensor(_whole_displacement(parts)[None])
        # What is penalised is how it came about, not how alike the images are.
        measure = _measurer(hashable_options({**self.options, "penalty": {}}))
        loss, warped = measure(
            self.moving, self.static, self.fill, displacement, self.y
        )
        images = (ops.convert_to_numpy(image) for image in (self.static, warped))
        return {"loss": float(loss), "ncc": metrics.ncc(*images)}

    def _note(self, used, before, after):
        self.found = {"used": used}
        for name in before:
            self.found |= {f"{name}_before": before[name], f"{name}_after": after[name]}


def _rescale(image):
    """Return an image from 0 to 1, and its background there, shape (1, channels)."""
    image = ops.convert_to_tensor(image[None].astype(np.float32))
    ends = intensity_range(image)
    fill = rescale(ops.zeros_like(ends[0]), *ends)
    return rescale(image, *ends), ops.reshape(fill, (1, image.shape[-1]))


def _unfold(velocity, static, stride):
    """Return Parts of a velocity, smoothed where they would fold."""

    def displace(velocity):
        displacement = integrate(velocity, steps=INTEGRATION_STEPS)
        return enlarge(displacement, static, stride)

    velocity, displacement = unfold(velocity, displace)
    return Parts(displacement, lambda: ops.convert_to_numpy(displace(-velocity))[0])


@lru_cache(maxsize=16)
def _measurer(options):
    """Return a function: how dissimilar images are after a warp, and the warped one."""
    objective = Objective(options_of(options))

    def measure(moving, static, fill, displacement, y):
        warped = warp(moving, displacement, fill=fill)
        outputs = {
            "static": static,
            "warped": warped,
            "field": displacement,
            "displacement": displacement,
        }
        return ops.mean(objective(outputs, y)["loss"]), warped

    return as_one_graph(measure)


def _as_tensors(annotations):
    """Return a mask as it is, and label maps as shares of each label."""
    tensors = {}
    if "mask" in annotations:
        mask = annotations["mask"][None, ..., None] > 0
        tensors["mask"] = ops.convert_to_tensor(mask.astype(np.float32))
    maps = {n: a[None] for n, a in annotations.items() if n.endswith("labels")}
    labels = np.setdiff1d(np.union1d(*maps.values()), 0) if maps else ()
    for name, label_maps in maps.items():
        shares = one_hot(label_maps, labels)
        tensors[name] = ops.convert_to_tensor(shares)
    return tensors


def _find_wrong(parts, measured, before, may_fold):
    """Return why a field may not be returned, or nothing."""
    found = [part for part in (parts.displacement, parts.matrix) if part is not None]
    if not all(np.all(np.isfinite(part)) for part in found):
        return "holds values that are not finite"
    if not may_fold and (folding := _folding(parts)) > MOST_FOLDING:
        return f"folds at {folding:.4f} % of the voxels"
    nearly_equal = before["ncc"] >= _NEARLY_EQUAL
    if nearly_equal and measured["ncc"] < before["ncc"] - _SMALL_LOSS:
        return (
            f"makes images less similar that are nearly equal: their correlation goes "
            f"from {before['ncc']:.4f} to {measured['ncc']:.4f}"
        )
    if not measured["loss"] <= before["loss"]:
        return (
            f"makes the images less similar: the loss goes from {before['loss']:.4f} "
            f"to {measured['loss']:.4f}"
        )
    return None


def _folding(parts):
    """Return the percentage of voxels at which a field folds."""
    return 100 * where_folded(parts.displacement).mean()


def _whole_displacement(parts):
    """Return the displacement of Parts with their affine, in voxels."""
    if parts.matrix is None:
        return parts.displacement
    grid = identity_grid(parts.displacement.shape[:-1])
    moved = apply_affine(parts.matrix, grid + parts.displacement) - grid
    return moved.astype(np.float32)
