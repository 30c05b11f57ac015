"""Hostile values that are not arrays: objects, numbers, names, shapes, paths, maps.

Each maker takes a valid value, a random generator and the folder of the case.
"""

from copy import deepcopy
from decimal import Decimal
from fractions import Fraction
import os
from pathlib import Path

import numpy as np

from fuzzing.hostile_arrays import HUGE, always


class _Fraudulent:
    """An object that NumPy converts to something other than an array of numbers."""

    def __array__(self, dtype=None, copy=None):
        return np.array(["a", "b"])


OBJECTS = {
    "None": always(None),
    "text": always("text"),
    "bytes object": always(b"1"),
    "number": always(3),
    "fraction of a number": always(0.5),
    "NaN": always(np.nan),
    "True": always(True),
    "complex number": always(1j),
    "empty list": always([]),
    "ragged list": always([[1, 2], [3]]),
    "nested lists": always([[[[[[[[[[[[1.0]]]]]]]]]]]]),
    "dict": always({"a": 1}),
    "set": always({1, 2}),
    "range": always(range(5)),
    "function": always(len),
    "class": always(dict),
    "object": lambda value, rng, folder: object(),
    "generator": lambda value, rng, folder: (i for i in range(3)),
    "another __array__": lambda value, rng, folder: _Fraudulent(),
    "module": always(os),
}
NUMBERS = {
    "NaN": always(np.nan),
    "inf": always(np.inf),
    "-inf": always(-np.inf),
    "minus one": always(-1),
    "zero": always(0),
    "-0.0": always(-0.0),
    "half": always(0.5),
    "two and a half": always(2.5),
    "1e300": always(1e300),
    "1e30": always(1e30),
    "1e-300": always(1e-300),
    "10**20": always(10**20),
    "-10**20": always(-(10**20)),
    "10**400": always(10**400),
    "2**63": always(2**63),
    "a billion": always(10**9),
    "True": always(True),
    "False": always(False),
    "text of a number": always("3"),
    "float32 NaN": always(np.float32("nan")),
    "array of numbers": always(np.array([1, 2])),
    "0-d array": always(np.array(3)),
    "list of a number": always([1]),
    "Fraction": always(Fraction(1, 2)),
    "Decimal": always(Decimal("0.5")),
    "datetime": always(np.datetime64("2020-01-01")),
    "int8": always(np.int8(-128)),
}
NAMES = {
    "upper case": lambda value, rng, folder: str(value).upper(),
    "letter less": lambda value, rng, folder: str(value)[:-1],
    "letter more": lambda value, rng, folder: f"{value}s",
    "blank after": lambda value, rng, folder: f"{value} ",
    "empty text": always(""),
    "newline": always("a\nb"),
    "long text": always("x" * 10**5),
    "unicode": always("naïve 脳"),
    "surrogate": always("\udc80"),
    "bytes": lambda value, rng, folder: str(value).encode(),
    "list of it": lambda value, rng, folder: [value],
    "number": always(1),
    "os.system": always("os.system"),
}
SHAPES = {
    "no axes": always(()),
    "one axis": always((8,)),
    "four axes": always((4, 4, 4, 4)),
    "zero": always((0, 0)),
    "one": always((1, 1)),
    "negative": always((-1, 8)),
    "10^30": always((10**30, 10**30)),
    "fractions": always((8.5, 8)),
    "floats": always((8.0, 8.0)),
    "NaN in it": always((np.nan, 8)),
    "texts": always(("8", "8")),
    "Nones": always((None, None)),
    "bools": always((True, True)),
    "nested": always(((8, 8), (8, 8))),
    "array": always(np.array([8, 9])),
    "text": always("88"),
    "axis more": lambda value, rng, folder: (*(value or (8, 8)), 8),
}
# Shapes for functions that must check the memory before they begin.
ABSURD_SHAPES = {
    "2^32": always((HUGE, HUGE)),
    "2^40 in 3D": always((2**14, 2**13, 2**13)),
}
DICTS = {
    "objects in it": lambda value, rng, folder: {object(): object()},
    "numbers in it": always({1: 2}),
    "markup": always({"<script>alert(1)</script>": "<b>'\"&"}),
    "surrogates": always({"\udc80": "\udcff"}),
    "list": always([1]),
    "pairs": always([("a", "b")]),
    "itself": lambda value, rng, folder: _recursive(),
    "long": always({"x" * 10**5: "y" * 10**5}),
}


def _recursive():
    own = {}
    own["own"] = own
    return own


SEQUENCES = {
    "nothing in it": always([]),
    "None in it": always([None]),
    "objects in it": lambda value, rng, folder: [object()],
    "texts in it": always(["a"]),
    "NaN in it": always([np.nan]),
    "half of it": lambda value, rng, folder: list(value or [])[:-1],
    "twice": lambda value, rng, folder: [*list(value or []), *list(value or [])],
    "negative": always([-1, -1]),
    "huge numbers": always([10**20, 10**20]),
    "bools": always([True]),
    "set": always({1}),
    "dict": always({"a": 1}),
    "number": always(2),
}
PATHS = {
    "folder": lambda value, rng, folder: folder,
    "no such file": lambda value, rng, folder: folder / "absent" / "absent.nii.gz",
    "empty text": always(""),
    "NUL": lambda value, rng, folder: str(folder / "a\0b.nii.gz"),
    "too long": lambda value, rng, folder: folder / ("x" * 300 + ".nii.gz"),
    "dev null": always(Path(os.devnull)),
    "dev zero": always("/dev/zero"),
    "pipe": lambda value, rng, folder: _pipe(folder),
    "dangling link": lambda value, rng, folder: _link(folder, "absent"),
    "link to itself": lambda value, rng, folder: _link(folder, "link.nii.gz"),
    "bytes": lambda value, rng, folder: os.fsencode(str(value)),
    "another ending": lambda value, rng, folder: f"{value}.xyz",
    "upper case": lambda value, rng, folder: str(value).upper(),
    "below a file": lambda value, rng, folder: _below_a_file(folder),
    "dots": lambda value, rng, folder: folder / "..",
}


def _pipe(folder):
    path = folder / "pipe.nii.gz"
    if not path.exists():
        os.mkfifo(path)
    return path


def _link(folder, target):
    path = folder / "link.nii.gz"
    if not path.is_symlink():
        path.symlink_to(target)
    return path


def _below_a_file(folder):
    file = folder / "plain.txt"
    file.write_text("text")
    return file / "x.nii.gz"


def _map(change):
    def make(value, rng, folder):
        changed = deepcopy(value)
        change(changed)
        return changed

    return make


def _put(name, function):
    return _map(lambda m: setattr(m, name, function(getattr(m, name))))


def _spoil(new):
    def change(field):
        field = np.array(field)
        field.flat[0] = new
        return field

    return change


MAPPINGS = {
    "field of NaN": _put("backward", _spoil(np.nan)),
    "inverse of NaN": _put("forward", _spoil(np.nan)),
    "field of inf": _put("backward", _spoil(np.inf)),
    "field of 1e30": _put("backward", _spoil(1e30)),
    "no field": _put("backward", lambda field: None),
    "no inverse": _put("forward", lambda field: None),
    "is_inverse False": _put("is_inverse", lambda flag: False),
    "another grid": _put("codomain_shape", lambda s: tuple(int(n) + 1 for n in s)),
    "float64 field": _put("backward", lambda field: np.asarray(field, np.float64)),
    "smaller field": _put("backward", lambda field: field[1:]),
    "affine of NaN": _put("prealign", lambda a: np.full((4, 4), np.nan)),
    "dim 4": _put("dim", lambda dim: 4),
}
