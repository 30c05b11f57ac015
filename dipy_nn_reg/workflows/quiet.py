"""Import of Keras without the messages of TensorFlow's libraries."""

from contextlib import contextmanager
import os


def import_keras():
    """Import Keras with the standard error closed.

    TensorFlow's libraries write to it below Python, before they can be configured.
    Errors are raised as exceptions all the same.
    """
    with _silent_standard_error():
        import keras  # noqa: F401


@contextmanager
def _silent_standard_error():
    try:
        kept = os.dup(2)
    except OSError:  # The standard error is closed.
        yield
        return
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
