"""Headers of fields: intents of other programs, and the extension of this package."""

import json
from math import prod
import re
from typing import NamedTuple

import numpy as np

from dipy_nn_reg.checks import check_name
from dipy_nn_reg.mapping.affines import check_affine

# Key of the extension, and of an attribute in HDF5; the beginning of an extension, by
# which it is recognised.
SIGNATURE = "dipy_nn_reg"
_BEGINNING = re.compile(rb'^\s*\{\s*"dipy_nn_reg"')
# Largest believable number of voxels of a moving image.
_MAX_VOXELS = 2**36
# Intent codes of NIfTI and FSL for displacements, vectors and fields of FNIRT.
DISPVECT, VECTOR, FNIRT = 1006, 1007, 2006
# Intent codes under which a field may be stored; 0 means unknown.
_FIELD_INTENTS = (0, DISPVECT, VECTOR, FNIRT)
# FSL's intent codes for coefficients.
_COEFFICIENTS = {
    2007: "FNIRT's cubic splines",
    2008: "FNIRT's cosine transform",
    2009: "FNIRT's quadratic splines",
    2016: "TOPUP's cubic splines",
    2017: "TOPUP's quadratic splines",
}
# Values of intent_p1 in NiftyReg's files that are not read.
_NIFTYREG = {
    2: "control points of cubic splines",
    3: "velocities (positions)",
    4: "velocities",
    5: "control points of a velocity",
    6: "control points of linear splines",
}


class About(NamedTuple):
    """Content of the header extension that this package adds to a field.

    Attributes
    ----------
    format : str
    ndim : int
    moving_shape : tuple of int
    moving_affine, prealign : ndarray, shape (ndim + 1, ndim + 1)
    moving_zooms : ndarray, shape (ndim,), or None
        Voxel sizes in mm by which FSL measures.
    repeated : bool
        Whether the field of one slice is stored as two equal slices.
    """

    format: str
    ndim: int
    moving_shape: tuple
    moving_affine: np.ndarray
    prealign: np.ndarray
    moving_zooms: np.ndarray | None = None
    repeated: bool = False

    def to_json(self):
        """Return the text of the extension."""
        values = {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in self._asdict().items()
            if value is not None and value is not False
        }
        return json.dumps({SIGNATURE: values})


def read_about(header, path, formats):
    """Return the content of the header extension of this package.

    Parameters
    ----------
    header : nibabel.Nifti1Header
    path : Path
        Name of the file in an error.
    formats : sequence of str
        Formats that the extension may name.

    Returns
    -------
    about : About or None
        None for the file of another program.

    Raises
    ------
    ValueError
        If the extension is invalid.
    """
    for extension in header.extensions:
        content = extension.get_content()
        if not isinstance(content, bytes):
            content = str(content).encode(errors="replace")
        if _BEGINNING.match(content):
            return about_of(content, path, formats)
    return None


def about_of(content, path, formats):
    """Return the content of an extension from its text.

    Parameters
    ----------
    content : str or bytes
        As :meth:`About.to_json` returns it.
    path : Path
        Name of the file in an error.
    formats : sequence of str
        Formats that it may name.

    Returns
    -------
    about : About

    Raises
    ------
    ValueError
        If it is anything else.
    """
    errors = ValueError, TypeError, KeyError, RecursionError, OverflowError
    try:
        return _check(json.loads(content)[SIGNATURE], formats)
    except errors as error:
        raise ValueError(
            f"Expected a header extension as dipy_nn_reg writes it. Received "
            f"{str(path)!r}: {error}"
        ) from error


