"""Formats of fields: a table of how their values lead to points in the world."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dipy_nn_reg.io.composites import load_composite, save_composite
from dipy_nn_reg.io.field_headers import FNIRT, VECTOR
from dipy_nn_reg.mapping.affines import grid_points

# Endings of the names of NIfTI files.
NIFTI = (".nii", ".nii.gz")
# Signs of the axes between RAS+ (NIfTI) and LPS+ (ITK).
_LPS = np.array([-1, -1, 1])


class FieldValues(NamedTuple):
    """Values of a field and their grid.

    Attributes
    ----------
    data : ndarray of float64, shape (*spatial, ndim)
        In the coordinates and the unit of the file; in the format of DIPY with a last
        axis of size 2 for both directions.
    affine : ndarray, shape (ndim + 1, ndim + 1)
        From voxels of the static grid to world coordinates in mm.
    unit : float
        Size in mm of the unit of the file.
    """

    data: np.ndarray
    affine: np.ndarray
    unit: float

    @property
    def points(self):
        """World coordinates of the voxels, shape (n, ndim)."""
        return grid_points(self.data.shape[:-1], self.affine)

    @property
    def vectors(self):
        """Values of all voxels, shape (n, ndim)."""
        return self.data.reshape(-1, self.data.shape[-1])


class FieldFormat(NamedTuple):
    """A format of field files.

    Files in NIfTI are described by ``vectors``, ``read`` and ``write``; other files
    have ``endings`` of their own, ``load`` and ``save``.

    Attributes
    ----------
    vectors : sequence of tuple of int
        Axes that may follow the first three; the first of them is written.
    read : callable, optional
        Takes :class:`FieldValues` and returns the points that the voxels of the static
        grid move to, shape (n, ndim), in mm (RAS+). Without it, the format needs more
        than the file, see :mod:`dipy_nn_reg.io.field_values`.
    write : callable, optional
        Takes such points and the static Grid, and returns values, shape (n, ndim).
    intent : int, optional
        Intent code of NIfTI, without which its programs misread a file.
    endings : tuple of str
        Endings of the names of its files.
    load : callable, optional
        Takes a path, and ``moving_shape``, ``moving_affine`` and ``prealign`` as
        :func:`~dipy_nn_reg.io.fields.load_mapping` does; returns the map.
    save : callable, optional
        Takes a path and a map, and writes the file.
    """

    vectors: tuple = ()
    read: Callable | None = None
    write: Callable | None = None
    intent: int | None = None
    endings: tuple = NIFTI
    load: Callable | None = None
    save: Callable | None = None


def _from_lps(field):
    # ITK converts the grid to mm, and takes the values as they are.
    return field.points + field.vectors * _LPS[: field.vectors.shape[1]]


def _to_lps(moved, grid):
    return (moved - grid.points()) * _LPS[: grid.ndim]


def _from_positions(field):
    return field.unit * field.vectors


def _to_positions(moved, grid):
    return moved


def _from_displacements(field):
    return field.points + field.unit * field.vectors


def _from_displacements_in_mm(field):
    return field.points + field.vectors


_OF_VOLUME = ((1, 3), (1, 2))
FORMATS = {
    "afni": FieldFormat(_OF_VOLUME, _from_lps, _to_lps, VECTOR),
    "dipy": FieldFormat(((3, 2),)),
    "dispvect": FieldFormat(_OF_VOLUME, _from_displacements_in_mm),
    "fsl": FieldFormat(((3,), (2,)), intent=FNIRT),
    "itk": FieldFormat(_OF_VOLUME, _from_lps, _to_lps, VECTOR),
    "itk_h5": FieldFormat(endings=(".h5",), load=load_composite, save=save_composite),
    "mrtrix": FieldFormat(((3,), (2,)), _from_positions, _to_positions),
    "niftyreg": FieldFormat(_OF_VOLUME, _from_displacements),
    "spm": FieldFormat(((1, 3), (1, 2), (3,)), _from_positions),
}
# Those of DIPY and FSL are written by code of their own.
WRITABLE_FORMATS = tuple(
    n for n, f in FORMATS.items() if f.write or f.save or n in ("dipy", "fsl")
)
# Formats in NIfTI that are written, which the header then names.
NIFTI_FORMATS = tuple(n for n in WRITABLE_FORMATS if not FORMATS[n].save)
# Endings of the names of all files of fields.
FIELD_ENDINGS = tuple(dict.fromkeys(e for f in FORMATS.values() for e in f.endings))


def check_field_name(option, path, format):
    """Raise ValueError unless a name has an ending of a format.

    Parameters
    ----------
    option : str
        Name of the option in an error.
    path : string or Path
    format : str
    """
    endings = FORMATS[format].endings
    if not str(path).endswith(endings):
        raise ValueError(
            f"Expected {option} to end with {' or '.join(map(repr, endings))} for the "
            f"format {format!r}. Received {str(path)!r}."
        )


def format_by_ending(path, format):
    """Return the format of a file that is not NIfTI; None for the others.

    Parameters
    ----------
    path : string or Path
    format : str or None
        The user's option.

    Raises
    ------
    ValueError
        If name and option contradict each other.
    """
    others = {name: f for name, f in FORMATS.items() if f.load is not None}
    found = [name for name, f in others.items() if str(path).endswith(f.endings)]
    by_ending = found[0] if found else None
    if format is not None and by_ending != (format if format in others else None):
        raise ValueError(
            f"Expected a file of format {format!r}. Received {str(path)!r}, whose name "
            f"ends as those of another format."
        )
    return by_ending
