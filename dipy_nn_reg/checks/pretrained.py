"""The pretrained model, as it is asked for before Keras is imported."""

from typing import NamedTuple

from dipy_nn_reg.checks.dial import check_dial
from dipy_nn_reg.checks.options import check_integer

# Name of the model, in place of a model or a file of one.
PRETRAINED = "pretrained"
# Smoothness unless another one is asked for: in the middle of a range in which the
# overlap of brains hardly changes (doc/zero_shot.rst).
SMOOTHNESS = 0.3


class Pretrained(NamedTuple):
    """Options of the pretrained model as it predicts.

    Attributes
    ----------
    smoothness : float
        From 0, the roughest fields, to 1.
    passes : int, optional
        Number of predictions. By default that of the rank of the images.
    """

    smoothness: float = SMOOTHNESS
    passes: int | None = None

    def check(self):
        """Raise ValueError unless each option is in its range."""
        check_dial(self.smoothness)
        if self.passes is not None:
            check_integer("passes", self.passes, lowest=1)


def as_pretrained(model):
    """Return the options of the pretrained model, or None for another model."""
    if isinstance(model, str):
        return Pretrained()
    return model if isinstance(model, Pretrained) else None
