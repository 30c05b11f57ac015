"""Choice of losses and penalties, by name or as a function of the user."""

from collections.abc import Callable
from functools import lru_cache, partial
from inspect import signature
from typing import NamedTuple

from keras import ops

from dipy_nn_reg.backend import output_shape, recomputed
from dipy_nn_reg.checks import check_name, check_number
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
        constrain it weakly. It was chosen on SRI24 (doc/performance.md).
    displacement_smoothness : float
        The same for a displacement of one pair.
    values_per_voxel : int
        Number of float32 values per voxel that sampling and the loss hold while their
        gradient is computed, as measured (doc/performance.md).
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


def check_choice(option, choice, names):
    """Raise ValueError unless a choice is one of ``names``, or callable."""
    if not callable(choice):
        check_name(option, choice, names)
    elif isinstance(choice, partial) and choice.args:
        raise ValueError(
            f"Expected {option} to be a partial with options by name. "
            f"Received {choice!r}."
        )


def check_penalty_option(penalty, smoothness):
    """Raise ValueError unless a penalty and its weight are valid.

    Parameters
    ----------
    penalty : str, callable or dict of float
        A penalty, or a dictionary with the weight of each of several penalties.
    smoothness : float or None
        Weight of a single penalty; None with a dictionary.
    """
    if isinstance(penalty, dict):
        for name, weight in penalty.items():
            check_name("each name in penalty", name, PENALTIES)
            check_number(f"the weight of the penalty {name!r}", weight, or_zero=True)
        if smoothness is not None:
            raise ValueError(
                f"Expected smoothness=None, since penalty gives the weights. "
                f"Received smoothness={smoothness!r}."
            )
        return
    check_choice("penalty", penalty, PENALTIES)
    if smoothness is not None:
        check_number("smoothness", smoothness, or_zero=True)


def default_smoothness(loss, penalty, transform):
    """Return the default weight of a penalty beside a loss.

    Parameters
    ----------
    loss : str or callable
    penalty : str, callable or dict
    transform : str
        An affine map needs no penalty: its weight is 0.

    Returns
    -------
    smoothness : float or None
        None for penalties that have a weight each.

    Raises
    ------
    ValueError
        If the loss or the penalty is not one of those listed.
    """
    check_choice("loss", loss, LOSSES)
    check_penalty_option(penalty, None)
    if isinstance(penalty, dict):
        return None
    if transform == "affine":
        return 0.0
    return get_loss(loss).smoothness * get_penalty(penalty).smoothness


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
    return isinstance(loss, str) or "mask" in signature(loss).parameters


def check_mask_is_taken(loss, annotations):
    """Raise ValueError if there is a mask that a loss does not take.

    Parameters
    ----------
    loss : str or callable
    annotations : Annotations
    """
    masks = annotations.mask, annotations.moving_mask
    if any(mask is not None for mask in masks) and not takes_mask(loss):
        raise ValueError(
            f"Expected a loss that takes a mask, loss(static, warped, *, mask). "
            f"Received loss={loss!r} and a mask."
        )


@lru_cache(maxsize=16)  # the result is the same for each pair of a folder
def check_loss(loss, shape):
    """Raise ValueError unless a loss can be computed for images of a shape.

    Parameters
    ----------
    loss : str or callable
    shape : tuple of int
        Shape of a batch of images: (batch, *spatial, channels).
    """

    def evaluate(static, warped):
        return evaluate_loss(loss, static, warped)

    _check_function("loss", evaluate, loss, [shape, shape])


@lru_cache(maxsize=16)
def check_penalty(penalty, shape):
    """Raise ValueError unless a penalty can be computed for fields of a shape.

    Parameters
    ----------
    penalty : str or callable
    shape : tuple of int
        Shape of a batch of fields: (batch, *spatial, ndim).
    """
    function, _, of = get_penalty(penalty)
    if of != "both directions":
        _check_function("penalty", function, penalty, [shape])


def _check_function(option, function, choice, shapes):
    """Raise ValueError unless a function returns a number for each item of a batch."""
    expected = (
        f"Expected {option} to be a function of {len(shapes)} tensors, of shapes "
        f"{shapes}, that returns a number for each item of the batch. "
        f"Received {choice!r}, which"
    )
    try:
        shape = output_shape(function, *shapes)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"{expected} fails: {error}") from error
    if shape not in ((), shapes[0][:1]):
        raise ValueError(f"{expected} returns an array of shape {shape}.")
