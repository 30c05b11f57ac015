"""Detection of a training that diverges, and return to the last good epoch."""

import keras
import numpy as np

from dipy_nn_reg.training.snapshot import Snapshot


class DivergenceError(ValueError):
    """A training whose loss or weights are no longer finite."""


class StopAtDivergence(keras.callbacks.Callback):
    """Restore the model of the last good epoch and raise, if a training diverges.

    It runs before the callbacks of a user, so that none of them sees or saves a model
    that has diverged.

    Parameters
    ----------
    phase : str, optional
        Name of the epochs in an error.

    Raises
    ------
    DivergenceError
        From ``fit``, if a loss is not finite after a step or in validation, or if a
        weight is not finite after an epoch.
    """

    def __init__(self, phase="epoch"):
        super().__init__()
        self.phase = phase

    def on_train_begin(self, logs=None):
        self.epoch, self.last_good = None, None
        self.snapshot = Snapshot(self.model)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        # The loss is a mean over the epoch, and stays infinite or NaN once it is so.
        loss = (logs or {}).get("loss", 0.0)
        if not np.isfinite(loss):
            self._stop(f"loss={loss}", f", step {batch + 1}")

    def on_epoch_end(self, epoch, logs=None):
        for name in ("loss", "val_loss"):
            loss = (logs or {}).get(name, 0.0)
            if not np.isfinite(loss):
                self._stop(f"{name}={loss}")
        for weight in self.model.weights:
            if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
                self._stop(f"values that are not finite in the weight {weight.path!r}")
        self.last_good = epoch
        self.snapshot = Snapshot(self.model)

    def _stop(self, received, step=""):
        self.snapshot.restore()
        when = "before the training"
        if self.last_good is not None:
            when = f"at the end of {self.phase} {self.last_good + 1}"
        raise DivergenceError(
            f"Expected a training that converges. Received {received} in {self.phase} "
            f"{self.epoch + 1}{step}. The model is restored to its state {when}. A "
            f"lower learning_rate or a higher smoothness may help, or images and "
            f"landmarks without extreme values."
        )
