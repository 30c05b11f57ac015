"""Checkpoints: the model and the history that are written during a training."""

from dipy.utils.logging import logger
import keras

from dipy_nn_reg import DeformableRegistration
from dipy_nn_reg.checks import PRETRAINED
from dipy_nn_reg.io.atomic import whole_files
from dipy_nn_reg.io.tables import read_csv, write_csv
from dipy_nn_reg.losses.choices import loss_name
from dipy_nn_reg.text import printable
from dipy_nn_reg.training.state import ResumeError


class SaveEachEpoch(keras.callbacks.Callback):
    """Write the model and its history after each epoch.

    An interruption leaves a model and its history. If the process is killed between
    the moves of both files, the history may have one row more than the model has
    epochs; see :func:`rows_before`.

    Parameters
    ----------
    registration : DeformableRegistration
    out_model, out_history : Path
    rows : list of dict, optional
        Earlier rows of the history.
    """

    def __init__(self, registration, *, out_model, out_history, rows=()):
        super().__init__()
        self.registration = registration
        self.out_model, self.out_history = out_model, out_history
        self.rows = list(rows)

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append({"epoch": len(self.rows) + 1, **(logs or {})})
        # History first: a row without its model is recognised when training continues.
        paths = {"history": self.out_history, "model": self.out_model}
        with whole_files(paths) as partials:
            self.registration.save(partials["model"])
            write_csv(self.rows, partials["history"])


def load_checkpoint(checkpoint, out_history, pretrained):
    """Return a model to continue with, and the rows of its history.

    Parameters
    ----------
    checkpoint : Path or str
        A file, or the name of the pretrained model.
    out_history : Path
    pretrained : dict
        Options of the pretrained model, if it is that one.

    Returns
    -------
    registration : DeformableRegistration
    rows : list of dict
    """
    if checkpoint == PRETRAINED:
        return DeformableRegistration.pretrained(**pretrained), []
    registration = DeformableRegistration.load(checkpoint)
    trained = registration.model.state["trained"]
    return registration, rows_before(read_history(out_history), trained)


def warn_of_unused(options, registration):
    """Warn of options for which those of a model are used.

    Parameters
    ----------
    options : dict
        What the user named.
    registration : DeformableRegistration
    """
    loss = registration.options["loss"]
    kept = {**registration.options, "channel_weights": getattr(loss, "weights", None)}
    for name, value in options.items():
        used = kept[name]
        if name == "loss":
            used, value = _named(used), _named(value)
        if name == "channel_weights" and used is not None:
            used = list(used)
        if used != value:
            logger.warning(
                f"{name}={value!r} is not used: that of the checkpoint is {used!r}."
            )


def _named(loss):
    """Return the name of a loss, or of the losses of several images."""
    return ", ".join(map(loss_name, loss if isinstance(loss, list) else [loss]))


def fit_or_resume(registration, checkpoint, **options):
    """Resume a training that was interrupted, or begin a new one.

    Parameters
    ----------
    registration : DeformableRegistration
    checkpoint : Path or str, or None
        What the weights were read from.
    **options
        As :meth:`~dipy_nn_reg.DeformableRegistration.fit` takes them.
    """
    unfinished = registration.unfinished
    if unfinished is not None:
        done, epochs = unfinished["done"], unfinished["epochs"]
        try:
            logger.info(f"Going on after epoch {done} of {epochs}.")
            return registration.fit(**options, resume=True)
        except ResumeError as error:
            logger.warning(
                f"{error} A new training begins, with the weights after epoch {done} "
                f"of {epochs}."
            )
    elif checkpoint is not None:
        source = printable(checkpoint)
        logger.info(f"A new training begins, with the weights of {source}.")
    registration.fit(**options)


def read_history(path):
    """Return the rows of a history, or an empty list if there is no file.

    Raises
    ------
    ValueError
        If the file is not a table, or not the history of a training.
    """
    rows = read_csv(path) if path.is_file() else []
    if any("epoch" not in row for row in rows):
        raise ValueError(
            f"Expected a history of a training. Received {str(path)!r}, which has no "
            f"column epoch."
        )
    return rows


def rows_before(rows, trained):
    """Return the rows of the epochs for which a model was trained.

    Parameters
    ----------
    rows : list of dict
    trained : int
        Number of epochs of the model. If there is one row more, its model was not
        written any more, and it is dropped.

    Returns
    -------
    rows : list of dict
    """
    return rows[:-1] if len(rows) == trained + 1 else rows
