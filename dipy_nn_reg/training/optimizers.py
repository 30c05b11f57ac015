"""Optimizers, and the schedule of their learning rate."""

from math import cos, pi

import keras

from dipy_nn_reg.backend import layers_in
from dipy_nn_reg.checks import check_name, check_number

OPTIMIZERS = (
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "lion",
    "nadam",
    "rmsprop",
    "sgd",
)
# Default of the highest learning rate, by the number of axes. In 3D, where a batch is
# one volume or a few, a training diverged with that of 2D (doc/design.rst).
LEARNING_RATES = {2: 4e-3, 3: 1.5e-3}
# Largest norm of the gradient of all weights. In most steps the norm is lower. On
# brains, trainings diverged after a few steps of larger norm.
GRADIENT_NORM = 1.0


def get_optimizer(optimizer, learning_rate, ndim):
    """Return an optimizer, and its highest learning rate if it is given by name.

    Parameters
    ----------
    optimizer : str or keras.optimizers.Optimizer
    learning_rate : float or None
        For an optimizer given by name; by default 0.004 in 2D and 0.0015 in 3D.
    ndim : int
        Number of axes of the images.

    Returns
    -------
    optimizer : keras.optimizers.Optimizer
    learning_rate : float or None
        None if the optimizer has its own.

    Raises
    ------
    ValueError
        If the name is unknown, if the learning rate is not positive, if it is given
        with an optimizer that has its own, or if another model uses the optimizer.
    """
    if isinstance(optimizer, keras.optimizers.Optimizer):
        if optimizer.built:
            raise ValueError(
                f"Expected an optimizer of its own for each model. Received a "
                f"{type(optimizer).__name__} that another model already uses."
            )
        if learning_rate is not None:
            raise ValueError(
                f"Expected learning_rate=None, since the optimizer has its own. "
                f"Received learning_rate={learning_rate!r}."
            )
        return optimizer, None
    check_name("optimizer", optimizer, OPTIMIZERS)
    learning_rate = LEARNING_RATES[ndim] if learning_rate is None else learning_rate
    check_number("learning_rate", learning_rate)
    config = {"class_name": optimizer, "config": {"global_clipnorm": GRADIENT_NORM}}
    with layers_in("float32"):
        return keras.optimizers.get(config), float(learning_rate)


def add_cosine_rate(callbacks, peak, *, epochs_done=0):
    """Return callbacks with a schedule of the learning rate, if they have none.

    Parameters
    ----------
    callbacks : keras.callbacks.Callback, list of these, or None
    peak : float or None
        Highest learning rate. None if the optimizer has its own, which is kept.
    epochs_done : int, optional
        Number of epochs done, of a training that is resumed.

    Returns
    -------
    callbacks : list of keras.callbacks.Callback
    """
    if callbacks is None:
        callbacks = []
    elif not isinstance(callbacks, (tuple, list)):
        callbacks = [callbacks]
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise ValueError(
                f"Expected callbacks of Keras, keras.callbacks.Callback. "
                f"Received {callback!r}."
            )
    schedulers = (
        keras.callbacks.LearningRateScheduler,
        keras.callbacks.ReduceLROnPlateau,
    )
    if peak is None or any(isinstance(c, schedulers) for c in callbacks):
        return list(callbacks)
    return [CosineRate(peak, epochs_done=epochs_done), *callbacks]


class CosineRate(keras.callbacks.Callback):
    """Schedule of the learning rate: a rise over a tenth of the training, then a fall.

    The rise is linear; the fall to zero is half a cosine
    :footcite:p:`Loshchilov2017`.

    Parameters
    ----------
    peak : float
        Highest learning rate.
    epochs_done : int, optional
        Number of epochs done, of a training that is resumed.

    References
    ----------
    .. footbibliography::
    """

    def __init__(self, peak, *, epochs_done=0):
        super().__init__()
        self.peak, self.epochs_done = peak, epochs_done

    def on_train_begin(self, logs=None):
        self.step = self.epochs_done * self.params["steps"]
        self.steps = self.params["epochs"] * self.params["steps"]

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = self.rate(self.step / self.steps)
        self.step += 1

    def rate(self, done):
        """Return the learning rate when a fraction of the training is done."""
        if done < 0.1:
            return self.peak * (0.1 + 0.9 * done / 0.1)
        return self.peak * (1 + cos(pi * (done - 0.1) / 0.9)) / 2
