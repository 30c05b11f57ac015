"""Checks of returned values: whether they are finite, and whether two are equal."""

import numpy as np

# Absolute value from which squares may overflow in float32.
_EXTREME = 1e15
# Largest difference of equal values, relative to the largest value.
_TOLERANCE = 1e-3


def all_finite(value):
    """Return whether all numbers in a result are finite."""
    return all(np.all(np.isfinite(array)) for array in _arrays(value))


def is_extreme(value):
    """Return whether a number is not finite, or too large to be squared."""
    with np.errstate(all="ignore"):
        return any(
            a.size < 2**26 and not np.all(np.abs(a) < _EXTREME) for a in _arrays(value)
        )


def differs(result, expected):
    """Return how two results differ, or an empty string."""
    one, other = list(_arrays(result)), list(_arrays(expected))
    if len(one) != len(other):
        return f"{len(one)} arrays for {len(other)}"
    for a, b in zip(one, other):
        if a.shape != b.shape:
            return f"shape {a.shape} for {b.shape}"
        a, b = a.astype(np.float64), b.astype(np.float64)
        scale = max(1.0, np.abs(b[np.isfinite(b)]).max(initial=0))
        close = np.isclose(a, b, rtol=0, atol=_TOLERANCE * scale, equal_nan=True)
        if not np.all(close):
            worst = np.abs(a - b)[~close]
            return f"by up to {np.max(worst):.3g} at {len(worst)} of {a.size}"
    one, other = list(_texts(result)), list(_texts(expected))
    if one != other:
        return f"{one[:3]} for {other[:3]}"
    return ""


def _arrays(value, depth=0):
    """Yield all real and complex numbers in a value, as arrays."""
    if isinstance(value, (bool, int, float, complex, np.generic, np.ndarray)):
        yield from _numbers(value)
    elif hasattr(value, "numpy") and hasattr(value, "shape"):
        yield from _numbers(value.numpy())
    elif depth < 6:
        for part in _parts(value):
            yield from _arrays(part, depth + 1)


def _parts(value):
    """Return the parts of a value, without times and dates."""
    if hasattr(value, "backward") and hasattr(value, "codomain_shape"):
        return value.backward, value.forward, value.prealign, value.codomain_grid2world
    if hasattr(value, "_asdict"):
        value = value._asdict()
    elif hasattr(value, "__dataclass_fields__"):
        value = vars(value)
    if isinstance(value, dict):
        return [part for name, part in value.items() if "seconds" not in str(name)]
    return value if isinstance(value, (list, tuple)) else ()


def _numbers(value):
    try:
        array = np.asarray(value)
        if array.dtype.kind == "O":
            array = array.astype(np.float64)
    except (OverflowError, TypeError, ValueError):
        return
    if array.dtype.kind in "biufc":
        yield array


def _texts(value, depth=0):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict) and depth < 4:
        for item in value.values():
            yield from _texts(item, depth + 1)
    elif isinstance(value, (list, tuple)) and depth < 4:
        for item in value:
            yield from _texts(item, depth + 1)
