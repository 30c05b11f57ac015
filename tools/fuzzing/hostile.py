"""Invalid and extreme values, by kind of argument."""

import numpy as np

from fuzzing.hostile_arrays import ABSURD, AFFINES, FORMS, LABELS, VALUES
from fuzzing.hostile_others import (
    ABSURD_SHAPES,
    DICTS,
    MAPPINGS,
    NAMES,
    NUMBERS,
    OBJECTS,
    PATHS,
    SEQUENCES,
    SHAPES,
)

# Numbers of repetitions, without large ones: a billion is valid, and takes long.
_COUNTS = {
    name: maker
    for name, maker in NUMBERS.items()
    if name not in ("10**20", "10**400", "2**63", "a billion", "0-d array")
}
_OF_KIND = {
    "affine": {**VALUES, **AFFINES},
    "bool": NUMBERS,
    "count": _COUNTS,
    "dict": DICTS,
    "field": VALUES,
    "image": VALUES,
    "integer": NUMBERS,
    "labels": LABELS,
    "mapping": MAPPINGS,
    "name": NAMES,
    "number": NUMBERS,
    "object": OBJECTS,
    "path": PATHS,
    "points": VALUES,
    "sequence": SEQUENCES,
    "shape": SHAPES,
    "tensor": VALUES,
}
_ARRAYS = ("field", "image", "labels", "points", "tensor")
# Valid values for optional arguments that are None.
_DEFAULTS = {
    "affine": np.eye(4),
    "field": np.zeros((8, 8, 2), np.float32),
    "image": np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8),
    "labels": np.arange(64).reshape(8, 8) % 3,
    "name": "name",
    "points": np.zeros((5, 3)),
    "tensor": np.zeros((1, 8, 8, 1), np.float32),
}


def hostile(kind, value, rng, folder, *, absurd=False):
    """Return a description and a hostile value that replaces a valid one.

    Parameters
    ----------
    kind : str
    value : object
        The valid one.
    rng : numpy.random.Generator
    folder : Path
        Of the case.
    absurd : bool, optional
        Arrays of 2^32 voxels and more, which take no memory by themselves, too.
    """
    makers = _choose_makers(kind, rng, absurd and value is not None)
    name = list(makers)[rng.integers(len(makers))]
    value = _DEFAULTS.get(kind) if value is None else value
    with np.errstate(all="ignore"):  # what overflows is meant to
        return name, makers[name](value, rng, folder)


def _choose_makers(kind, rng, absurd):
    """Return values of a kind, or shapes, or objects of entirely different kinds."""
    how = rng.random()
    if kind == "shape" and absurd and how < 0.2:
        return ABSURD_SHAPES
    if kind not in _ARRAYS:
        return _OF_KIND[kind] if how < 0.7 else OBJECTS
    if how < 0.4:
        return _OF_KIND[kind]
    if how < 0.8:
        return {**FORMS, **(ABSURD if absurd and kind != "points" else {})}
    return OBJECTS
