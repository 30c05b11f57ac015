"""Checkpoints: the model and the history that are written during a training."""

import keras

from dipy_nn_reg.io.atomic import whole_files
from dipy_nn_reg.io.tables import read_csv, write_csv


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
