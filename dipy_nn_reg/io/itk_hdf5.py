"""Transforms of ITK in HDF5 files: affines and displacement fields in a sequence.

A file holds a group for each transform, and first one without parameters, which says
that the others are a composite: the last of them is applied to a point first. ITK
stores coordinates in mm (LPS+).
"""

from math import prod
import re
from typing import NamedTuple

import numpy as np

from dipy_nn_reg.checks import check_path
from dipy_nn_reg.io.itk_linear import affine_of
from dipy_nn_reg.mapping.affines import check_affine
from dipy_nn_reg.memory import memory_there

_GROUP = "TransformGroup"
_COMPOSITE = "CompositeTransform"
# Classes of ITK whose parameters are a displacement at each voxel.
_FIELDS = (
    "DisplacementFieldTransform",
    "BSplineSmoothingOnUpdateDisplacementFieldTransform",
    "GaussianSmoothingOnUpdateDisplacementFieldTransform",
)
# The text that names a transform: its class, its type of numbers, and its axes.
_TYPE = re.compile(r"([A-Za-z0-9]+)_(?:float|double)_([23])_\2")
# Numbers in a block of a compressed field: 1 MiB.
_CHUNK = 2**18


class ItkField(NamedTuple):
    """A displacement at each voxel of a grid, in the coordinates of ITK.

    Attributes
    ----------
    vectors : ndarray of float32, shape (*spatial, ndim)
        In mm (LPS+).
    affine : ndarray, shape (ndim + 1, ndim + 1)
        From voxels to points in mm (LPS+).
    """

    vectors: np.ndarray
    affine: np.ndarray


def read_transforms(path, attribute):
    """Read the transforms in a file, in the order in which a point passes them.

    Parameters
    ----------
    path : string or Path
    attribute : str
        Name of an attribute of the file.

    Returns
    -------
    transforms : list of ndarray or ItkField
        Affines of shape (ndim + 1, ndim + 1), between points in mm (LPS+), and fields.
    value : object
        That of the attribute; None if there is no such attribute.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged or no file of ITK, if a transform is of another kind, if an
        affine or a grid cannot be inverted, or if a value is not finite.
    """
    import h5py

    path = check_path("path", path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    try:
        with h5py.File(path, "r") as file:
            return _read(file)[::-1], file.attrs.get(attribute)
    except PermissionError:
        raise
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"Expected a transform of ITK in HDF5. Received {str(path)!r}: {error}"
        ) from error


def write_transforms(path, transforms, attributes):
    """Write transforms as a composite.

    Parameters
    ----------
    path : string or Path
    transforms : list of ndarray or ItkField
        As :func:`read_transforms` returns them.
    attributes : dict of str
        Attributes of the file, which ITK ignores.
    """
    import h5py

    ndim = len(transforms[0]) - 1
    if isinstance(transforms[0], ItkField):
        ndim = transforms[0].vectors.shape[-1]
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        file.create_group(_GROUP)
        _create(file, 0, _COMPOSITE, ndim)
        for number, transform in enumerate(transforms[::-1], start=1):
            if isinstance(transform, ItkField):
                _write_field(file, number, transform)
            else:
                _write_affine(file, number, transform)


def _create(file, number, kind, ndim):
    """Return a new group for a transform."""
    import h5py

    group = file[_GROUP].create_group(str(number))
    # ITK reads single numbers in double ones as well, and the other way round.
    text = f"{kind}_double_{ndim}_{ndim}"
    dtype = h5py.string_dtype("ascii")
    group.create_dataset("TransformType", data=[text], dtype=dtype)
    return group


def _write_affine(file, number, affine):
    ndim = len(affine) - 1
    group = _create(file, number, "AffineTransform", ndim)
    group["TransformFixedParameters"] = np.zeros(ndim)
    group["TransformParameters"] = np.r_[affine[:-1, :-1].ravel(), affine[:-1, -1]]


def _write_field(file, number, field):
    *shape, ndim = field.vectors.shape
    group = _create(file, number, _FIELDS[0], ndim)
    linear = field.affine[:-1, :-1]
    spacing = np.linalg.norm(linear, axis=0)
    direction = (linear / spacing).ravel()
    group["TransformFixedParameters"] = np.r_[
        shape, field.affine[:-1, -1], spacing, direction
    ]
    # The first axis changes fastest, after the components of a vector.
    order = [*range(ndim)][::-1]
    values = field.vectors.transpose(*order, ndim).astype(np.float32).ravel()
    options = {"chunks": (min(len(values), _CHUNK),), "compression": "gzip"}
    group.create_dataset("TransformParameters", data=values, shuffle=True, **options)


