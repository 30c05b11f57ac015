"""What a registration by a network is, whatever its transform: training and saving."""

from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from dipy_nn_reg import metrics
from dipy_nn_reg.backend import JIT_COMPILE
from dipy_nn_reg.intensities import estimate_backgrounds
from dipy_nn_reg.losses.choices import check_can_be_loaded
from dipy_nn_reg.memory import check_memory, memory_to_train
from dipy_nn_reg.pairwise.register import register
from dipy_nn_reg.training.annotations import check_training_data, check_validation_data
from dipy_nn_reg.training.configuration import as_plain, check_options
from dipy_nn_reg.training.dataset import Pairs
from dipy_nn_reg.training.divergence import StopAtDivergence
from dipy_nn_reg.training.fit_checks import check_annotations_fit, check_fit_options
from dipy_nn_reg.training.keras_model import RegistrationModel
from dipy_nn_reg.training.optimizers import add_cosine_rate
from dipy_nn_reg.training.precision import layers_in
from dipy_nn_reg.training.predictor import Prediction
from dipy_nn_reg.training.saving import load_model, load_weights, save_whole
from dipy_nn_reg.training.state import (
    TrackState,
    describe,
    epochs_done,
    finished_state,
    make_generator,
)
from dipy_nn_reg.transform.functions import warp
from dipy_nn_reg.transform.pyramid import coarse_shape


