"""Snapshot of a model and its optimizer, which can be restored."""

import keras
import numpy as np


class Snapshot:
    """Copy of the weights, the variables of the optimizer and the state of training.

    Parameters
    ----------
    model : RegistrationModel
    """

    def __init__(self, model):
        self.model, self.state = model, model.state
        # Copies, since the arrays of a backend may share its memory.
        self.values = [
            np.array(keras.ops.convert_to_numpy(v)) for v in _variables(model)
        ]

    def restore(self):
        """Restore the model, the optimizer and the state."""
        for variable, value in zip(_variables(self.model), self.values):
            variable.assign(value)
        self.model.state = self.state


def _variables(model):
    return [*model.variables, *model.optimizer.variables]
