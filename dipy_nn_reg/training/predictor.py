"""What a trained network is used for: warped images, fields and maps."""

import keras
from keras import ops
import numpy as np

from dipy_nn_reg.backend import JIT_COMPILE
from dipy_nn_reg.checks import check_pairs
from dipy_nn_reg.losses.choices import check_loss, check_penalties
from dipy_nn_reg.mapping.maps import invert_displacement, with_last_row
from dipy_nn_reg.mapping.physical import Parts, predict_mapping
from dipy_nn_reg.memory import check_memory, memory_to_predict
from dipy_nn_reg.tracing import check_not_forked
from dipy_nn_reg.training.dataset import Pairs
from dipy_nn_reg.training.precision import FEWEST_IN_BFLOAT16, layers_in
from dipy_nn_reg.transform.functions import integrate
from dipy_nn_reg.transform.kinds import TRANSFORMS, check_spacing
from dipy_nn_reg.transform.layers import INTEGRATION_STEPS, Background, Warp
from dipy_nn_reg.transform.pyramid import coarse_shape, enlarge

# What is predicted at a time: enough to keep the machine busy, little to hold.
VOXELS_PER_BATCH = 2**18
PREDICTED = ("displacement", "field", "matrix")
# Sizes of images for which it is remembered how much memory they need.
SIZES_KNOWN = 128