def check_intent(header, path):
    """Return the format of a field that the intent in a header tells.

    Parameters
    ----------
    header : nibabel.Nifti1Header
    path : Path
        Name of the file in an error.

    Returns
    -------
    format : {"dispvect", "niftyreg", "spm", None}
        None if the header does not tell. NiftyReg's positions have the format of SPM.

    Raises
    ------
    ValueError
        If the intent is that of another kind of data, or of fields that cannot be read.
    """
    code = int(header["intent_code"])
    name = bytes(header["intent_name"]).rstrip(b"\0").decode(errors="replace")
    if code in _COEFFICIENTS:
        raise ValueError(
            f"Expected a displacement at each voxel. {str(path)!r} holds coefficients "
            f"of {_COEFFICIENTS[code]} (intent {code}): convert them to a field by "
            f"FSL's fnirtfileutils."
        )
    if code not in _FIELD_INTENTS:
        raise ValueError(
            f"Expected a field. The intent of {str(path)!r}, {code}"
            f"{f' ({name})' if name else ''}, says that it is something else."
        )
    if code == VECTOR and name == "NREG_TRANS":
        kind = int(header["intent_p1"]) if np.isfinite(header["intent_p1"]) else -1
        if kind not in (0, 1):
            raise ValueError(
                f"Expected positions or displacements of NiftyReg. {str(path)!r} holds "
                f"{_NIFTYREG.get(kind, f'its kind {kind}')}: convert them to positions "
                f"by reg_transform -def."
            )
        return "spm" if kind == 0 else "niftyreg"
    if code == DISPVECT:
        return "dispvect"
    return "spm" if code == VECTOR and name == "Mapping" else None


def _check(values, formats):
    """Return the content of an extension, or raise TypeError or ValueError."""
    if not isinstance(values, dict):
        raise TypeError(f"expected an object, received {values!r}")
    missing = set(About._fields[:5]) - set(values)
    if missing:
        raise ValueError(f"it lacks {sorted(missing)}")
    check_name("format", values["format"], formats)
    ndim = values["ndim"]
    if type(ndim) is not int or ndim not in (2, 3):
        raise ValueError(f"expected ndim of 2 or 3, received {ndim!r}")
    _check_shape(values["moving_shape"], ndim)
    affines = {
        name: check_affine(_numbers(values[name], name), name=name, ndim=ndim)
        for name in ("moving_affine", "prealign")
    }
    zooms = values.get("moving_zooms")
    if zooms is not None:
        zooms = check_zooms("moving_zooms", _numbers(zooms, "moving_zooms"), ndim)
    repeated = values.get("repeated", False)
    if type(repeated) is not bool:
        raise ValueError(f"expected true or false as repeated, received {repeated!r}")
    return About(
        format=values["format"],
        ndim=ndim,
        moving_shape=tuple(values["moving_shape"]),
        moving_zooms=zooms,
        repeated=repeated,
        **affines,
    )


def _check_shape(shape, ndim):
    integers = isinstance(shape, list) and all(type(size) is int for size in shape)
    fits = integers and len(shape) == ndim and min(shape) >= 1
    if not fits or prod(shape) > _MAX_VOXELS:
        raise ValueError(f"expected {ndim} sizes in moving_shape, received {shape!r}")


def check_zooms(name, zooms, ndim):
    """Return the first ndim voxel sizes as an array, or raise ValueError.

    Parameters
    ----------
    name : str
        Name of the option in an error.
    zooms : sequence of float
        At least ndim finite numbers above 0.
    ndim : int

    Returns
    -------
    zooms : ndarray of float64, shape (ndim,)
    """
    zooms = np.asarray(zooms)
    if zooms.dtype.kind not in "iuf":
        raise ValueError(f"Expected numbers in {name}. Received {zooms.dtype} values.")
    zooms = zooms.astype(np.float64)
    if zooms.ndim != 1 or len(zooms) < ndim:
        raise ValueError(f"Expected {ndim} voxel sizes in {name}. Received {zooms}.")
    zooms = zooms[:ndim]
    if not np.all(np.isfinite(zooms)) or np.any(zooms <= 0):
        raise ValueError(f"Expected {name} above 0. Received {zooms.tolist()}.")
    return zooms


def _numbers(values, name):
    """Return an array of floats, or raise ValueError with the name of the option."""
    try:
        return np.asarray(values, np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"expected numbers in {name}, received {error}") from error
