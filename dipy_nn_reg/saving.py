"""Save and load models, whole or not at all."""

from pathlib import Path

import keras

from dipy_nn_reg.files import whole_file
from dipy_nn_reg.precision import layers_in
from dipy_nn_reg.training import RegistrationModel


def save_whole(save, path, *, ending):
    """Save by a method of Keras's, to a name that has to end as it expects."""
    if not str(path).endswith(ending):
        raise ValueError(
            f"Expected a name that ends with {ending!r}. Received {str(path)!r}."
        )
    with whole_file(path) as partial:
        save(partial)


def load_model(path, owner, transforms):
    """Load a model that ``owner.save`` has written.

    Parameters
    ----------
    path : string or Path
    owner : str
        Name of the class that loads it.
    transforms : collection of str
        Those that the class is for.

    Returns
    -------
    model : RegistrationModel
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"Expected a file. Received path={str(path)!r}.")
    expected = f"Expected a file written by {owner}.save"
    try:
        with layers_in("float32"):  # the optimizer, whatever Keras is set to
            model = keras.saving.load_model(path)
    except Exception as error:
        raise ValueError(
            f"{expected}. Received path={str(path)!r}, which Keras cannot load: {error}"
        ) from error
    if not isinstance(model, RegistrationModel):
        raise ValueError(f"{expected}. Received a {type(model).__name__}.")
    transform = model.options["transform"]
    if transform not in transforms:
        raise ValueError(f"{expected}. Received one with transform={transform!r}.")
    return model
