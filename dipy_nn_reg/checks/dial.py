"""Smoothness that is chosen at prediction: the dial of a network."""

from dipy_nn_reg.checks.options import check_number

# Value of the option ``smoothness`` of a model that is trained for each smoothness.
ANY = "any"
# Networks that take a dial.
DIALLED = ("pyramid",)
# Dial unless another one is asked for: that of the default weight of the penalty.
MIDDLE = 0.5


def is_any(smoothness):
    """Return whether a model is trained for each smoothness."""
    return isinstance(smoothness, str) and smoothness == ANY


def check_takes_dial(network, smoothness):
    """Raise ValueError if a network without a dial is to be trained for any smoothness.

    Parameters
    ----------
    network : str, keras.Model or callable
    smoothness : float, str or None
    """
    if is_any(smoothness) and not (isinstance(network, str) and network in DIALLED):
        raise ValueError(
            f"Expected network to be one of {list(DIALLED)} with smoothness={ANY!r}. "
            f"Received network={network!r}."
        )


def check_dial(smoothness):
    """Raise ValueError unless a smoothness is from 0, the roughest field, to 1."""
    check_number("smoothness", smoothness, or_zero=True, highest=1)


def parse_smoothness(text):
    """Return the smoothness of a training from the text of an option.

    Parameters
    ----------
    text : str, float or None
        A weight, or ``ANY``.

    Returns
    -------
    smoothness : float, str or None

    Raises
    ------
    ValueError
        If it is neither.
    """
    if text is None or is_any(text):
        return text
    try:
        weight = float(text)
    except (TypeError, ValueError):
        raise ValueError(
            f"Expected smoothness to be a number or {ANY!r}. Received {text!r}."
        ) from None
    check_number("smoothness", weight, or_zero=True)
    return weight
