"""Prediction by a trained network: warped images, fields, and parts of a map."""

from copy import copy

import keras
from keras import ops
import numpy as np

from dipy_nn_reg.backend import JIT_COMPILE, layers_in
from dipy_nn_reg.checks import ANY, MIDDLE, check_dial, check_pairs, is_any
from dipy_nn_reg.losses.choice_checks import check_loss, check_penalty
from dipy_nn_reg.losses.objective import ObjectiveOptions
from dipy_nn_reg.mapping.affines import with_last_row
from dipy_nn_reg.mapping.inversion import invert_displacement
from dipy_nn_reg.mapping.parts import Parts, Prediction
from dipy_nn_reg.memory import check_memory
from dipy_nn_reg.tracing import check_not_forked
from dipy_nn_reg.training.dataset import PairDataset
from dipy_nn_reg.training.memory import memory_to_predict
from dipy_nn_reg.training.precision import MIN_IN_BFLOAT16
from dipy_nn_reg.transform.functions import integrate
from dipy_nn_reg.transform.kinds import TRANSFORMS, check_spacing
from dipy_nn_reg.transform.layers import INTEGRATION_STEPS, Background, Warp
from dipy_nn_reg.transform.pyramid import coarse_shape, enlarge

# Number of voxels in a batch: enough to keep the machine busy, few enough to fit in
# memory.
VOXELS_PER_BATCH = 2**18
# Outputs of a model that can be predicted.
PREDICTED = ("deformation", "displacement", "field", "matrix")
# Largest number of image sizes for which the estimate of memory is cached.
MAX_SIZES = 128


