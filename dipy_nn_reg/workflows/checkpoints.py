"""What is written while a model is trained."""

import keras

from dipy_nn_reg.io.atomic import whole_files
from dipy_nn_reg.io.tables import read_csv, write_csv


class SaveEachEpoch(keras.callbacks.Callback):
    """Write the history so far, and the model, after each epoch.

    The model comes last: what an interruption leaves is a model and the history up to
    it, or an epoch more, which is known and is written again.

    Parameters
    ----------
    registration : DeformableRegistration
    out_model, out_history : Path
    rows : list of dict, optional
        History that is continued.
    """

    def __init__(self, registration, *, out_model, out_history, rows=()):
        super().__init__()
        self.registration = registration
        self.out_model, self.out_history = out_model, out_history
        self.rows = list(rows)

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append({"epoch": len(self.rows) + 1, **(logs or {})})
        # The history first: a row without its model is seen when training goes on.
        paths = {"history": self.out_history, "model": self.out_model}
        with whole_files(paths) as partials:
            self.registration.save(partials["model"])
            write_csv(self.rows, partials["history"])


def read_history(path):
    """Return the rows of a history, none if it is not there.

    Raises
    ------
    ValueError
        If it is no table, or not that of a training.
    """
    rows = read_csv(path) if path.is_file() else []
    if any("epoch" not in row for row in rows):
        raise ValueError(
            f"Expected a history of a training. Received {str(path)!r}, which has no "
            f"column epoch."
        )
    return rows


def rows_before(rows, trained):
    """Return the rows of a history up to what a model was trained for.

    Parameters
    ----------
    rows : list of dict
    trained : int
        Number of epochs of the model. A row more is that of an epoch whose model was
        not written any more.
    """
    return rows[:-1] if len(rows) == trained + 1 else rows
