"""Snapshots of the arguments, the folder and the process, none of which may change."""

import hashlib
import logging
import os
import random
import sys
import warnings

import numpy as np

# Largest size of an array, in bytes, whose content is compared. Larger ones are views
# of one value, or slow to read.
_MAX_BYTES = 2**26


def snapshot_of_process():
    """Return the parts of the global state that a function could change, by name."""
    state = {
        "NumPy's seed": _digest(repr(np.random.get_state())),
        "the seed of random": hash(random.getstate()),
        "NumPy's handling of errors": str(np.geterr()),
        "the environment": dict(os.environ),
        "the filters of warnings": list(warnings.filters),
        "the level of the dipy logger": logging.getLogger("dipy").level,
        "the working folder": os.getcwd(),
        "print options": str(np.get_printoptions()),
    }
    keras = sys.modules.get("keras")
    if keras is not None:
        state["Keras's policy"] = keras.config.dtype_policy().name
        state["Keras's floatx"] = keras.config.floatx()
    return state


def what_changed(before, after):
    """Return the names of the differences between two snapshots."""
    return [name for name, value in before.items() if after.get(name) != value]


def snapshot_of_arguments(arguments):
    """Return a digest of each argument that holds arrays."""
    return {name: _fingerprint(value, 0) for name, value in arguments.items()}


def _fingerprint(value, depth):
    if depth > 4:
        return None
    if isinstance(value, np.ndarray):
        return _of_array(value)
    if isinstance(value, dict):
        return [(str(k), _fingerprint(v, depth + 1)) for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return [_fingerprint(v, depth + 1) for v in value[:1000]]
    if hasattr(value, "backward"):  # a map
        return _fingerprint(vars(value), depth + 1)
    if hasattr(value, "get_weights"):
        return _fingerprint(value.get_weights(), depth + 1)
    if hasattr(value, "model") and hasattr(value, "predict_mapping"):
        return _fingerprint(value.model, depth + 1)
    if isinstance(value, (bool, int, float, str, bytes, type(None))):
        return value if not isinstance(value, float) else repr(value)
    return type(value).__name__


def _of_array(array):
    about = (array.shape, array.strides, str(array.dtype), array.flags.writeable)
    if array.nbytes > _MAX_BYTES:
        return about
    content = repr(array.tolist()) if array.dtype.hasobject else array.tobytes()
    return (*about, _digest(content))


def _digest(content):
    content = content.encode(errors="replace") if isinstance(content, str) else content
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def snapshot_of_folder(folder):
    """Return a digest of each file in a folder, and None for each folder in it."""
    digests = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    digests[os.path.relpath(path, folder)] = _digest(file.read())
            else:
                digests[os.path.relpath(path, folder)] = None
    return digests