class Predictor:
    """Use of a trained network.

    Parameters
    ----------
    model : RegistrationModel

    Attributes
    ----------
    smoothness : float or None
        That of the predicted fields, from 0 to 1, if the model was trained for any.
    """

    def __init__(self, model):
        self.model, self.options = model, model.options
        self.smoothness = MIDDLE if is_any(self.options["smoothness"]) else None
        self.layout = {
            "ndim": len(self.options["input_shape"]),
            "num_channels": self.options["num_channels"],
        }
        fields = {n: o for n, o in model.output.items() if n in PREDICTED}
        with layers_in("float32"):
            # The images are warped as they are, not rescaled as for the network.
            moving = model.input["moving"]
            warped = Warp()(moving, fields["displacement"], Background()(moving))
            images = {"warped": warped, "displacement": fields["displacement"]}
            self._fields = keras.Model(model.input, fields)
            self._images = keras.Model(model.input, images)
        self._memory = {}
        for network in (self._fields, self._images):
            network.compile(jit_compile=JIT_COMPILE)

    def at(self, smoothness):
        """Return a predictor by the same network, of fields of another smoothness.

        Parameters
        ----------
        smoothness : float or None
            From 0, the roughest fields, to 1; None for that of this predictor.

        Raises
        ------
        ValueError
            If it is out of range, or if the model was trained for one alone.
        """
        if smoothness is None:
            return self
        if self.smoothness is None:
            raise ValueError(
                f"Expected smoothness with a model that was trained with smoothness="
                f"{ANY!r}. Received smoothness={smoothness!r} and a model that was "
                f"trained with smoothness={self.options['smoothness']!r}."
            )
        check_dial(smoothness)
        predictor = copy(self)
        predictor.smoothness = float(smoothness)
        return predictor

    def warp(self, moving, static):
        """Return warped images and their displacements."""
        pairs = self.pairs(moving, static)
        batches = [
            (outputs["warped"][:n], outputs["displacement"][:n])
            for _, outputs, n in self.outputs(pairs, self._images)
        ]
        warped, displacement = map(_join, zip(*batches))
        return warped.reshape(np.shape(moving)), displacement

    def predict(self, name, moving, static):
        """Return one of the outputs of the network, by its name."""
        pairs = self.pairs(moving, static)
        return _join([outputs[name][:n] for _, outputs, n in self.outputs(pairs)])

    def predict_on_grid(self, moving, static, *, finite=True):
        """Predict one pair of images on one grid.

        Parameters
        ----------
        moving, static : ndarray, shape (*spatial, channels)
        finite : bool, optional
            Raise an error unless the prediction is finite.

        Returns
        -------
        prediction : Prediction
        """
        kind = TRANSFORMS[self.options["transform"]]
        stride = self.options["field_stride"]
        pairs = self.pairs(moving[None], static[None])
        batch, outputs, _ = next(self.outputs(pairs, finite=finite))
        field, matrix = outputs["field"], outputs.get("matrix")

        def invert():
            if not kind.integrated or self.options["passes"] > 1:
                return invert_displacement(displacement)
            back = enlarge(
                integrate(-field, steps=INTEGRATION_STEPS), batch["static"], stride
            )
            return ops.convert_to_numpy(back)[0]

        displacement = outputs["displacement"][0]
        if matrix is not None:  # the predicted displacement contains the affine
            matrix = with_last_row(matrix)[0]
            displacement = (
                0 * displacement if kind.affine else outputs["deformation"][0]
            )
        velocity = field if kind.integrated else None
        return Prediction(Parts(displacement, invert, matrix), velocity, stride)

    def pairs(self, moving, static, *, for_loss=False):
        """Return checked images as a dataset, in batches that fit their size."""
        moving, static = check_pairs(moving, static, **self.layout)
        self.check_size(moving.shape[1:-1], for_loss=for_loss)
        voxels = int(np.prod(moving.shape[1:-1]))
        batch_size = max(1, VOXELS_PER_BATCH // voxels)
        pairs = PairDataset(
            moving, static, batch_size=batch_size, smoothness=self.smoothness
        )
        shape = (pairs.batch_size, *moving.shape[1:])
        check_memory(
            self._memory_to_predict(shape) + _size_of_fields(moving),
            what=f"Registering {len(moving)} pairs of {shape[1:-1]}",
            advice="Fewer pairs at a time, or images of larger voxels, need less.",
        )
        return pairs

    def outputs(self, pairs, network=None, *, finite=True):
        """Yield each batch, the outputs of the network, and the number of its pairs.

        A last batch of fewer pairs is filled up, since another size would be compiled
        anew. The number is that before filling.
        """
        check_not_forked()
        for i in range(len(pairs)):
            batch = pairs.whole_batch(i)
            n = len(batch["moving"])
            if n < pairs.batch_size:
                batch = {
                    name: np.resize(images, (pairs.batch_size, *images.shape[1:]))
                    for name, images in batch.items()
                }
            outputs = (network or self._fields).predict_on_batch(batch)
            if finite:
                _check_finite(outputs)
            yield batch, outputs, n

    def check_size(self, spatial, *, for_loss=False):
        """Raise ValueError unless images of a size can be registered.

        Parameters
        ----------
        spatial : tuple of int
        for_loss : bool, optional
            Whether the loss is computed as well, as in training.
        """
        options = self.options
        check_spacing(options["transform"], spatial, options["spacing"])
        if not for_loss:
            return
        for level in range(1 + len(self.model.output.get("coarser", []))):
            field = coarse_shape(spatial, options["field_stride"] * 2**level)
            shape = field if level else spatial
            check_loss(options["loss"], (1, *shape, options["num_channels"]))
            for penalty, _ in ObjectiveOptions.of(**options).penalties:
                check_penalty(penalty, (1, *field, len(spatial)))
        seen = coarse_shape(spatial, options["field_stride"])
        if options["precision"] != "float32" and min(seen) < MIN_IN_BFLOAT16:
            raise ValueError(
                f"Expected images with {MIN_IN_BFLOAT16} voxels or more along each "
                f"axis at the resolution of the network, with "
                f"precision={options['precision']!r}. Received images of "
                f"{tuple(spatial)}, which are {seen} at that resolution."
            )

    def _memory_to_predict(self, shape):
        """Return the bytes that a batch needs, from a cache: the estimate is slow."""
        if shape not in self._memory:
            if len(self._memory) >= MAX_SIZES:
                self._memory.clear()
            self._memory[shape] = memory_to_predict(self._images, shape)
        return self._memory[shape]


def _check_finite(outputs):
    """Raise ValueError unless all outputs are finite."""
    for name, values in outputs.items():
        if not np.all(np.isfinite(values)):
            raise ValueError(
                f"Expected a prediction with finite values. Received a {name} that is "
                "not finite. Either the weights of the model are not finite, as after "
                "a training that diverged, or the range of the images is too large for "
                "float32."
            )


def _size_of_fields(images):
    """Return the bytes of a displacement for each of the images."""
    return 4 * (images.ndim - 2) * int(np.prod(images.shape[:-1]))


def _join(batches):
    """Return batches as one array; a single batch, as of a large volume, uncopied."""
    return batches[0] if len(batches) == 1 else np.concatenate(batches)
