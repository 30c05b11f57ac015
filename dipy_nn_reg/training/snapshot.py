"""All numbers of a model and its optimizer, to put them back."""

import keras
import numpy as np


class Snapshot:
    """Copy of the weights, of what the optimizer knows, and of the state of training.

    Parameters
    ----------
    model : RegistrationModel
    """

    def __init__(self, model):
        self.model, self.state = model, model.state
        # Copies, for a backend may give away its own memory.
        self.values = [
            np.array(keras.ops.convert_to_numpy(v)) for v in _variables(model)
        ]

    def restore(self):
        """Put them back."""
        for variable, value in zip(_variables(self.model), self.values):
            variable.assign(value)
        self.model.state = self.state


def _variables(model):
    return [*model.variables, *model.optimizer.variables]
