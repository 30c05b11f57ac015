"""Checks of losses and penalties, losses of channels, default weights of penalties."""

from functools import lru_cache, partial

import numpy as np

from dipy_nn_reg.backend import output_shape
from dipy_nn_reg.checks import check_name, check_number
from dipy_nn_reg.losses.choices import (
    LOSSES,
    PENALTIES,
    ChannelLosses,
    evaluate_loss,
    get_loss,
    get_penalty,
    takes_mask,
)


def check_choice(option, choice, names):
    """Raise ValueError unless a choice is one of ``names``, or callable."""
    if not callable(choice):
        check_name(option, choice, names)
    elif isinstance(choice, partial) and choice.args:
        raise ValueError(
            f"Expected {option} to be a partial with options by name. "
            f"Received {choice!r}."
        )


def join_losses(loss, weights, number):
    """Return one loss of all channels.

    Parameters
    ----------
    loss : str, callable or sequence of these
        One for all channels, or one for each; or a :class:`ChannelLosses`.
    weights : sequence of float or None
        One for each channel.
    number : int
        Of channels.

    Returns
    -------
    loss : str or callable

    Raises
    ------
    ValueError
        If there are other numbers of losses or weights, or if one of them is invalid.
    """
    if isinstance(loss, ChannelLosses):
        weights = loss.weights if weights is None else weights
        loss = loss.losses
    losses = list(loss) if isinstance(loss, (list, tuple)) else [loss] * number
    values = (
        [1.0] * number
        if weights is None
        else np.atleast_1d(np.array(weights, object)).tolist()
    )
    for name, given in (("loss", losses), ("channel_weights", values)):
        if len(given) != number:
            raise ValueError(
                f"Expected {name} for each of {number} channels. Received {given}."
            )
    for one, weight in zip(losses, values):
        check_choice("loss", one, LOSSES)
        check_number("each of channel_weights", weight)
    if weights is None and all(one == losses[0] for one in losses):
        return losses[0]
    return ChannelLosses(tuple(losses), tuple(map(float, values)))


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
