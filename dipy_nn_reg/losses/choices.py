"""Choices that a user makes by name or by an object: network, loss, penalty, affine."""

from functools import lru_cache, partial
from inspect import signature

import keras
from keras import ops

from dipy_nn_reg.backend import output_shape
from dipy_nn_reg.checks import check_name, check_number
from dipy_nn_reg.losses.images import LOSSES
from dipy_nn_reg.losses.penalties import (
    DISPLACEMENT_PENALTIES,
    FIELD_PENALTIES,
    PENALTIES,
)

# The default weight of a penalty is the product of the two; chosen on held-out training
# images of MNIST (doc/design.rst).
LOSS_SCALES = {"lncc": 1.0, "mi": 1.0, "mind": 0.12, "mse": 0.2, "ncc": 1.0}
PENALTY_SCALES = {
    "bending": 0.3,
    "folding": 100.0,
    "gradient": 0.5,
    "inverse_consistency": 1.0,
    "tv": 0.4,
}


def check_choice(option, choice, known):
    """Raise ValueError unless a choice is one of the known names, or callable."""
    if not callable(choice):
        check_name(option, choice, known)
    elif isinstance(choice, partial) and choice.args:
        raise ValueError(
            f"Expected {option} to be a partial with options by name. "
            f"Received {choice!r}."
        )


def check_penalty(penalty, smoothness):
    """Raise ValueError unless penalty and smoothness say what to penalise.

    Parameters
    ----------
    penalty : str, callable or dict of float
        A dictionary gives the weight of each penalty.
    smoothness : float or None
        Weight of the penalty if it is one; None with a dictionary.
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
    """Return the weight of a penalty that suits a loss; 1 for those not ours.

    An affine map needs none.
    """
    if transform == "affine":
        return 0.0
    while isinstance(loss, partial):
        loss = loss.func
    names = [name for name, ours in LOSSES.items() if loss in (name, ours)]
    scale = LOSS_SCALES[names[0]] if names else 1.0
    return scale * PENALTY_SCALES[penalty] if isinstance(penalty, str) else scale


def get_loss(loss):
    """Return a function ``(static, warped, mask)`` with one value for each image."""
    function = LOSSES[loss] if isinstance(loss, str) else loss

    def evaluate(static, warped, mask=None):
        options = {} if mask is None else {"mask": mask}
        values = function(static, warped, **options)
        axes = tuple(range(1, len(values.shape)))
        return ops.mean(values, axis=axes) if axes else values

    return evaluate


def takes_mask(loss):
    """Tell whether a loss can be restricted to a mask."""
    return isinstance(loss, str) or "mask" in signature(loss).parameters


@lru_cache(maxsize=16)  # for each pair of a folder, the answer is the same
def check_loss(loss, shape):
    """Raise ValueError unless a loss takes images of a shape.

    Parameters
    ----------
    loss : str or callable
    shape : tuple of int
        Of a batch of images: (batch, *spatial, channels).
    """
    _check_function("loss", get_loss(loss), loss, [shape, shape])


def check_penalties(options, shape):
    """Raise ValueError unless the penalties take fields of a shape.

    Parameters
    ----------
    options : dict
        With ``penalty`` and ``smoothness``.
    shape : tuple of int
        Of a batch of fields: (batch, *spatial, ndim).
    """
    for penalty in get_penalties(options):
        if penalty != "inverse_consistency":
            _check_penalty(penalty, shape)


@lru_cache(maxsize=16)
def _check_penalty(penalty, shape):
    def evaluate(field):
        return evaluate_penalty(penalty, field=field, displacement=field)

    _check_function("penalty", evaluate, penalty, [shape])


def _check_function(option, function, given, shapes):
    """Follow shapes through a function, without computing anything."""
    expected = (
        f"Expected {option} to be a function of {len(shapes)} tensors, of shapes "
        f"{shapes}, that returns a number for each item of the batch. "
        f"Received {given!r}, which"
    )
    try:
        found = output_shape(function, *shapes)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"{expected} fails: {error}") from error
    if found not in ((), shapes[0][:1]):
        raise ValueError(f"{expected} returns an array of shape {found}.")


def get_penalties(options):
    """Return the weight of each penalty, by its name, or by a function given."""
    penalty, smoothness = options["penalty"], options["smoothness"]
    return penalty if isinstance(penalty, dict) else {penalty: smoothness}


def evaluate_penalty(penalty, *, field, displacement):
    """Evaluate a penalty on what it is meant for."""
    if penalty in DISPLACEMENT_PENALTIES:
        return DISPLACEMENT_PENALTIES[penalty](displacement)
    return FIELD_PENALTIES.get(penalty, penalty)(field)


def to_config(options):
    """Return options that can be written to a file, see :func:`from_config`."""
    return {name: _to_config(choice) for name, choice in options.items()}


def check_can_be_loaded(options):
    """Raise ValueError if an option could be written to a file, but not read again.

    Parameters
    ----------
    options : dict
        As :func:`to_config` takes them.
    """
    for name, choice in options.items():
        if not callable(choice):
            continue
        try:
            _from_config(name, _to_config(choice), None)
        except Exception as error:
            what = "made of layers that are " if name == "network" else ""
            raise ValueError(
                f"Expected {name} to be {what}registered, and no Lambda, without which "
                f"the model could not be loaded again: "
                f"@keras.saving.register_keras_serializable() above its definition. "
                f"Received {choice!r}."
            ) from error


def from_config(config, custom_objects=None):
    """Return the options from what :func:`to_config` has made of them.

    Raises
    ------
    ValueError, TypeError
        If a function is neither ours, nor a loss of Keras's, nor registered by the
        user: it is looked up, and not called.
    """
    return {name: _from_config(name, c, custom_objects) for name, c in config.items()}


def _to_config(choice):
    if isinstance(choice, partial):
        return {"partial": _to_config(choice.func), "options": choice.keywords}
    return keras.saving.serialize_keras_object(choice)


def _from_config(name, config, custom_objects):
    if isinstance(config, dict) and "partial" in config:
        function = _from_config(name, config["partial"], custom_objects)
        return partial(function, **config["options"])
    choice = keras.saving.deserialize_keras_object(config, custom_objects)
    if callable(choice) and not _may_come_from_a_file(choice, custom_objects):
        raise ValueError(
            f"Expected {name} to be registered by "
            f"keras.saving.register_keras_serializable. Received {choice!r}."
        )
    return choice


def _may_come_from_a_file(choice, custom_objects):
    if isinstance(choice, (keras.Model, keras.losses.Loss)):
        return True
    name = keras.saving.get_registered_name(choice)
    registered = keras.saving.get_registered_object(name, custom_objects)
    return registered is choice or choice.__module__.startswith("keras.src.losses.")