class Registration(Prediction):
    """Training, use and saving of a registration network, whatever its transform.

    The methods that :class:`~dipy_nn_reg.model.DeformableRegistration` and
    :class:`~dipy_nn_reg.model.AffineRegistration` share; these say how it is built.

    Parameters
    ----------
    optimizer : keras.optimizers.Optimizer
        Of its own.
    **options
        Those of :class:`~dipy_nn_reg.training.keras_model.RegistrationModel`.

    Attributes
    ----------
    TRANSFORMS : collection of str
        What a class is for.
    model : keras.Model
    """

    def __init__(self, *, optimizer, **options):
        check_options(options)
        model = RegistrationModel(**as_plain(options))
        # Built now, so that weights can be loaded before any training.
        optimizer.build(model.trainable_variables)
        with layers_in("float32"):  # the means that Keras keeps, too
            model.compile(optimizer=optimizer, jit_compile=JIT_COMPILE)
        self._adopt(model)
        self._check_size(options["input_shape"], training=True)

    @property
    def unfinished(self):
        """What :meth:`fit` can resume: its options, and the epochs done; or None."""
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
        epochs=5,
        warm_up=0,
        batch_size=32,
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
            Of intensities that float32 holds; NaN counts as background. A list of
            images of several sizes is padded with the background of each to the
            largest, as are lists of static images; label maps and masks with 0.
        static : ndarray, optional
            One image, with or without an axis for n, or one for each moving image.
            By default each moving image is registered to another one, drawn anew in
            each epoch.
        moving_labels, static_labels : ndarray of int, shape (n, *spatial), optional
            Label maps of the images, 0 for background: their overlap is trained as
            well, of more than eight labels that of eight drawn for each batch. For one
            static image, one map. Without static images, those of the moving ones are
            used.
        moving_landmarks, static_landmarks : ndarray, shape (n, points, ndim), optional
            Positions in voxels that correspond, given as the label maps are: their
            distance after registration is trained as well.
        mask : ndarray, shape (n, *spatial), optional
            One for all or one for each static image: where it is 0, the images are
            not compared.
        epochs, batch_size : int, optional
            In an epoch each moving image is seen once; some are seen twice to fill
            the last batch.
        warm_up : int, optional
            So many epochs before these, on images shrunk by two along each axis, which
            take a fraction of the time. Callbacks and history begin after them.
        mirror : int, optional
            Axis of the image, from 0, along which half of the pairs are mirrored, drawn
            anew in each epoch, with all that belongs to them.
        augment : bool or float, optional
            Deform each image by a random affine and a smooth random field, and change
            its contrast, anew in each epoch: what is learned from few people then
            serves others better. A number multiplies these displacements: below 1 for
            images that have been aligned.
        validation_data : tuple or dict, optional
            ``(moving, static)``, or any of the arrays above by name; with None as
            static, each image is registered to the one before it.
        callbacks : keras.callbacks.Callback or list of these, optional
        verbose : "auto", 0, 1 or 2, optional
            As in Keras.
        resume : bool, optional
            Go on with a fit that was interrupted, with the same data and options, from
            the end of the last epoch: as if it had not been, bit for bit. That needs a
            model that a callback has saved at the end of an epoch. Callbacks of your
            own begin anew. Otherwise a new training begins with what was learned.

        Returns
        -------
        history : keras.callbacks.History
            ``loss``, ``similarity`` (normalised cross-correlation of the whole images,
            rescaled as the network sees them) and ``penalty`` (its part of the loss) of
            each epoch, ``label_overlap`` (soft Dice) and ``landmark_error`` (squared,
            in voxels) where there are any, and the same with ``val_`` in front, with
            ``val_folding`` in percent of the voxels.

        Raises
        ------
        ValueError
            If the images do not fit the model or each other, if labels, landmarks or
            the mask do not fit the images, if values are not finite, if the loss does
            not take images of this size, or if an option is out of range.
        ResumeError
            A ValueError: if there is nothing to resume, or with other data or options.
        DivergenceError
            A ValueError: if a loss or a weight is no longer finite. The model is put
            back to the end of the last epoch that was good.
        MemoryError
            If a step needs more memory than there is.
        """
        options = {"batch_size": batch_size, "mirror": mirror, "augment": augment}
        check_fit_options(
            epochs=epochs, warm_up=warm_up, **options, ndim=self._layout()["ndim"]
        )
        options["batch_size"] = batch_size = int(batch_size)  # NumPy's may be of 8 bits
        data = check_training_data(
            moving,
            static,
            moving_labels=moving_labels,
            static_labels=static_labels,
            moving_landmarks=moving_landmarks,
            static_landmarks=static_landmarks,
            mask=mask,
            **self._layout(),
        )
        self._check_data(data, augment=augment)
        if warm_up:
            self._check_size(coarse_shape(data["moving"].shape[1:-1], 2), training=True)
        setup = describe(data, epochs=epochs, **options)
        done = epochs_done(self.model.state, setup) if resume else 0
        validation_pairs = self._validation_pairs(validation_data, batch_size)
        rng = make_generator(self.model.state)
        draw = partial(Pairs, **data, **options, rng=rng)
        pairs = draw(first_drawn_from=self.model.state["random"] if resume else None)
        self._check_memory(pairs, validation_pairs)
        learning_rate = self.model.options["learning_rate"]
        if not resume:
            self.model.state = finished_state(rng, self.model.state["trained"])
            if learning_rate is not None:  # where an earlier fit has left another one
                self.model.optimizer.learning_rate = learning_rate
        # Pairs are drawn at random; Keras would ignore the seed.
        train = partial(self.model.fit, shuffle=False, verbose=verbose)
        if warm_up and not resume:
            callbacks_then = add_cosine_rate(None, learning_rate)
            callbacks_then.insert(0, StopAtDivergence("warm-up epoch"))
            train(draw(shrunk_by=2), epochs=warm_up, callbacks=callbacks_then)
            self.model.make_train_function(force=True)  # for images of another size
        callbacks = add_cosine_rate(callbacks, learning_rate, epochs_done=done)
        return train(
            pairs,
            initial_epoch=done,
            epochs=epochs,
            validation_data=validation_pairs,
            callbacks=[TrackState(pairs, setup), StopAtDivergence(), *callbacks],
        )

    def refine(self, moving, static, *, prealign=None, **options):
        """Register one pair of images, and optimise what is predicted for it.

        Neither the model nor its optimizer changes.

        Parameters
        ----------
        moving, static : ndarray, shape (*spatial,) or (*spatial, channels)
            Of any sizes.
        prealign : {"affine", "rigid"} or ndarray, optional
            As for :meth:`predict_mapping`.
        **options
            Further ones of :func:`~dipy_nn_reg.register`, which returns a
            report as well.

        Returns
        -------
        mapping : dipy.align.imwarp.DiffeomorphicMap
            As of :meth:`predict_mapping`.

        Raises
        ------
        ValueError, MemoryError
            As :func:`~dipy_nn_reg.register`.
        """
        mapping, _ = register(moving, static, model=self, prealign=prealign, **options)
        return mapping

    def evaluate(self, moving, static, *, verbose=2):
        """Measure how well images are registered.

        Parameters
        ----------
        moving, static : ndarray
            As for :meth:`predict`.
        verbose : "auto", 0, 1 or 2, optional
            As in Keras.

        Returns
        -------
        results : dict of float
            Means over the pairs: ``loss``; ``similarity_before`` and
            ``similarity_after``, the normalised cross-correlation; ``folding`` and
            ``strict_folding`` in percent of the voxels, see
            :func:`dipy_nn_reg.metrics.folding`.

        Raises
        ------
        ValueError
            As :meth:`predict`.
        """
        pairs = self._pairs(moving, static, training=True)
        loss = self.model.evaluate(pairs, verbose=verbose, return_dict=True)["loss"]
        rows = []
        for batch, outputs, n in self._outputs(pairs):
            field = outputs["displacement"]
            outside = [estimate_backgrounds(i, i.ndim - 1) for i in batch["moving"]]
            warped = warp(batch["moving"], field, fill=np.array(outside))
            results = zip(batch["moving"], batch["static"], warped, field)
            rows += [_measure(*result) for result in islice(results, n)]
        means = {name: float(np.mean([r[name] for r in rows])) for name in rows[0]}
        return {"loss": float(loss), **means}

    def save(self, path):
        """Save configuration, preprocessing, weights and optimizer in one file.

        Parameters
        ----------
        path : string or Path
            Ends with ``.keras``. An existing file is replaced once the new one is
            complete.

        Raises
        ------
        ValueError
            If the name ends otherwise, or if a function of your own is not known to
            Keras, so that the file could not be loaded again.
        """
        check_can_be_loaded(self.model.options)
        save_whole(self.model.save, path, ending=".keras")

    @classmethod
    def load(cls, path):
        """Load what :meth:`save` has written.

        Parameters
        ----------
        path : string or Path

        Returns
        -------
        registration : DeformableRegistration or AffineRegistration
            Of the class that loads it.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is not such a model, or if a function of the user's in it is
            not known to Keras, see ``keras.saving.register_keras_serializable``.
        """
        registration = cls.__new__(cls)
        registration._adopt(load_model(path, cls.__name__, cls.TRANSFORMS))
        return registration

    def __reduce__(self):
        """Pickle and copy as :meth:`save` writes, and :meth:`load` checks."""
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
            Of what :meth:`save_weights`, or :meth:`save`, has written.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is not such a file, or one of another network: the model stays as it
            was.
        """
        load_weights(self.model, path)
        self.model.state = {**self.model.state, "unfinished": None}

    def _check_memory(self, pairs, validation_pairs):
        """State what a step needs, and refuse what is not there."""
        shape = (pairs.batch_size, *pairs.moving.shape[1:])
        labels = pairs.labels_at_once
        if validation_pairs is not None:
            labels = max(labels, validation_pairs.labels_at_once)
        check_memory(
            memory_to_train(self.model, shape, labels),
            what=f"Training on {pairs.batch_size} pairs at a time of {shape[1:-1]}",
            advice="A smaller batch_size, a larger field_stride, a loss other than "
            "'mi' or 'mind', or images of larger voxels need less.",
        )

    def _validation_pairs(self, data, batch_size):
        if data is None:
            return None
        data = check_validation_data(data, **self._layout())
        self._check_data(data)
        return Pairs(**data, batch_size=batch_size)

    def _check_data(self, data, *, augment=False):
        """Raise ValueError unless the model can be trained on data."""
        loss = self.model.options["loss"]
        check_annotations_fit(data["annotations"], loss=loss, augment=augment)
        self._check_size(data["moving"].shape[1:-1], training=True)


def _from_bytes(cls, content):
    with TemporaryDirectory(prefix="dipy_nn_reg_") as folder:
        path = Path(folder, "model.keras")
        path.write_bytes(content)
        return cls.load(path)


def _measure(moving, static, warped, displacement):
    return {
        "similarity_before": metrics.ncc(static, moving),
        "similarity_after": metrics.ncc(static, warped),
        "folding": metrics.folding(displacement),
        "strict_folding": metrics.folding(displacement, strict=True),
    }
