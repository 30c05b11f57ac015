"""Phase encoding of EPI, as BIDS describes it beside an image.

A field in Hz times the readout time is a displacement in voxels along the axis of the
phase encoding, in its direction, as topup of FSL defines it.
"""

import json
from numbers import Real
from typing import NamedTuple

from nibabel.filename_parser import splitext_addext
import numpy as np

from dipy_nn_reg.checks import check_path

#: Axes of the array, by the letters of BIDS.
AXES = {"i": 0, "j": 1, "k": 2}
_DIRECTION, _READOUT = "PhaseEncodingDirection", "TotalReadoutTime"
_SPACING, _LINES = "EffectiveEchoSpacing", "ReconMatrixPE"
_LONGEST = 10.0  # s, far beyond any EPI: a time in ms is an error


class PhaseEncoding(NamedTuple):
    """Phase encoding of an image.

    Attributes
    ----------
    axis : int
        Axis of the array, from 0.
    sign : int
        1, or -1 for the direction with a minus.
    readout : float or None
        Total readout time in s, if it is known.
    """

    axis: int
    sign: int
    readout: float | None


def read_phase_encoding(path):
    """Read the phase encoding from a sidecar of BIDS.

    Parameters
    ----------
    path : string or Path
        File in JSON, with ``PhaseEncodingDirection``, and perhaps ``TotalReadoutTime``,
        or ``EffectiveEchoSpacing`` and ``ReconMatrixPE``.

    Returns
    -------
    encoding : PhaseEncoding

    Raises
    ------
    ValueError
        If there is no such file, it is not JSON, the direction is missing or unknown,
        or the readout time is not a time in s.
    """
    path = check_path("path", path)
    content = _read(path)
    if _DIRECTION not in content:
        raise ValueError(f"Expected {_DIRECTION} in {str(path)!r}. Received none.")
    axis, sign = parse_direction(content[_DIRECTION], where=f" in {str(path)!r}")
    return PhaseEncoding(axis, sign, _readout(content, path))


def parse_direction(direction, *, where=""):
    """Return the axis and the sign of a direction of BIDS: "i", "j-" and so on.

    Parameters
    ----------
    direction : str
    where : str, optional
        Place that an error names.

    Returns
    -------
    axis : int
        From 0.
    sign : int
        1 or -1.

    Raises
    ------
    ValueError
        If there is no such direction.

    Examples
    --------
    >>> parse_direction("j-")
    (1, -1)
    """
    letter = str(direction).removesuffix("-")
    if letter not in AXES:
        expected = ", ".join(f"{name!r}, '{name}-'" for name in AXES)
        raise ValueError(
            f"Expected a phase encoding of {expected}{where}. Received {direction!r}."
        )
    return AXES[letter], -1 if str(direction).endswith("-") else 1


def sidecar_of(path):
    """Return the path of the sidecar of an image: its name, with ``.json``.

    Parameters
    ----------
    path : Path

    Returns
    -------
    path : Path
    """
    return path.with_name(splitext_addext(path.name)[0] + ".json")


def readout_of(path):
    """Return the readout time in the sidecar of an image, in s.

    Parameters
    ----------
    path : Path

    Returns
    -------
    readout : float or None
        None if there is no sidecar, or no readout time in it.

    Raises
    ------
    ValueError
        As :func:`read_phase_encoding`.
    """
    sidecar = sidecar_of(path)
    return _readout(_read(sidecar), sidecar) if sidecar.is_file() else None


def to_hertz(field, readout):
    """Return a field in Hz.

    Parameters
    ----------
    field : ndarray
        Displacement in voxels of an image of sign 1.
    readout : float
        Total readout time in s.

    Returns
    -------
    field : ndarray, float32
    """
    return np.asarray(field, np.float32) / np.float32(readout)


def _read(path):
    if not path.is_file():
        raise ValueError(
            f"Expected a sidecar with the phase encoding. There is no file "
            f"{str(path)!r}."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"Expected JSON in {str(path)!r}. Received {error}.") from None
    if not isinstance(content, dict):
        raise ValueError(f"Expected an object of JSON in {str(path)!r}. Received none.")
    return content


def _readout(content, path):
    """Return the readout time in s; None if nothing says it."""
    if _READOUT in content:
        seconds = _number(content, _READOUT, path)
    elif _SPACING in content and _LINES in content:
        spacing = _number(content, _SPACING, path)
        seconds = spacing * (_number(content, _LINES, path) - 1)
    else:
        return None
    if not 0 < seconds < _LONGEST:
        raise ValueError(
            f"Expected a readout time above 0 and below {_LONGEST:g} s in "
            f"{str(path)!r}. Received {seconds:g}."
        )
    return float(seconds)


def _number(content, name, path):
    value = content[name]
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ValueError(
            f"Expected {name} to be a number in {str(path)!r}. Received {value!r}."
        )
    return value
