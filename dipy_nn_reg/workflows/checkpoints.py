"""What is written while a model is trained."""

import keras

from dipy_nn_reg.files import whole_files
from dipy_nn_reg.tables import read_csv, write_csv


class SaveEachEpoch(keras.callbacks.Callback):
    """Write the model, and the history so far, after each epoch.

    Parameters
    ----------
    registration : DeformableRegistration
    out_model, out_history : Path
    go_on : bool
        Continue a history that is there.
    """

    def __init__(self, registration, *, out_model, out_history, go_on):
        super().__init__()
        self.registration = registration
        self.out_model, self.out_history = out_model, out_history
        self.rows = read_csv(out_history) if go_on and out_history.is_file() else []

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append({"epoch": len(self.rows) + 1, **(logs or {})})
        paths = {"model": self.out_model, "history": self.out_history}
        with whole_files(paths) as partials:
            self.registration.save(partials["model"])
            write_csv(self.rows, partials["history"])