def _read(file):
    """Return the transforms in an open file, in their order there."""
    import h5py

    group = _member(file, _GROUP, h5py.Group)
    names = [str(number) for number in range(len(group))]
    if set(group) != set(names) or not names:
        raise ValueError(f"its transforms are not numbered from 0: {list(group)[:9]}")
    groups = [_member(group, name, h5py.Group) for name in names]
    kinds = [_type(one) for one in groups]
    ndim = kinds[0][1]
    if any(axes != ndim for _, axes in kinds):
        raise ValueError(f"its transforms have different numbers of axes: {kinds}")
    parts = list(zip(groups, [kind for kind, _ in kinds]))
    if parts[0][1] == _COMPOSITE:
        parts = parts[1:]
    elif len(parts) > 1:
        raise ValueError(
            f"expected one transform or a {_COMPOSITE}, received {len(parts)} "
            f"transforms, first a {parts[0][1]}"
        )
    return [_read_one(one, kind, ndim) for one, kind in parts]


def _member(group, name, kind):
    """Return a group or a dataset, unless it is missing or a link leads to it."""
    import h5py

    place = f"{group.name.rstrip('/')}/{name}".lstrip("/")
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"there is no {place} in it")
    member = group[name]
    if not isinstance(member, kind):
        raise ValueError(f"its {place} is no {kind.__name__.lower()}")
    if kind is h5py.Dataset and (member.external or member.is_virtual):
        raise ValueError(f"the values of its {place} are elsewhere")
    return member


def _type(group):
    """Return the class of a transform and its number of axes."""
    import h5py

    dataset = _member(group, "TransformType", h5py.Dataset)
    if h5py.check_string_dtype(dataset.dtype) is None or dataset.size != 1:
        raise ValueError(f"its {dataset.name[1:]} is no text")
    text = np.ravel(dataset[()])[0]
    text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    match = _TYPE.fullmatch(text)
    if match is None:
        raise ValueError(f"expected a transform of 2 or 3 axes, received {text!r}")
    return match[1], int(match[2])


def _read_one(group, kind, ndim):
    parameters, fixed = (_numbers(group, n) for n in ("Parameters", "FixedParameters"))
    if kind in _FIELDS:
        return _read_field(parameters, fixed[()].astype(np.float64), ndim)
    parameters, fixed = (one[()].astype(np.float64) for one in (parameters, fixed))
    return affine_of(kind, ndim, parameters, fixed)


def _numbers(group, name):
    """Return a dataset of numbers in a row."""
    import h5py

    # ITK before its version 5 misspelt the names.
    old = f"Tranform{name}"
    dataset = _member(group, old if old in group else f"Transform{name}", h5py.Dataset)
    if dataset.dtype.kind != "f" or dataset.ndim != 1:
        raise ValueError(f"its {dataset.name[1:]} is no row of floating-point numbers")
    if dataset.size * dataset.dtype.itemsize > memory_there():
        raise ValueError(
            f"its {dataset.name[1:]} declares {dataset.size} numbers, more than the "
            f"memory holds"
        )
    return dataset


def _read_field(parameters, fixed, ndim):
    """Return a field, from a dataset and the numbers that describe the grid."""
    if len(fixed) != ndim * (ndim + 3):
        raise ValueError(
            f"expected {ndim * (ndim + 3)} numbers for the grid of a field, received "
            f"{len(fixed)}"
        )
    sizes, origin, spacing = fixed[: 3 * ndim].reshape(3, ndim)
    affine = np.eye(ndim + 1)
    affine[:-1, :-1] = fixed[3 * ndim :].reshape(ndim, ndim) * spacing
    affine[:-1, -1] = origin
    affine = check_affine(affine, name="a grid", ndim=ndim)
    if not np.all((sizes >= 1) & (sizes == np.rint(sizes)) & np.isfinite(sizes)):
        raise ValueError(f"expected a grid of whole sizes, received {sizes.tolist()}")
    shape = [int(size) for size in sizes]
    if prod(shape) * ndim != parameters.size:
        raise ValueError(
            f"expected {prod(shape) * ndim} numbers for a field of size {shape}, "
            f"received {parameters.size}"
        )
    with np.errstate(over="ignore"):  # not finite below
        values = parameters[()].astype(np.float32)
    if not np.all(np.isfinite(values)):
        number = int(np.sum(~np.isfinite(values)))
        raise ValueError(
            f"expected a field of finite values, received one with {number} of "
            f"{values.size} that are not"
        )
    vectors = values.reshape(*shape[::-1], ndim)
    return ItkField(vectors.transpose(*range(ndim)[::-1], ndim), affine)
