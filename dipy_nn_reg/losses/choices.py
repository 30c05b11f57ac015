"""Choice of losses and penalties, by name or as a function of the user."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import NamedTuple

from keras import ops

from dipy_nn_reg.backend import recomputed
from dipy_nn_reg.losses.images import lncc, mi, mse, ncc
from dipy_nn_reg.losses.penalties import (
    bending,
    folding,
    gradient,
    inverse_consistency,
    tv,
)
from dipy_nn_reg.losses.robust import robust_lncc
from dipy_nn_reg.losses.self_similarity import mind


class Loss(NamedTuple):
    """A dissimilarity of images, with its default weights and its need of memory.

    Attributes
    ----------
    function : callable
        See :mod:`dipy_nn_reg.losses.images`.
    smoothness : float
        Factor of the default weight of a penalty, multiplied by that of
        :class:`Penalty`. It was chosen on held-out training images of MNIST
        (doc/design.rst).
    pair_smoothness : float
        Further factor for a voxel-wise velocity of one pair, larger for losses that
        constrain it weakly. It was chosen on SRI24 (doc/experiments.md).
    displacement_smoothness : float
        The same for a displacement of one pair.
    values_per_voxel : int
        Number of float32 values per voxel that sampling and the loss hold while their
        gradient is computed, as measured (doc/experiments.md).
    """

    function: Callable
    smoothness: float = 1.0
    pair_smoothness: float = 1.0
    displacement_smoothness: float = 1.0
    values_per_voxel: int = 60


class Penalty(NamedTuple):
    """A penalty of fields, with its default weight.

    Attributes
    ----------
    function : callable
        See :mod:`dipy_nn_reg.losses.penalties`.
    smoothness : float
        Factor of the default weight, multiplied by that of :class:`Loss`.
    of : {"field", "displacement", "both directions"}
        Argument of the function: the field that a network predicts, the displacement
        computed from it, or the displacements of both directions.
    """

    function: Callable
    smoothness: float
    of: str = "field"


LOSSES = {
    "lncc": Loss(lncc),
    "mi": Loss(
        mi, pair_smoothness=10.0, displacement_smoothness=3.0, values_per_voxel=330
    ),
    "mind": Loss(
        mind,
        0.12,
        pair_smoothness=8.0,
        displacement_smoothness=2.0,
        values_per_voxel=540,
    ),
    "mse": Loss(mse, 0.2, values_per_voxel=40),
    "ncc": Loss(ncc, values_per_voxel=40),
    "robust_lncc": Loss(robust_lncc, values_per_voxel=65),
}
PENALTIES = {
    "bending": Penalty(recomputed(bending), 0.3),
    "folding": Penalty(recomputed(folding), 100.0, "displacement"),
    "gradient": Penalty(recomputed(gradient), 0.5),
    "inverse_consistency": Penalty(inverse_consistency, 1.0, "both directions"),
    "tv": Penalty(recomputed(tv), 0.4),
}


@dataclass(frozen=True)
class ChannelLosses:
    """A loss for each channel of the images; itself a loss.

    Attributes
    ----------
    losses : tuple of (str or callable)
    weights : tuple of float
        Their mean weighted by these is the loss.
    """

    losses: tuple
    weights: tuple

    def __call__(self, static, warped, *, mask=None):
        """Return the weighted mean of the losses of the channels: (batch,)."""
        total = sum(
            weight
            * evaluate_loss(loss, static[..., i, None], warped[..., i, None], mask)
            for i, (loss, weight) in enumerate(zip(self.losses, self.weights))
        )
        return total / sum(self.weights)

    def as_row(self):
        """Return the :class:`Loss`, with the largest need of any channel."""
        rows = [get_loss(loss) for loss in self.losses]
        return Loss(self, *(max(values) for values in zip(*(row[1:] for row in rows))))


def get_loss(loss):
    """Return the :class:`Loss` of a name or function.

    Parameters
    ----------
    loss : str or callable
        A function of this package, with or without options, has the weights of its
        name. Any other function has default weights.
    """
    if isinstance(loss, str):
        return LOSSES[loss]
    if isinstance(loss, ChannelLosses):
        return loss.as_row()
    function = loss
    while isinstance(function, partial):
        function = function.func
    for named in LOSSES.values():
        if named.function == function:
            return named._replace(function=loss)
    return Loss(loss)


def loss_name(loss):
    """Return the name of a loss, that in :data:`LOSSES` or that of a function."""
    if isinstance(loss, str):
        return loss
    if isinstance(loss, ChannelLosses):
        return ", ".join(map(loss_name, loss.losses))
    function = loss.func if isinstance(loss, partial) else loss
    names = [name for name, named in LOSSES.items() if named.function is function]
    return names[0] if names else getattr(function, "__name__", str(function))


def get_penalty(penalty):
    """Return the :class:`Penalty` of a name or of a function.

    A function that is not in the table penalises the field, with a weight of 1.
    """
    if isinstance(penalty, str):
        return PENALTIES[penalty]
    for named in PENALTIES.values():
        if penalty in (named.function, getattr(named.function, "__wrapped__", None)):
            return named
    return Penalty(penalty, 1.0)


def evaluate_loss(loss, static, warped, mask=None):
    """Return the loss of images, one value for each item of the batch.

    Parameters
    ----------
    loss : str or callable
        A function may return a value for each voxel, as losses of Keras do.
    static, warped : tensor, shape (batch, *spatial, channels)
    mask : tensor, shape (batch, *spatial, 1), optional

    Returns
    -------
    values : tensor, shape (batch,)
    """
    options = {} if mask is None else {"mask": mask}
    values = get_loss(loss).function(static, warped, **options)
    axes = tuple(range(1, len(values.shape)))
    return ops.mean(values, axis=axes) if axes else values


def takes_mask(loss):
    """Return whether a loss can be restricted to a mask."""
    if isinstance(loss, ChannelLosses):
        return all(map(takes_mask, loss.losses))
    return isinstance(loss, str) or "mask" in signature(loss).parameters
