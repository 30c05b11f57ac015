"""Methods of the public classes: fit, predict, evaluate, refine, save and load.

The training itself is in :mod:`dipy_nn_reg.training.fitting`, prediction in
:mod:`dipy_nn_reg.training.predictor`.
"""

from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from dipy_nn_reg import metrics
from dipy_nn_reg.backend import JIT_COMPILE, check_not_shared, layers_in
from dipy_nn_reg.intensities import estimate_backgrounds
from dipy_nn_reg.io.channels import read_channels
from dipy_nn_reg.mapping.frame import Frame
from dipy_nn_reg.pairwise.channels import check_num_channels
from dipy_nn_reg.pairwise.register import register
from dipy_nn_reg.training.config import check_can_be_loaded
from dipy_nn_reg.training.data_checks import check_training_data, check_validation_data
from dipy_nn_reg.training.fitting import (
    FitOptions,
    check_annotations_fit,
    default_batch_size,
    fit,
)
from dipy_nn_reg.training.keras_model import RegistrationModel
from dipy_nn_reg.training.optimizers import get_optimizer
from dipy_nn_reg.training.options import as_plain, check_options
from dipy_nn_reg.training.predictor import Predictor
from dipy_nn_reg.training.saving import load_model, load_weights, save_whole
from dipy_nn_reg.transform.functions import warp
from dipy_nn_reg.transform.pyramid import coarse_shape