class Prediction:
    """Use a :class:`~dipy_nn_reg.training.keras_model.RegistrationModel`.

    Attributes
    ----------
    model : keras.Model
    """

    def _adopt(self, model):
        self.model = model
        fields = {n: o for n, o in model.output.items() if n in PREDICTED}
        with layers_in("float32"):
            # The images as they came are warped, not rescaled ones.
            moving = model.input["moving"]
            warped = Warp()(moving, fields["displacement"], Background()(moving))
            images = {"warped": warped, "displacement": fields["displacement"]}
            self._predictor = keras.Model(model.input, fields)
            self._warper = keras.Model(model.input, images)
        self._memory_known = {}
        for predictor in (self._predictor, self._warper):
            predictor.compile(jit_compile=JIT_COMPILE)

    def predict(self, moving, static, *, return_field=False):
        """Warp moving images to static ones.

        Parameters
        ----------
        moving : ndarray, shape (n, *spatial) or (n, *spatial, channels)
        static : ndarray
            One image, with or without an axis for n, or one for each moving image.
        return_field : bool, optional
            Return the displacement as well, which takes no more time.

        Returns
        -------
        warped : ndarray, float32
            In the layout and the intensities of ``moving``.
        displacement : ndarray, shape (n, *spatial, ndim)
            If asked for, as of :meth:`predict_field`.

        Raises
        ------
        ValueError
            If the images do not fit the model or each other, or hold values that are
            not finite; or if what is predicted is not, as by weights of a training that
            diverged.
        MemoryError
            If more memory is needed than there is.
        """
        pairs = self._pairs(moving, static)
        wanted = ("warped", "displacement") if return_field else ("warped",)
        found = [
            [outputs[name][:n] for name in wanted]
            for _, outputs, n in self._outputs(pairs, self._warper)
        ]
        warped, *displacement = map(_join, zip(*found))
        warped = warped.reshape(np.shape(moving))
        return (warped, *displacement) if return_field else warped

    def predict_field(self, moving, static):
        """Predict displacements: ``warped(x) = moving(x + u(x))``.

        Parameters
        ----------
        moving, static : ndarray
            As for :meth:`predict`.

        Returns
        -------
        displacement : ndarray, shape (n, *spatial, ndim)
            Float32, in voxels; component d moves along axis d.

        Raises
        ------
        ValueError
            As :meth:`predict`.
        """
        pairs = self._pairs(moving, static)
        return _join([o["displacement"][:n] for _, o, n in self._outputs(pairs)])

    def predict_mapping(
        self,
        moving,
        static,
        *,
        moving_affine=None,
        static_affine=None,
        prealign=None,
        voxel_size=None,
    ):
        """Register one pair of images, on any grids, and return DIPY's map.

        The moving image is resampled to the static grid for the network; the map reads
        the one that was given, and interpolates it once.

        Parameters
        ----------
        moving, static : ndarray, shape (*spatial,) or (*spatial, channels)
            Of any sizes.
        moving_affine, static_affine : ndarray, shape (ndim + 1, ndim + 1), optional
            From voxels to world coordinates in mm. Without them both images are on one
            grid. A 2D model takes affines of 4 x 4 as well, those of slices as NIfTI
            files have them: the map is then one in 3D, of a single slice.
        prealign : {"affine", "rigid"} or ndarray, optional
            From static to moving world coordinates, shape (ndim + 1, ndim + 1), as
            ``dipy.align.affine_registration`` returns it; or how DIPY is to find it.
        voxel_size : float, optional
            In mm, for the images that the network sees: that of the images with which
            it was trained. By default it sees the voxels of the static image.

        Returns
        -------
        mapping : dipy.align.imwarp.DiffeomorphicMap
            ``mapping.transform(moving)`` is the moving image on the static grid, in its
            own intensities; ``mapping.transform_inverse(static)`` the reverse. The
            inverse is integrated from the velocity if there is one, else computed by
            fixed-point iteration. An affine first stage becomes part of the map's
            prealignment. The fields of the map are in mm.

        Raises
        ------
        ValueError
            As :meth:`predict`, if an affine has the wrong shape or cannot be inverted,
            and if the images do not overlap.
        """
        return predict_mapping(
            self._predict_parts,
            moving,
            static,
            moving_affine=moving_affine,
            static_affine=static_affine,
            prealign=prealign,
            voxel_size=voxel_size,
            **self._layout(),
        )

    def _predict_parts(self, moving, static):
        """Return what is predicted for one pair, as Parts."""
        parts, _ = self._predict_pair(moving, static)
        found = {"displacement": parts.displacement, "matrix": parts.matrix}
        _check_finite({n: values for n, values in found.items() if values is not None})
        return parts

    def _predict_pair(self, moving, static):
        """Return Parts, and the velocity if there is one, else None.

        Whether they are finite is for the caller to say.
        """
        kind = TRANSFORMS[self.model.options["transform"]]
        stride = self.model.options["field_stride"]
        pairs = self._pairs(moving[None], static[None])
        batch, outputs, _ = next(self._outputs(pairs, finite=False))

        field, matrix = outputs["field"], outputs.get("matrix")

        def displace(field):
            if kind.integrated:
                field = integrate(field, steps=INTEGRATION_STEPS)
            return ops.convert_to_numpy(enlarge(field, batch["static"], stride))[0]

        def invert():
            if kind.integrated:
                return displace(-field)
            return invert_displacement(displacement)

        if matrix is None:
            displacement = outputs["displacement"][0]
        else:  # which is part of that one
            matrix = with_last_row(matrix)[0]
            displacement = displace(0 * field if kind.affine else field)
        velocity = field if kind.integrated else None
        return Parts(displacement, invert, matrix), velocity

    def _layout(self):
        options = self.model.options
        return {
            "ndim": len(options["input_shape"]),
            "num_channels": options["num_channels"],
        }

    def _check_size(self, spatial, *, training=False):
        """Raise ValueError unless images of a size can be registered."""
        options = self.model.options
        check_spacing(options["transform"], spatial, options["spacing"])
        if not training:
            return
        for level in range(1 + len(self.model.output.get("coarser", []))):
            shape = tuple(-(-size // 2**level) for size in spatial)
            check_loss(options["loss"], (1, *shape, options["num_channels"]))
            field = coarse_shape(shape, options["field_stride"])
            check_penalties(options, (1, *field, len(spatial)))
        seen = coarse_shape(spatial, options["field_stride"])
        if options["precision"] != "float32" and min(seen) < FEWEST_IN_BFLOAT16:
            raise ValueError(
                f"Expected images whose network sees {FEWEST_IN_BFLOAT16} voxels or "
                f"more along each axis, with precision={options['precision']!r}. "
                f"Received images of {tuple(spatial)}, of which it sees {seen}."
            )

    def _pairs(self, moving, static, *, training=False):
        """Return pairs for prediction, in batches that fit the size of the images."""
        moving, static = check_pairs(moving, static, **self._layout())
        self._check_size(moving.shape[1:-1], training=training)
        voxels = int(np.prod(moving.shape[1:-1]))
        pairs = Pairs(moving, static, batch_size=max(1, VOXELS_PER_BATCH // voxels))
        shape = (pairs.batch_size, *moving.shape[1:])
        check_memory(
            self._memory_to_predict(shape) + _size_of_fields(moving),
            what=f"Registering {len(moving)} pairs of {shape[1:-1]}",
            advice="Fewer pairs at a time, or images of larger voxels, need less.",
        )
        return pairs

    def _memory_to_predict(self, shape):
        """Return the bytes that a batch needs, which takes a while to work out."""
        if shape not in self._memory_known:
            if len(self._memory_known) >= SIZES_KNOWN:
                self._memory_known.clear()
            self._memory_known[shape] = memory_to_predict(self._warper, shape)
        return self._memory_known[shape]

    def _outputs(self, pairs, predictor=None, *, finite=True):
        """Yield each batch, what is predicted for it, and how much of that counts.

        A last batch of another size would be compiled anew, so it is filled up.
        """
        check_not_forked()
        for i in range(len(pairs)):
            batch = pairs[i]
            n = len(batch["moving"])
            if n < pairs.batch_size:
                batch = {
                    name: np.resize(images, (pairs.batch_size, *images.shape[1:]))
                    for name, images in batch.items()
                }
            outputs = (predictor or self._predictor).predict_on_batch(batch)
            if finite:
                _check_finite(outputs)
            yield batch, outputs, n


def _check_finite(outputs):
    """Raise ValueError unless all that is predicted is finite."""
    for name, values in outputs.items():
        if not np.all(np.isfinite(values)):
            raise ValueError(
                f"Expected a prediction with finite values. Received a {name} that is "
                "not: the weights of the model are not finite, as after a training "
                "that diverged, or the range of the images is too large for float32."
            )


def _size_of_fields(images):
    """Return the bytes of a displacement for each of the images."""
    return 4 * (images.ndim - 2) * int(np.prod(images.shape[:-1]))


def _join(batches):
    """Put batches together; a large volume is one by itself and is not copied."""
    return batches[0] if len(batches) == 1 else np.concatenate(batches)
