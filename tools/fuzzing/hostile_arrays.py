"""Hostile arrays, with invalid or extreme values, types and shapes.

Each maker takes a valid value, a random generator and the folder of the case.
"""

import numpy as np

HUGE = 2**16  # two axes of it are 2^32 voxels


def _with(place, new, dtype=np.float64):
    """Return a maker of an array in which one value, or all, are replaced."""

    def make(value, rng, folder):
        array = np.array(value, dtype)
        if place == "all":
            array[...] = new
        elif array.size:
            array.flat[rng.integers(array.size)] = new
        return array

    return make


def _array(function):
    return lambda value, rng, folder: function(np.asarray(value))


def always(new):
    return lambda value, rng, folder: new


def _structured(array):
    return np.zeros(array.shape, [("a", "f4"), ("b", "i2")])


def _masked(array):
    return np.ma.masked_array(array, np.arange(array.size).reshape(array.shape) % 3 > 0)


def _mixed(array):
    mixed = array.astype(object)
    if mixed.size:
        mixed.flat[0] = "x"
    return mixed


VALUES = {
    "one NaN": _with("one", np.nan),
    "one inf": _with("one", np.inf),
    "one -inf": _with("one", -np.inf),
    "one 1e300": _with("one", 1e300),
    "one 1e30 in float32": _with("one", 1e30, np.float32),
    "one NaN in float32": _with("one", np.nan, np.float32),
    "one inf in float32": _with("one", np.inf, np.float32),
    "all NaN": _with("all", np.nan),
    "all inf": _with("all", np.inf),
    "all 1e300": _with("all", 1e300),
    "all -0.0": _with("all", -0.0),
    "all zero": _with("all", 0),
    "all one": _with("all", 1, np.float32),
    "times 1e-300": _array(lambda a: a * 1e-300),
    "times 1e-38": _array(lambda a: (a * 1e-38).astype(np.float64)),
    "times 1e300": _array(lambda a: a * 1e300),
    "plus 1e9": _array(lambda a: a + 1e9),
    "negative": _array(lambda a: -a.astype(np.float64)),
    "denormals": _array(lambda a: np.full(a.shape, 1e-45, np.float32)),
    "longdouble NaN": _with("one", np.nan, np.longdouble),
    "int64 extremes": _array(
        lambda a: np.resize(np.array([-(2**63), 2**63 - 1, 0]), a.shape)
    ),
    "uint64 extremes": _array(
        lambda a: np.resize(np.array([0, 2**64 - 1], np.uint64), a.shape)
    ),
    "int8 extremes": _array(lambda a: np.resize(np.array([-128, 127], "i1"), a.shape)),
    "complex": _array(lambda a: a.astype(complex) + 1j),
    "structured": _array(_structured),
    "datetime": _array(lambda a: np.zeros(a.shape, "M8[s]")),
    "timedelta": _array(lambda a: np.zeros(a.shape, "m8[s]")),
    "strings": _array(lambda a: np.full(a.shape, "x")),
    "numbers as strings": _array(lambda a: a.astype(str)),
    "bytes": _array(lambda a: np.full(a.shape, b"1")),
    "objects": _array(lambda a: a.astype(object)),
    "mixed objects": _array(_mixed),
    "Nones": _array(lambda a: np.full(a.shape, None)),
    "masked": _array(_masked),
}
FORMS = {
    "empty": _array(lambda a: a[:0]),
    "nothing": always(np.zeros(0)),
    "empty axis": _array(lambda a: a[..., :0]),
    "one value": _array(lambda a: a[(slice(1),) * a.ndim]),
    "0-d": always(np.array(1.5)),
    "axis more": _array(lambda a: a[..., None]),
    "axis before": _array(lambda a: a[None]),
    "axis less": _array(lambda a: a[0] if a.ndim else a),
    "flat": _array(np.ravel),
    "another size": _array(lambda a: a[1:]),
    "last axis cut": _array(lambda a: a[..., :-1]),
    "axes turned": _array(np.transpose),
    "three channels": _array(lambda a: np.stack([a, a, a], -1)),
    "ten axes": _array(lambda a: a.reshape((1,) * (10 - min(a.ndim, 9)) + a.shape)),
}
LABELS = {
    **VALUES,
    "fractions": _array(lambda a: a + 0.5),
    "floats": _array(lambda a: a.astype(np.float64)),
    "negative labels": _array(lambda a: -np.asarray(a, np.int64)),
    "labels of 2^40": _array(lambda a: np.asarray(a, np.int64) * 2**40),
    "no label": _array(lambda a: a * 0),
    "other labels": _array(lambda a: a + 100),
}
ABSURD = {
    "2^32 voxels": _array(lambda a: np.broadcast_to(a.dtype.type(1), _huge(a, HUGE))),
    "2^48 voxels": _array(
        lambda a: np.broadcast_to(a.dtype.type(1), _huge(a, HUGE * 256))
    ),
}


def _huge(array, size):
    return (size, size, *[1] * (array.ndim - 2))


def _affine(change):
    def make(value, rng, folder):
        affine = np.array(value, np.float64)
        change(affine)
        return affine

    return make


def _set(place, new):
    def change(affine):
        affine[place] = new

    return _affine(change)


AFFINES = {
    "singular": _set((slice(None), 0), 0),
    "NaN offset": _set((0, -1), np.nan),
    "inf offset": _set((0, -1), np.inf),
    "far away": _set((0, -1), 1e9),
    "another last row": _set((-1, 0), 0.5),
    "projective": _set((-1, -1), 2),
    "voxels of 1e-20": _affine(lambda a: a.__imul__(1e-20)),
    "voxel of 1e-20 alone": _set((slice(0, -1), slice(0, -1)), 1e-20 * np.eye(1)),
    "voxels of 1e20": _array(
        lambda a: np.diag([*[1e20] * (len(np.atleast_1d(a)) - 1), 1])
    ),
    "size 2": always(np.eye(2)),
    "size 3": always(np.eye(3)),
    "size 4": always(np.eye(4)),
    "size 5": always(np.eye(5)),
    "3 x 4": always(np.eye(4)[:3]),
    "list of lists": _array(lambda a: a.tolist()),
}
