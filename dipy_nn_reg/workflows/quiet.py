"""Import Keras without what TensorFlow says before it can be told to be quiet."""

from contextlib import contextmanager
import os


def import_keras():
    """Import Keras; on the standard error, nothing is said meanwhile.

    TensorFlow's libraries write there on their own, below Python. What goes wrong is
    an exception as ever.
    """
    with _silent_standard_error():
        import keras  # noqa: F401


@contextmanager
def _silent_standard_error():
    try:
        kept = os.dup(2)
    except OSError:  # It is closed: there is nothing to be seen.
        yield
        return
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
