"""Find the best sound field between two images on one grid."""

from functools import lru_cache

from dipy.utils.logging import logger
from keras import ops
from nibabel.affines import apply_affine
import numpy as np

from dipy_nn_reg import metrics
from dipy_nn_reg.annotations import one_hot
from dipy_nn_reg.backend import as_one_graph
from dipy_nn_reg.coarse import coarse_shape, enlarge
from dipy_nn_reg.fields import check_spacing
from dipy_nn_reg.layers import INTEGRATION_STEPS, RescaleIntensity
from dipy_nn_reg.memory import check_memory, memory_to_optimize
from dipy_nn_reg.objective import Objective, hashable_options, options_of
from dipy_nn_reg.options import check_loss, check_penalties
from dipy_nn_reg.physical import Parts
from dipy_nn_reg.refine import optimize_velocity, unfold, where_folded
from dipy_nn_reg.transform import compose, identity_grid, integrate, warp

# Most iterations on images shrunk by 8, 4, 2 and 1; after a model, by 2 and 1.
LEVEL_ITERS, LEVEL_ITERS_AFTER_MODEL = (10, 10, 20, 30), (10, 5)
# Correlation of images between which there is nothing to find: a loss of small windows
# would still gain a little where they are almost flat.
EQUAL = 1 - 1e-6
# In percent of the voxels: a field with more is not returned.
MOST_FOLDING = 0.001


class Pair:
    """From what a model predicts to what is returned.

    Parameters
    ----------
    model : dipy_nn_reg.registration.Registration or None
    optimize : bool
        Whether a sound prediction is optimised as well.
    options : dict
        As :func:`~dipy_nn_reg.refine.optimize_velocity` takes them.
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
        **annotations : ndarray, shape (*spatial,)
            ``mask``, or ``moving_labels`` and ``static_labels``, or all of them.
        """
        images = moving, static
        rescale = RescaleIntensity()
        moving, static = (
            rescale(ops.convert_to_tensor(i[None].astype(np.float32))) for i in images
        )
        y = _as_tensors(annotations)
        still = np.zeros((*static.shape[1:-1], len(static.shape) - 2), np.float32)
        used, best, velocity = "affine", Parts(still, lambda: still), None
        before = after = self._measure(moving, static, best, y)
        if before["ncc"] > EQUAL:
            self._note("affine", before, after)
            return best
        if self.model is not None:
            parts, velocity = self.model._predict_pair(*images)
            finite = np.all(np.isfinite(parts.displacement))
            if velocity is not None and finite and _folding(parts):
                stride = self.model.model.options["field_stride"]
                mended = _unfold(velocity, static, stride)
                parts = mended._replace(matrix=parts.matrix)
            measured = self._measure(moving, static, parts, y)
            if _is_sound("The prediction of the model", parts, measured, before):
                used, best, after = "model", parts, measured
        if self.optimize or used == "affine":
            if used == "model":
                parts = self._go_on(moving, static, y, best, velocity)
            else:
                parts = self._optimize(moving, static, y, LEVEL_ITERS)
            measured = self._measure(moving, static, parts, y)
            better = measured["loss"] < after["loss"]
            if better and _is_sound("The optimised field", parts, measured, after):
                used = "optimized" if used == "affine" else "model, optimized"
                best, after = parts, measured
        if used == "affine":
            logger.warning("No field was found: the affine alone is returned.")
        self._note(used, before, after)
        return best

    def _go_on(self, moving, static, y, start, velocity):
        """Optimise from where a prediction ends."""
        if velocity is not None:  # it goes on itself; only an affine has been done
            if start.matrix is not None:
                done = start._replace(displacement=0 * start.displacement)
                moving = warp(moving, _whole_displacement(done)[None])
            stride = self.model.model.options["field_stride"]
            parts = self._optimize(
                moving, static, y, LEVEL_ITERS_AFTER_MODEL, velocity, stride
            )
            return parts._replace(matrix=start.matrix)
        moving = warp(moving, _whole_displacement(start)[None])
        parts = self._optimize(moving, static, y, LEVEL_ITERS_AFTER_MODEL)
        return Parts(
            compose(start.displacement, parts.displacement),
            lambda: compose(parts.invert(), start.invert()),
            start.matrix,
        )

    def _optimize(self, moving, static, y, level_iters, velocity=None, stride=1):
        velocity = optimize_velocity(
            moving,
            static,
            y,
            self.options,
            level_iters=self.level_iters or level_iters,
            velocity=velocity,
            velocity_stride=stride,
        )
        return _unfold(velocity, static, self.options["field_stride"])

    def _measure(self, moving, static, parts, y):
        """Return how dissimilar the images are, labels included, and their NCC."""
        displacement = ops.convert_to_tensor(_whole_displacement(parts)[None])
        # What is penalised is how it came about, not how alike the images are.
        objective = hashable_options({**self.options, "penalty": {}})
        loss, warped = _measurer(objective)(moving, static, displacement, y)
        images = (ops.convert_to_numpy(image) for image in (static, warped))
        return {"loss": float(loss), "ncc": metrics.ncc(*images)}

    def _note(self, used, before, after):
        self.found = {"used": used}
        for name in before:
            self.found |= {f"{name}_before": before[name], f"{name}_after": after[name]}


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

    def measure(moving, static, displacement, y):
        warped = warp(moving, displacement)
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
    labels = np.unique([label for a in maps.values() for label in np.unique(a)])
    for name, label_maps in maps.items():
        shares = one_hot(label_maps, labels[labels != 0])
        tensors[name] = ops.convert_to_tensor(shares)
    return tensors


def _is_sound(what, parts, measured, limit):
    """Tell whether a field may be returned; the log says why not."""
    wrong = None
    found = [part for part in (parts.displacement, parts.matrix) if part is not None]
    if not all(np.all(np.isfinite(part)) for part in found):
        wrong = "holds values that are not finite"
    elif (folding := _folding(parts)) > MOST_FOLDING:
        wrong = f"folds at {folding:.4f} % of the voxels"
    elif not measured["loss"] <= limit["loss"]:
        wrong = (
            f"makes the images less similar: the loss goes from {limit['loss']:.4f} "
            f"to {measured['loss']:.4f}"
        )
    if wrong:
        logger.warning(f"{what} {wrong}. It is not used.")
    return not wrong


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
