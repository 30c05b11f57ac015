"""The class that a user meets."""

from itertools import islice
from pathlib import Path

import keras
import numpy as np

from dipy_nn_reg import metrics
from dipy_nn_reg.backend import JIT_COMPILE
from dipy_nn_reg.checks import (
    check_input_shape,
    check_integer,
    check_name,
    check_number,
    check_pairs,
    check_training_pairs,
)
from dipy_nn_reg.files import whole_file
from dipy_nn_reg.losses import LOSSES, PENALTIES
from dipy_nn_reg.networks import NETWORKS
from dipy_nn_reg.optimizers import add_cosine_rate, get_optimizer
from dipy_nn_reg.pairs import Pairs
from dipy_nn_reg.training import TRANSFORMS, RegistrationModel
from dipy_nn_reg.transform import warp

# Weight of the penalty for each loss, chosen on held-out training images of MNIST: at
# half of it folding exceeds what we allow (doc/design.rst).
SMOOTHNESS = {"mse": 0.1, "ncc": 0.5}
# What is predicted at a time: enough to keep the machine busy, little to hold.
VOXELS_PER_BATCH = 2**18


class DeformableRegistration:
    """Learn to register images without ground truth, in 2D and 3D.

    A network sees a moving and a static image and predicts a field; the moving image
    is warped by it, and training makes the result similar to the static image. The
    model is built and compiled on construction, as in
    ``dipy.nn.model.SingleLayerPerceptron``.

    Parameters
    ----------
    input_shape : tuple of int, optional
        Spatial shape of the images. Its length decides between 2D and 3D; images of
        any other size are taken as well.
    num_channels : int, optional
        Number of channels of each image.
    network : {"unet", "voxelmorph1", "voxelmorph2"}, optional
        What predicts the field, see :mod:`dipy_nn_reg.networks`.
    transform : {"velocity", "displacement"}, optional
        What the field means: a stationary velocity, which is integrated so that
        folds are rare, or the displacement itself.
    loss : {"ncc", "mse"}, optional
        Dissimilarity of the static and the warped image, see
        :mod:`dipy_nn_reg.losses`.
    penalty : {"gradient"}, optional
        Penalty on the field.
    smoothness : float, optional
        Weight of the penalty, 0 or more. By default one that suits the loss.
    optimizer : str or keras.optimizers.Optimizer, optional
        With a name, the learning rate rises and falls during each fit, unless a
        callback of Keras's changes it. An optimizer is used as it is.
    learning_rate : float, optional
        Highest learning rate of an optimizer given by name.
    seed : int, optional
        Of the weights and of the order of images: the same seed gives the same
        result on the same machine.

    Attributes
    ----------
    model : keras.Model
        From ``{"moving": ..., "static": ...}`` to the field, the displacement and
        the warped image.

    Raises
    ------
    ValueError
        If an option is not one of those listed.

    Examples
    --------
    >>> registration = DeformableRegistration(input_shape=(28, 28), seed=0)
    >>> image = np.random.default_rng(0).random((1, 28, 28), dtype=np.float32)
    >>> warped = registration.predict(image, image)
    >>> bool(np.all(warped == image))  # no motion before training
    True
    """

    def __init__(
        self,
        *,
        input_shape=(28, 28),
        num_channels=1,
        network="unet",
        transform="velocity",
        loss="ncc",
        penalty="gradient",
        smoothness=None,
        optimizer="adam",
        learning_rate=None,
        seed=None,
    ):
        check_input_shape(input_shape)
        check_integer("num_channels", num_channels, lowest=1)
        check_name("network", network, NETWORKS)
        check_name("transform", transform, TRANSFORMS)
        check_name("loss", loss, LOSSES)
        check_name("penalty", penalty, PENALTIES)
        smoothness = SMOOTHNESS[loss] if smoothness is None else smoothness
        check_number("smoothness", smoothness, or_zero=True)
        if seed is not None:
            check_integer("seed", seed, lowest=0)
        optimizer, learning_rate = get_optimizer(optimizer, learning_rate)
        model = RegistrationModel(
            input_shape=[int(axis) for axis in input_shape],
            num_channels=int(num_channels),
            network=network,
            transform=transform,
            loss=loss,
            penalty=penalty,
            smoothness=float(smoothness),
            learning_rate=learning_rate,
            seed=None if seed is None else int(seed),
        )
        # Built now, so that weights can be loaded before any training.
        optimizer.build(model.trainable_variables)
        model.compile(optimizer=optimizer, jit_compile=JIT_COMPILE)
        self._adopt(model)

    def _adopt(self, model):
        self.model = model
        self._rng = np.random.default_rng(model.options["seed"])
        # Its own graph: the warp is for the images as they came, not rescaled ones.
        self._field_model = keras.Model(model.input, model.output["displacement"])
        self._field_model.compile(jit_compile=JIT_COMPILE)

    def summary(self):
        """Print the layers, as Keras does."""
        return self.model.summary()

    def fit(
        self,
        moving,
        static=None,
        *,
        epochs=5,
        batch_size=32,
        validation_data=None,
        callbacks=None,
        verbose="auto",
    ):
        """Train on pairs of images.

        Parameters
        ----------
        moving : ndarray, shape (n, *spatial) or (n, *spatial, channels)
            Of any finite intensities.
        static : ndarray, optional
            One image, with or without an axis for n, or one for each moving image.
            By default each moving image is registered to another one, drawn anew in
            each epoch.
        epochs, batch_size : int, optional
            In an epoch each moving image is seen once; some are seen twice to fill
            the last batch.
        validation_data : tuple, optional
            ``(moving, static)``, as above; with None as static, each image is
            registered to the one before it.
        callbacks : keras.callbacks.Callback or list of these, optional
        verbose : "auto", 0, 1 or 2, optional
            As in Keras.

        Returns
        -------
        history : keras.callbacks.History
            ``loss``, ``similarity`` (normalised cross-correlation) and ``penalty`` of
            each epoch, and the same with ``val_`` in front.

        Raises
        ------
        ValueError
            If the images do not fit the model or each other, hold values that are
            not finite, or if an option is out of range.
        """
        check_integer("epochs", epochs, lowest=1)
        check_integer("batch_size", batch_size, lowest=1)
        moving, static = check_training_pairs(moving, static, **self._layout())
        validation_pairs = None
        if validation_data is not None:
            validation_pairs = Pairs(
                *self._check_validation_data(validation_data), batch_size=batch_size
            )
        learning_rate = self.model.options["learning_rate"]
        if learning_rate is not None:  # where an earlier fit has left another one
            self.model.optimizer.learning_rate = learning_rate
        return self.model.fit(
            Pairs(moving, static, batch_size=batch_size, rng=self._rng),
            epochs=epochs,
            shuffle=False,  # Pairs are drawn at random; Keras would ignore the seed.
            validation_data=validation_pairs,
            callbacks=add_cosine_rate(callbacks, learning_rate),
            verbose=verbose,
        )

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
        pairs = self._pairs(moving, static)
        loss = self.model.evaluate(pairs, verbose=verbose, return_dict=True)["loss"]
        rows = []
        for batch, field, n in self._fields(pairs):
            warped = warp(batch["moving"], field)
            results = zip(batch["moving"], batch["static"], warped, field)
            rows += [_measure(*result) for result in islice(results, n)]
        means = {name: float(np.mean([r[name] for r in rows])) for name in rows[0]}
        return {"loss": float(loss), **means}

    def predict(self, moving, static):
        """Warp moving images to static ones.

        Parameters
        ----------
        moving : ndarray, shape (n, *spatial) or (n, *spatial, channels)
        static : ndarray
            One image, with or without an axis for n, or one for each moving image.

        Returns
        -------
        warped : ndarray, float32
            In the layout and the intensities of ``moving``.

        Raises
        ------
        ValueError
            If the images do not fit the model or each other, or hold values that are
            not finite.
        """
        pairs = self._pairs(moving, static)
        warped = np.concatenate(
            [warp(batch["moving"], u)[:n] for batch, u, n in self._fields(pairs)]
        )
        return warped.reshape(np.shape(moving))

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
        return np.concatenate([field[:n] for _, field, n in self._fields(pairs)])

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
            If the name ends otherwise.
        """
        self._save(self.model.save, path, ending=".keras")

    @classmethod
    def load(cls, path):
        """Load what :meth:`save` has written.

        Parameters
        ----------
        path : string or Path

        Returns
        -------
        registration : DeformableRegistration

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is not such a model.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"Expected a file. Received path={str(path)!r}.")
        expected = f"Expected a file written by {cls.__name__}.save"
        try:
            model = keras.saving.load_model(path)
        except Exception as error:
            raise ValueError(
                f"{expected}. Received path={str(path)!r}, which Keras cannot load: "
                f"{error}"
            ) from error
        if not isinstance(model, RegistrationModel):
            raise ValueError(f"{expected}. Received a {type(model).__name__}.")
        registration = cls.__new__(cls)
        registration._adopt(model)
        return registration

    def save_weights(self, path):
        """Save the weights alone, to a name that ends with ``.weights.h5``."""
        self._save(self.model.save_weights, path, ending=".weights.h5")

    def load_weights(self, path):
        """Load weights into a model of the same configuration."""
        self.model.load_weights(path)

    def _layout(self):
        options = self.model.options
        return {
            "ndim": len(options["input_shape"]),
            "num_channels": options["num_channels"],
        }

    def _check_validation_data(self, validation_data):
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
            raise ValueError(
                f"Expected validation_data=(moving, static). "
                f"Received a {type(validation_data).__name__}."
            )
        moving, static = check_training_pairs(*validation_data, **self._layout())
        return moving, np.roll(moving, 1, axis=0) if static is None else static

    def _pairs(self, moving, static):
        """Return pairs for prediction, in batches that fit the size of the images."""
        moving, static = check_pairs(moving, static, **self._layout())
        voxels = int(np.prod(moving.shape[1:-1]))
        return Pairs(moving, static, batch_size=max(1, VOXELS_PER_BATCH // voxels))

    def _fields(self, pairs):
        """Yield each batch, its displacements, and how many of them count.

        A last batch of another size would be compiled anew, so it is filled up.
        """
        for i in range(len(pairs)):
            batch = pairs[i]
            n = len(batch["moving"])
            batch = {
                name: np.resize(images, (pairs.batch_size, *images.shape[1:]))
                for name, images in batch.items()
            }
            yield batch, self._field_model.predict_on_batch(batch), n

    def _save(self, save, path, *, ending):
        if not str(path).endswith(ending):
            raise ValueError(
                f"Expected a name that ends with {ending!r}. Received {str(path)!r}."
            )
        with whole_file(path) as partial:
            save(partial)


def _measure(moving, static, warped, displacement):
    return {
        "similarity_before": metrics.ncc(static, moving),
        "similarity_after": metrics.ncc(static, warped),
        "folding": metrics.folding(displacement),
        "strict_folding": metrics.folding(displacement, strict=True),
    }
