"""Saving and loading of models, complete or not at all."""

from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np

from dipy_nn_reg.backend import layers_in
from dipy_nn_reg.checks import check_path
from dipy_nn_reg.io.atomic import whole_file
from dipy_nn_reg.training.model_files import (
    check_keras,
    check_weights_fit,
    read_archive,
    read_weight_shapes,
)
from dipy_nn_reg.training.snapshot import Snapshot
from dipy_nn_reg.training.state import set_seeds

MODEL_ENDING, WEIGHTS_ENDING = ".keras", ".weights.h5"
# Text of Keras before the cause of an error, which comes after whole configurations.
_LAST_CAUSE = "Exception encountered: "
# Largest number of characters of a cause that are shown.
_MAX_CHARACTERS = 500


def save_whole(save, path, *, ending):
    """Save by a method of Keras, completely or not at all.

    Raises
    ------
    ValueError
        If the path does not have the ending.
    """
    if not str(path).endswith(ending):
        raise ValueError(
            f"Expected a path that ends with {ending!r}. Received {str(path)!r}."
        )
    with whole_file(path) as partial:
        save(partial)


def load_model(path, owner):
    """Load a model that ``owner.save`` has written.

    Parameters
    ----------
    path : string or Path
    owner : str
        Name of the class that loads it.

    Returns
    -------
    model : RegistrationModel

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is not such a model. Its content is checked before a model is
        built.
    RuntimeError
        If this version of Keras may run code from a file.
    """
    _check_is_file(path)
    check_keras()
    try:
        config, shapes = read_archive(path)
        check_weights_fit(config, shapes)
        with layers_in("float32"):  # for the optimizer, whatever the settings of Keras
            model = keras.saving.load_model(path)
        if "seeds" in model.state:
            set_seeds(model, model.state.pop("seeds"))
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(
            f"Expected a file written by {owner}.save. Received path={str(path)!r}, "
            f"which cannot be loaded: {_cause(error)}"
        ) from error
    _check_finite(model, path)
    return model


def load_weights(model, path):
    """Load weights into a model, which does not change if they do not fit.

    Parameters
    ----------
    model : RegistrationModel
    path : string or Path
        File that ``save_weights`` or ``save`` has written.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file has another format, or is one of another network.
    """
    _check_is_file(path)
    before = Snapshot(model)
    try:
        _check_same_network(model, path)
        model.load_weights(path)
        _check_finite(model, path)
    except Exception as error:
        before.restore()
        raise ValueError(
            f"Expected weights that save_weights has written, of a model of the same "
            f"configuration. Received path={str(path)!r}: {_cause(error)}"
        ) from error


def _cause(error):
    return str(error).split(_LAST_CAUSE)[-1][:_MAX_CHARACTERS]


def _check_is_file(path):
    if not check_path("path", path).is_file():
        raise FileNotFoundError(f"Expected a file. Received path={str(path)!r}.")


def _check_finite(model, path):
    for weight in model.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
            raise ValueError(
                f"Expected a model of finite weights. Received path={str(path)!r}, "
                f"where {weight.path!r} is not finite: its training has diverged."
            )


def _check_same_network(model, path):
    """Raise ValueError unless a file has the arrays that the model would write."""
    if str(path).endswith(MODEL_ENDING):
        _, stored = read_archive(path)
    elif str(path).endswith(WEIGHTS_ENDING):
        stored = read_weight_shapes(path)
    else:
        raise ValueError(f"its name does not end with {WEIGHTS_ENDING!r}")
    with TemporaryDirectory(prefix="dipy_nn_reg_") as folder:
        model.save_weights(Path(folder, f"own{WEIGHTS_ENDING}"))
        own = read_weight_shapes(Path(folder, f"own{WEIGHTS_ENDING}"))
    own, stored = (
        {name: s for name, s in shapes.items() if not name.startswith("optimizer/")}
        for shapes in (own, stored)
    )
    different = sorted(set(own.items()) ^ set(stored.items()))
    if different:
        name, _ = different[0]
        raise ValueError(
            f"{name!r} has the shape {stored.get(name)} and not {own.get(name)}"
        )
