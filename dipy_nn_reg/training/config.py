"""Conversion of the options of a model to a configuration for a file, and back."""

from functools import partial

import keras

from dipy_nn_reg.losses.choice_checks import join_losses
from dipy_nn_reg.losses.choices import ChannelLosses


def to_config(options):
    """Return options that can be written to a file, see :func:`from_config`."""
    return {name: _to_config(choice) for name, choice in options.items()}


def check_can_be_loaded(options):
    """Raise ValueError unless options that are written to a file can be read again.

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
            owner = "made of layers that are " if name == "network" else ""
            raise ValueError(
                f"Expected {name} to be {owner}registered, and no Lambda, since the "
                f"model could not be loaded again otherwise: put "
                f"@keras.saving.register_keras_serializable() above the definition. "
                f"Received {choice!r}."
            ) from error


def from_config(config, custom_objects=None):
    """Return the options of a configuration that :func:`to_config` has made.

    Raises
    ------
    ValueError, TypeError
        If a function is neither one of this package, nor a loss of Keras, nor
        registered by the user. Functions are looked up and not called.
    """
    return {name: _from_config(name, c, custom_objects) for name, c in config.items()}


def _to_config(choice):
    if isinstance(choice, partial):
        return {"partial": _to_config(choice.func), "options": choice.keywords}
    if isinstance(choice, ChannelLosses):
        losses = [_to_config(loss) for loss in choice.losses]
        return {"losses": losses, "weights": list(choice.weights)}
    return keras.saving.serialize_keras_object(choice)


def _from_config(name, config, custom_objects):
    if isinstance(config, dict) and "partial" in config:
        function = _from_config(name, config["partial"], custom_objects)
        return partial(function, **config["options"])
    if isinstance(config, dict) and "losses" in config:
        losses = [_from_config(name, loss, custom_objects) for loss in config["losses"]]
        return join_losses(losses, config["weights"], len(losses))
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
