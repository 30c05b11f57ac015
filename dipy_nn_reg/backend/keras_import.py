"""First import of Keras, with an error that says what to install.

The rooms that compute with tensors import this module before anything else.
"""

from importlib.util import find_spec

from dipy_nn_reg.quiet import silent_standard_error

# Backends of Keras, which are also the names of their packages.
_BACKENDS = ("tensorflow", "jax", "torch")


def explain(error):
    """Return an error that says how to get the backend that Keras did not find.

    Parameters
    ----------
    error : ModuleNotFoundError

    Returns
    -------
    error : ImportError
        The same error, if it is about another package.
    """
    missing = (error.name or "").partition(".")[0]
    if missing not in _BACKENDS:
        return error
    others = [name for name in _BACKENDS if name != missing]
    installed = [name for name in others if _is_installed(name)]
    choice = " or ".join(f"KERAS_BACKEND={name}" for name in installed or others)
    return ImportError(
        f"Expected the backend of Keras to be installed. Received {missing!r}, which "
        f"is not. Run pip install {missing}, or set the environment variable "
        f"{choice}{'' if installed else ' and install that one'}."
    )


def _is_installed(name):
    """Return whether there is a package, and not merely a folder of that name."""
    spec = find_spec(name)
    return spec is not None and spec.has_location


try:
    with silent_standard_error():
        import keras  # noqa: F401
except ModuleNotFoundError as error:
    raise explain(error) from None
