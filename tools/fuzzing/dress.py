"""Other forms (dresses) of the same values, on which a result must not depend."""

import os
from pathlib import Path

import numpy as np


def dress(kind, value, rng, folder):
    """Return the same value in two forms, a plain one and another.

    Parameters
    ----------
    kind : str
    value : object
    rng : numpy.random.Generator
    folder : Path
        Of the case.

    Returns
    -------
    name : str or None
        None if this kind has no other form.
    plain, dressed : object
    must_work : bool
        Whether the form is a usual one, which no function may refuse.
    """
    makers = _DRESSES.get(kind)
    if makers is None or value is None:
        return None, value, value, False
    name = list(makers)[rng.integers(len(makers))]
    plain, dressed = makers[name](value, folder)
    return name, plain, dressed, name in _USUAL


class WithArray:
    """An object that NumPy can convert to an array."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array if dtype is None else self.array.astype(dtype)


class WithPath:
    """An object with a path (``os.PathLike``)."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return os.fspath(self.path)


def _same(function):
    """Return a maker of a form that does not change the plain value."""
    return lambda value, folder: (value, function(np.asarray(value)))


def _strided(array):
    wide = np.full([2 * size for size in array.shape], 77, array.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def _backwards(array):
    turned = np.ascontiguousarray(array[::-1])
    return turned[::-1]


def _big_endian(array):
    return array.astype(array.dtype.newbyteorder(">"))


def _read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _memmap(value, folder):
    array = np.asarray(value)
    path = folder / f"memmap_{len(list(folder.glob('memmap_*')))}.npy"
    np.save(path, array)
    return value, np.load(path, mmap_mode="r")


def _tensor(array):
    import tensorflow as tf

    return tf.constant(array)


def _as_type(dtype):
    return _same(lambda array: array.astype(dtype))


def _whole(dtype):
    """Round to a few whole numbers, as a float array and as integers."""

    def make(value, folder):
        array = np.asarray(value, np.float64)
        scale = 100 / max(np.abs(array).max(initial=0), 1e-9)
        whole = np.round(array * scale)
        if np.dtype(dtype).kind == "u":
            whole = np.abs(whole)
        return whole.astype(np.float32), whole.astype(dtype)

    return make


def _boolean(value, folder):
    array = np.asarray(value)
    high = array > (array.min() + array.max()) / 2 if array.size else array > 0
    return high.astype(np.float32), high


def _boolean_labels(value, folder):
    labels = np.asarray(value) > 0
    return labels.astype(np.int32), labels


_LAYOUTS = {
    "list": _same(lambda array: array.tolist()),
    "Fortran order": _same(np.asfortranarray),
    "strided": _same(_strided),
    "backwards": _same(_backwards),
    "big-endian": _same(_big_endian),
    "read-only": _same(_read_only),
    "memory map": _memmap,
    "object with __array__": _same(WithArray),
    "masked array, no mask": _same(np.ma.asarray),
    "tensor": _same(_tensor),
}
_FLOATS = {
    "float64": _as_type(np.float64),
    "float32": _as_type(np.float32),
    "float16": _as_type(np.float16),
    "longdouble": _as_type(np.longdouble),
}
_IMAGES = {
    **_LAYOUTS,
    **_FLOATS,
    "int8": _whole(np.int8),
    "uint8": _whole(np.uint8),
    "int16": _whole(np.int16),
    "big-endian int32": _whole(">i4"),
    "int64": _whole(np.int64),
    "uint64": _whole(np.uint64),
    "bool": _boolean,
}
_FIELDS = {**_LAYOUTS, **_FLOATS}
_LABELS = {
    **_LAYOUTS,
    **{n: _as_type(n) for n in ("int8", "uint8", "int16", "uint16", "int32", "uint32")},
    **{n: _as_type(n) for n in ("int64", "uint64", ">i2")},
    "bool": _boolean_labels,
}
_INTEGERS = {
    n: _same(lambda array, n=n: np.dtype(n).type(array)) for n in ("i1", "i8", "u2")
}
_NUMBERS = {
    "float64": _same(np.float64),
    "float32": lambda value, folder: (float(np.float32(value)), np.float32(value)),
}
_PATHS = {
    "text": lambda value, folder: (value, str(value)),
    "Path": lambda value, folder: (value, Path(value)),
    "object with __fspath__": lambda value, folder: (value, WithPath(value)),
}
_SHAPES = {
    "list": lambda value, folder: (value, list(value)),
    "tuple": lambda value, folder: (value, tuple(value)),
    "NumPy integers": lambda value, folder: (value, tuple(np.int64(n) for n in value)),
    "array": lambda value, folder: (value, np.array(value)),
}
_SEQUENCES = {
    "list": lambda value, folder: (value, list(value)),
    "tuple": lambda value, folder: (value, tuple(value)),
}
_NAMES = {"NumPy text": lambda value, folder: (value, np.str_(value))}
_BOOLS = {"NumPy bool": lambda value, folder: (value, np.bool_(value))}
_DRESSES = {
    "affine": _FIELDS,
    "bool": _BOOLS,
    "field": _FIELDS,
    "image": _IMAGES,
    "integer": _INTEGERS,
    "count": _INTEGERS,
    "labels": _LABELS,
    "name": _NAMES,
    "number": _NUMBERS,
    "path": _PATHS,
    "points": _FIELDS,
    "sequence": _SEQUENCES,
    "shape": _SHAPES,
    "tensor": _FIELDS,
}
_USUAL = {
    "Fortran order",
    "strided",
    "backwards",
    "big-endian",
    "read-only",
    "memory map",
    "float64",
    "float32",
    "text",
    "Path",
    "i8",
    "int16",
    "uint8",
    "int64",
}