class Registration:
    """Training, prediction and saving of a registration network.

    :class:`~dipy_nn_reg.model.DeformableRegistration` and
    :class:`~dipy_nn_reg.model.AffineRegistration` share these methods.

    Parameters
    ----------
    optimizer : str or keras.optimizers.Optimizer
    **options
        Options of :class:`~dipy_nn_reg.training.keras_model.RegistrationModel`.

    Attributes
    ----------
    model : keras.Model
    predictor : Predictor
    """

    def __init__(self, *, optimizer, **options):
        ndim = len(options["input_shape"])
        optimizer, rate = get_optimizer(optimizer, options["learning_rate"], ndim)
        options["learning_rate"] = rate
        check_options(options)
        model = RegistrationModel(**as_plain(options))
        # The optimizer is built so that weights can be loaded before any training.
        optimizer.build(model.trainable_variables)
        with layers_in("float32"):  # also for the metrics of Keras
            model.compile(optimizer=optimizer, jit_compile=JIT_COMPILE)
        self._adopt(model)
        self.predictor.check_size(options["input_shape"], for_loss=True)

    def _adopt(self, model):
        self.model, self.predictor = model, Predictor(model)

    @property
    def options(self):
        """Options of the model: a dictionary by their names in the constructor."""
        return dict(self.model.options)

    @property
    def ndim(self):
        """Number of spatial axes of the images."""
        return self.predictor.layout["ndim"]

    @property
    def num_channels(self):
        """Number of channels of the images."""
        return self.predictor.layout["num_channels"]

    @property
    def unfinished(self):
        """Options and epochs of a training that :meth:`fit` can resume, or None."""
        return self.model.state["unfinished"]

    def summary(self):
        """Print the layers, as Keras does."""
        return self.model.summary()

    def fit(
        self,
        moving,
        static=None,
        *,
        moving_labels=None,
        static_labels=None,
        moving_landmarks=None,
        static_landmarks=None,
        mask=None,
        moving_mask=None,
        epochs=5,
        warm_up=0,
        batch_size=None,
        mirror=None,
        augment=False,
        validation_data=None,
        callbacks=None,
        verbose="auto",
        resume=False,
    ):
        """Train on pairs of images.

        Parameters
        ----------
        moving : ndarray, shape (n, *spatial) or (n, *spatial, channels)
            Images with intensities that float32 holds; NaN counts as background. Lists
            of moving or static images of several sizes are padded to the largest size,
            with the background of each image; label maps and masks with 0.
        static : ndarray, optional
            One image, with or without an axis for n, or one for each moving image.
            By default each moving image is registered to another one, drawn anew in
            each epoch.
        moving_labels, static_labels : ndarray of int, shape (n, *spatial), optional
            Label maps of the images, 0 for background, whose overlap is trained too. Of
            more than eight labels, eight are drawn for each batch. One static image has
            one map. Without static images, the maps of the moving images are used.
        moving_landmarks, static_landmarks : ndarray, shape (n, points, ndim), optional
            Corresponding positions in voxels, one array per image as for label maps.
            Their distance after registration is trained too.
        mask : ndarray, shape (n, *spatial), optional
            One mask for all static images or one for each: where it is 0, the images
            are not compared.
        moving_mask : ndarray, shape (n, *spatial), optional
            The same for the moving images, with which it is warped. With both masks,
            the images are compared where both are not 0.
        epochs : int, optional
            Number of epochs. In an epoch each moving image is used once; some are used
            twice to fill the last batch.
        warm_up : int, optional
            Number of epochs before these, on images shrunk by two along each axis,
            which take a fraction of the time. Callbacks and history begin after them.
        batch_size : int, optional
            Number of pairs in a step. By default 32 in 2D and 1 in 3D, or the next
            multiple of the number of devices, which share each step evenly if
            ``keras.distribution`` is used.
        mirror : int, optional
            Axis of the image, from 0, along which half of the pairs are mirrored, drawn
            anew in each epoch, together with their annotations.
        augment : bool or float, optional
            Deform each image by a random affine and a smooth random field, and change
            its contrast, anew in each epoch. A model that is trained on images of few
            people then generalises better. A number is a factor on these
            displacements, below 1 for images that have been aligned.
        validation_data : tuple or dict, optional
            ``(moving, static)``, or any of the arrays above by name. If static is None,
            each image is registered to the one before it.
        callbacks : keras.callbacks.Callback or list of these, optional
        verbose : "auto", 0, 1 or 2, optional
            As in Keras.
        resume : bool, optional
            Resume a fit that was interrupted, with the same data and options, from the
            end of the last epoch. The result is the same, bit for bit, as without the
            interruption. The model must have been saved by a callback at the end of an
            epoch. Callbacks of your own start anew. By default a new training starts
            from the weights of the model.

        Returns
        -------
        history : keras.callbacks.History
            For each epoch ``loss``, ``ncc`` (normalised cross-correlation of the
            whole images, rescaled as for the network) and ``penalty`` (its part of the
            loss); with labels ``label_overlap`` (soft Dice) and with landmarks
            ``landmark_error`` (squared, in voxels). For validation data the same with
            ``val_`` in front, and ``val_folding`` in percent of the voxels.

        Raises
        ------
        ValueError
            If the images do not fit the model or each other, if labels, landmarks or
            masks do not fit the images, if values are not finite, if the loss does
            not take images of this size, or if an option is out of range.
        ResumeError
            A ValueError: if there is no training to resume, or one with other data or
            options.
        DivergenceError
            A ValueError: if a loss or a weight is no longer finite. The model is
            restored to the end of the last good epoch.
        MemoryError
            If a step needs more memory than there is.
        """
        if batch_size is None:
            batch_size = default_batch_size(self.ndim)
        options = FitOptions(epochs, warm_up, batch_size, mirror, augment, resume)
        options.check(self.ndim)
        layout = self.predictor.layout
        data = check_training_data(
            moving,
            static,
            moving_labels=moving_labels,
            static_labels=static_labels,
            moving_landmarks=moving_landmarks,
            static_landmarks=static_landmarks,
            mask=mask,
            moving_mask=moving_mask,
            **layout,
        )
        self._check_data(data, augment=augment)
        if warm_up:
            size = coarse_shape(data["moving"].shape[1:-1], 2)
            self.predictor.check_size(size, for_loss=True)
        validation = validation_data
        if validation is not None:
            validation = check_validation_data(validation, **layout)
            self._check_data(validation)
        return fit(
            self.model, data, validation, options, callbacks=callbacks, verbose=verbose
        )

    def _check_data(self, data, *, augment=False):
        """Raise ValueError unless the model can be trained on data."""
        loss = self.model.options["loss"]
        check_annotations_fit(data["annotations"], loss=loss, augment=augment)
        self.predictor.check_size(data["moving"].shape[1:-1], for_loss=True)

    def predict(self, moving, static, *, smoothness=None, return_field=False):
        """Warp moving images to static ones.

        Parameters
        ----------
        moving : ndarray, shape (n, *spatial) or (n, *spatial, channels)
        static : ndarray
            One image, with or without an axis for n, or one for each moving image.
        smoothness : float, optional
            Of the fields of a model that was trained with ``smoothness="any"``, from 0,
            the roughest ones, to 1. By default 0.5.
        return_field : bool, optional
            Return the displacement as well, which takes no extra time.

        Returns
        -------
        warped : ndarray, float32
            In the layout and the intensities of ``moving``.
        displacement : ndarray, shape (n, *spatial, ndim)
            Only with ``return_field``, as from :meth:`predict_field`.

        Raises
        ------
        ValueError
            If the images do not fit the model or each other, or have infinite values;
            if the model has no choice of smoothness; or if the prediction is not
            finite, as after a training that diverged.
        MemoryError
            If the prediction needs more memory than there is.
        """
        warped, displacement = self.predictor.at(smoothness).warp(moving, static)
        return (warped, displacement) if return_field else warped

    def predict_field(self, moving, static, *, smoothness=None):
        """Predict displacements: ``warped(x) = moving(x + u(x))``.

        Parameters
        ----------
        moving, static : ndarray
            As for :meth:`predict`.
        smoothness : float, optional
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
        predictor = self.predictor.at(smoothness)
        return predictor.predict("displacement", moving, static)

    def predict_mapping(
        self,
        moving,
        static,
        *,
        moving_affine=None,
        static_affine=None,
        prealign=None,
        voxel_size=None,
        smoothness=None,
    ):
        """Register one pair of images, on any grids, and return DIPY's map.

        The moving image is resampled to the static grid for the network. The map reads
        the original image, and interpolates it once.

        Parameters
        ----------
        moving, static : ndarray, nibabel image, string or Path
            Images of any size, of shape (*spatial,) or (*spatial, channels), or files
            of them; or lists of images of one channel, as :func:`~dipy_nn_reg.register`
            takes them.
        moving_affine, static_affine : ndarray, shape (ndim + 1, ndim + 1), optional
            From voxels to world coordinates in mm; by default those of files and of
            images of nibabel. Without them both images are on one grid. A 2D model also
            takes affines of 4 x 4, as slices in NIfTI files have them. The map is then
            a 3D map of a single slice.
        prealign : {"auto", "rigid", "similarity", "affine"} or ndarray, optional
            Alignment that is estimated before; or an affine from static to moving
            world coordinates, shape (ndim + 1, ndim + 1), as
            ``dipy.align.affine_registration`` returns it.
        voxel_size : float, optional
            Voxel size in mm of the images for the network: that of the images on which
            it was trained. By default that of the static image.
        smoothness : float, optional
            As for :meth:`predict`.

        Returns
        -------
        mapping : dipy.align.imwarp.DiffeomorphicMap
            ``mapping.transform(moving)`` is the moving image on the static grid, with
            its own intensities; ``mapping.transform_inverse(static)`` is the reverse.
            The inverse is integrated from the velocity, or found point by point if the
            model predicts none. An affine first stage becomes part of
            the prealignment of the map. The fields of the map are in mm.

        Raises
        ------
        FileNotFoundError
            If there is no file of an image.
        ValueError
            As :meth:`predict`, if a file cannot be read, if an affine has the wrong
            shape or cannot be inverted, and if the images do not overlap.
        """
        predictor = self.predictor.at(smoothness)
        read = partial(read_channels, check_num_channels(None, self, moving, static))
        moving, moving_affine = read("moving", moving, moving_affine)
        static, static_affine = read("static", static, static_affine)
        frame = Frame(
            moving,
            static,
            **self.predictor.layout,
            moving_affine=moving_affine,
            static_affine=static_affine,
            prealign=prealign,
            voxel_size=voxel_size,
        )
        pair = frame.read()
        prediction = predictor.predict_on_grid(pair.moving, pair.static)
        return frame.to_mapping(prediction.parts, pair.prealign)

    def refine(self, moving, static, *, prealign=None, **options):
        """Register one pair of images by optimising the prediction of the model.

        Neither the model nor its optimizer changes.

        Parameters
        ----------
        moving, static : ndarray, nibabel image, string or Path
            As for :meth:`predict_mapping`.
        prealign : {"auto", "rigid", "similarity", "affine"} or ndarray, optional
            As for :meth:`predict_mapping`.
        **options
            Further options of :func:`~dipy_nn_reg.register`.

        Returns
        -------
        mapping : dipy.align.imwarp.DiffeomorphicMap
        outcome : Outcome
            Both as :func:`~dipy_nn_reg.register` returns them.

        Raises
        ------
        ValueError, MemoryError
            As :func:`~dipy_nn_reg.register`.
        """
        return register(moving, static, model=self, prealign=prealign, **options)

    def evaluate(self, moving, static, *, smoothness=None, verbose=2):
        """Measure how well images are registered.

        Parameters
        ----------
        moving, static : ndarray
            As for :meth:`predict`.
        smoothness : float, optional
            As for :meth:`predict`.
        verbose : "auto", 0, 1 or 2, optional
            As in Keras.

        Returns
        -------
        results : dict of float
            Means over the pairs: ``loss``; ``ncc_before`` and
            ``ncc_after``, the normalised cross-correlation; ``folding`` and
            ``strict_folding`` in percent of the voxels, see
            :func:`dipy_nn_reg.metrics.folding`.

        Raises
        ------
        ValueError
            As :meth:`predict`, and if several devices share batches.
        """
        check_not_shared("evaluate")
        predictor = self.predictor.at(smoothness)
        pairs = predictor.pairs(moving, static, for_loss=True)
        loss = self.model.evaluate(pairs, verbose=verbose, return_dict=True)["loss"]
        rows = []
        for batch, outputs, n in predictor.outputs(pairs):
            field = outputs["displacement"]
            outside = [estimate_backgrounds(i, i.ndim - 1) for i in batch["moving"]]
            warped = warp(batch["moving"], field, fill=np.array(outside))
            pairs_of_batch = zip(batch["moving"], batch["static"], warped, field)
            rows += [
                metrics.measure_pair(static, image, displacement, moving=moving)
                for moving, static, image, displacement in islice(pairs_of_batch, n)
            ]
        means = {name: float(np.mean([r[name] for r in rows])) for name in rows[0]}
        return {"loss": float(loss), **means}

    def save(self, path):
        """Save configuration, preprocessing, weights and optimizer in one file.

        Parameters
        ----------
        path : string or Path
            Path that ends with ``.keras``. An existing file is replaced once the new
            one is complete.

        Raises
        ------
        ValueError
            If the path has another ending, or if a function of your own is not
            registered by Keras, so that the file could not be loaded again.
        """
        check_can_be_loaded(self.model.options)
        save_whole(self.model.save, path, ending=".keras")

    @classmethod
    def load(cls, path):
        """Load a model that :meth:`save` has written.

        Parameters
        ----------
        path : string or Path

        Returns
        -------
        registration : DeformableRegistration or AffineRegistration
            An AffineRegistration if the transform of the model is "affine", whichever
            of the two classes loads it.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        ValueError
            If the file is not such a model, or if it refers to a function of the user
            that is not registered by ``keras.saving.register_keras_serializable``.
        """
        model = load_model(path, cls.__name__)
        return cls._class_for(model.options["transform"])._of(model)

    @classmethod
    def _class_for(cls, transform):
        """Return the class of models that predict a transform."""
        return cls

    @classmethod
    def _of(cls, model):
        """Return a registration by a model that exists."""
        registration = cls.__new__(cls)
        registration._adopt(model)
        return registration

    def __reduce__(self):
        """Pickle and copy the file that :meth:`save` writes."""
        with TemporaryDirectory(prefix="dipy_nn_reg_") as folder:
            self.save(path := Path(folder, "model.keras"))
            return _from_bytes, (type(self), path.read_bytes())

    def save_weights(self, path):
        """Save the weights alone, to a name that ends with ``.weights.h5``."""
        save_whole(self.model.save_weights, path, ending=".weights.h5")

    def load_weights(self, path):
        """Load weights into a model of the same configuration.

        Parameters
        ----------
        path : string or Path
            File that :meth:`save_weights` or :meth:`save` has written.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        ValueError
            If the file has another format or is one of another network. The model then
            does not change.
        """
        load_weights(self.model, path)
        self.model.state = {**self.model.state, "unfinished": None}


def _from_bytes(cls, content):
    with TemporaryDirectory(prefix="dipy_nn_reg_") as folder:
        path = Path(folder, "model.keras")
        path.write_bytes(content)
        return cls._of(load_model(path, cls.__name__))
