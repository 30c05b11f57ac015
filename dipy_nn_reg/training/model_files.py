"""Checks of model files, before anything is built from them."""

from contextlib import contextmanager
from io import BytesIO
import json
from math import prod
from pathlib import Path
import zipfile
import zlib

import h5py
import keras

from dipy_nn_reg.memory import GIB, memory_there

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
# Largest size of a configuration. It usually has some kilobytes, or a megabyte for a
# large network of the user.
MAX_CONFIG_BYTES = 2**24
# First version of Keras without known ways of a file to run code or to write elsewhere:
# CVE-2025-1550, -8747, -9905, -9906, CVE-2026-1462, GHSA-hqp4-2352-xf5r.
SAFE_KERAS = (3, 14)
# Largest ratio of the size of the weights to that of the file. Keras does not compress
# them; zeros that another program has compressed have a ratio of 1000.
_MAX_EXPANSION = 20
# Largest ratio of the weights of a network to the stored numbers: shared layers may be
# counted more than once.
_MAX_WEIGHTS_PER_STORED = 4
# Number of weights that a network may have in any case.
_FEW_WEIGHTS = 2**20


def check_keras():
    """Raise RuntimeError if this version of Keras may run code from a file."""
    version = tuple(int(part) for part in keras.__version__.split(".")[:2])
    if version < SAFE_KERAS:
        needed = ".".join(map(str, SAFE_KERAS))
        raise RuntimeError(
            f"Expected Keras {needed} or later, since earlier versions may run code "
            f"from a model file. Received keras {keras.__version__}: "
            f"pip install 'keras>={needed}'."
        )


def read_archive(path):
    """Return the configuration and the shapes in a ``.keras`` file, after checks.

    Parameters
    ----------
    path : string or Path

    Returns
    -------
    config : dict
    shapes : dict of tuple
        Shape of each stored array, by its name.

    Raises
    ------
    ValueError
        If the file has another format, is damaged, or declares far more than it
        stores.
    """
    with _opened(path) as archive:
        return _read_config(archive), _read_shapes(BytesIO(archive.read(WEIGHTS)))


def read_weight_shapes(path):
    """Return the shape of each array in a ``.weights.h5`` file, by its name.

    Raises
    ------
    ValueError
        If the file has another format, or declares far more than it stores.
    """
    with open(path, "rb") as file:
        return _read_shapes(file)


def check_weights_fit(config, shapes):
    """Raise ValueError if a model has far more weights than its file.

    Parameters
    ----------
    config, shapes
        As :func:`read_archive` returns them.
    """
    stored = sum(map(prod, shapes.values()))
    declared = _count_weights(config)
    if declared > _FEW_WEIGHTS + _MAX_WEIGHTS_PER_STORED * stored:
        raise ValueError(
            f"it asks for a network of {declared} weights and holds {stored} numbers"
        )


@contextmanager
def _opened(path):
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no zip archive, or is cut short")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, Path(path).stat().st_size)
            yield archive
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, EOFError) as error:
        raise ValueError(f"the archive is damaged: {error}") from error


def _check_members(archive, size):
    """Raise ValueError for unexpected members, and sizes that the file cannot hold."""
    names = archive.namelist()
    if sorted(names) != sorted((CONFIG, METADATA, WEIGHTS)):
        raise ValueError(
            f"expected {CONFIG}, {METADATA} and {WEIGHTS} in it, not {names[:9]}"
        )
    for name in (CONFIG, METADATA):
        if archive.getinfo(name).file_size > MAX_CONFIG_BYTES:
            raise ValueError(f"its {name} is larger than {MAX_CONFIG_BYTES} bytes")
    declared, available = archive.getinfo(WEIGHTS).file_size, memory_there()
    if declared > min(available, _MAX_EXPANSION * size):
        raise ValueError(
            f"its weights need {declared / GIB:.2f} GiB of memory. The file has "
            f"{size / GIB:.2f} GiB, and the machine {available / GIB:.2f}"
        )


def _read_config(archive):
    archive.read(METADATA)  # for its checksum
    try:
        config = json.loads(archive.read(CONFIG))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its {CONFIG} cannot be read: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise ValueError(f"its {CONFIG} describes no model")
    registered = config.get("registered_name")
    if registered != "dipy_nn_reg>RegistrationModel":
        raise ValueError(f"it is a {registered or config.get('class_name')}")
    compiled = config.get("compile_config")
    if not isinstance(compiled, dict) or not compiled.get("optimizer"):
        raise ValueError("it has no optimizer")
    foreign = ("loss", "loss_weights", "metrics", "weighted_metrics")
    if any(compiled.get(name) is not None for name in foreign):
        raise ValueError("it is compiled with a loss or metrics of its own")
    return config


def _read_shapes(file):
    """Return the shapes of the arrays in an HDF5 file, which must be uncompressed."""
    try:
        with h5py.File(file) as content:
            return dict(_walk(content, visited=set()))
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"its weights cannot be read: {error}") from error


def _walk(group, visited):
    """Yield the name and the shape of each array in a group."""
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name!r} in its weights leads elsewhere")
        member = group[name]
        if isinstance(member, h5py.Dataset):
            _check_stored(member)
            yield member.name.lstrip("/"), member.shape
            continue
        address = h5py.h5o.get_info(member.id).addr
        if address not in visited:  # a group may be linked into itself
            visited.add(address)
            yield from _walk(member, visited)


def _check_stored(array):
    name = array.name.lstrip("/")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name!r} in its weights holds no numbers")
    if array.external or array.is_virtual:
        raise ValueError(f"{name!r} in its weights lies in another file")
    if array.id.get_storage_size() < array.nbytes:
        raise ValueError(f"{name!r} in its weights declares more than is stored")


def _count_weights(config):
    """Return the number of weights of a model, without allocating them."""
    # Keras has no public way to drop variables that were never initialised.
    from keras.src.backend.common import global_state

    options = config["config"]
    affine = options.get("affine")
    parts = {"config": {**options, "affine": None}, "compile_config": None}
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = keras.saving.deserialize_keras_object(config | parts)
    except (ValueError, TypeError) as error:
        if "stateless scope" not in str(error):
            raise
        return 0  # a layer of the user computes its weights from other values
    finally:
        global_state.set_global_attribute("uninitialized_variables", [])
    inside = _count_weights(affine) if isinstance(affine, dict) else 0
    return inside + sum(prod(weight.shape) for weight in model.weights)
