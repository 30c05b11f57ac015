"""Read and write maps as files of DIPY, ITK (ANTs, Slicer), AFNI and FSL.

The formats differ in axes, units and in what the displacement is of:

=======  ===============  ==========================================================
format   shape            values
=======  ===============  ==========================================================
dipy     (x, y, z, 3, 2)  forward and backward field in mm (RAS+), without prealign;
                          the header holds the inverse of the affine, as DIPY writes
                          it, so that viewers misplace it
itk      (x, y, z, 1, 3)  from a static to a moving point in mm (LPS+)
afni     (x, y, z, 1, 3)  the same; AFNI takes it so for grids that are not oblique
fsl      (x, y, z, 3)     the same in FSL's coordinates, which are mm along the axes
                          of each image, from its corner
=======  ===============  ==========================================================

FreeSurfer reads ITK's by ``mri_warp_convert --initk``. A file of ``nitransforms`` would
be in the way here: version 25.1 squeezes fields of one slice, and takes FSL's for RAS
coordinates with the first axis negated, which holds for few headers.
"""

import json

from nibabel.affines import apply_affine, voxel_sizes
import numpy as np

from dipy_nn_reg.checks import check_name
from dipy_nn_reg.mapping import (
    displacement_to_mapping,
    grid_points,
    lift_affine,
    mapping_to_displacement,
    plane_affine,
    world_affine,
)
from dipy_nn_reg.nifti import read_image, write_image

FORMATS = ("afni", "dipy", "fsl", "itk")
# Without which these programs take a file for something else.
_INTENTS = {"itk": "vector", "afni": "vector", "fsl": 2006}
_LPS = np.array([-1, -1, 1])
_SIGNATURE = "dipy_nn_reg"


def save_field(path, mapping, *, format="dipy"):
    """Write a map.

    Parameters
    ----------
    path : string or Path
        Ends with ``.nii`` or ``.nii.gz``.
    mapping : dipy.align.imwarp.DiffeomorphicMap
        As :func:`dipy_nn_reg.mapping.displacement_to_mapping` makes it, in 2D or 3D.
    format : {"dipy", "itk", "afni", "fsl"}, optional
        That of DIPY holds the map and its inverse; the others hold the map from static
        to moving points alone, with the prealignment. For the way back, save
        :func:`dipy_nn_reg.mapping.invert_mapping` as well.

    Raises
    ------
    ValueError
        If the name or the format is not one of those.

    Notes
    -----
    Our files also tell the moving grid and the prealignment in an extension of the
    header, which other programs pass over. DIPY's own ``read_mapping`` needs
    ``prealign=numpy.linalg.inv(prealign)`` besides, as for a file of SyN.
    """
    check_name("format", format, FORMATS)
    ndim = mapping.dim
    static_affine = world_affine(mapping.codomain_grid2world, ndim)
    moving_affine = world_affine(mapping.domain_grid2world, ndim)
    prealign = np.linalg.inv(world_affine(mapping.prealign, ndim))
    shape = tuple(int(size) for size in mapping.codomain_shape)
    moving_shape = tuple(int(size) for size in mapping.domain_shape)
    if format == "dipy":
        displacement, inverse = mapping_to_displacement(mapping)
        linear = static_affine[:ndim, :ndim].T
        field = np.stack([inverse @ linear, displacement @ linear], axis=-1)
        if ndim == 2:  # DIPY's tools take fields of three components only.
            field = np.pad(field[:, :, None], [(0, 0)] * 3 + [(0, 1), (0, 0)])
        header_affine = np.linalg.inv(static_affine)
    else:
        points = grid_points(shape, static_affine)
        moved = mapping.transform_points(points)
        header_affine = static_affine
        if format == "fsl":
            to_voxels = np.linalg.inv(moving_affine)
            moved = _to_fsl(apply_affine(to_voxels, moved), moving_shape, moving_affine)
            voxels = grid_points(shape, np.eye(ndim + 1))
            field = moved - _to_fsl(voxels, shape, static_affine)
        else:
            field = (moved - points) * _LPS[:ndim]
        field = field.reshape(*shape, ndim)
        field = field[:, :, None] if ndim == 2 else field
        field = field if format == "fsl" else field[..., None, :]
    about = {
        "moving_shape": moving_shape,
        "moving_affine": moving_affine.tolist(),
        "prealign": prealign.tolist(),
        "format": format,
        "ndim": ndim,
    }
    write_image(
        path,
        field.astype(np.float32),
        lift_affine(header_affine),
        intent=_INTENTS.get(format),
        extension=json.dumps({_SIGNATURE: about}),
    )


def load_field(
    path, *, format=None, moving_shape=None, moving_affine=None, prealign=None
):
    """Read a map.

    Parameters
    ----------
    path : string or Path
        Written by :func:`save_field`, DIPY, ANTs, ITK, AFNI or FSL.
    format : {"dipy", "itk", "afni", "fsl"}, optional
        By default the file itself tells, by the shape of the array.
    moving_shape : tuple of int, optional
    moving_affine, prealign : ndarray, shape (ndim + 1, ndim + 1), optional
        As for :func:`dipy_nn_reg.mapping.displacement_to_mapping`, for a file that
        does not tell, as ours do. By default the moving grid is then that of the
        static image, and there is no prealignment.

    Returns
    -------
    mapping : dipy.align.imwarp.DiffeomorphicMap

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a field, of another format, or of FSL without the moving grid.
    """
    image = read_image(path, vectors=True)
    if format is None:
        format = _guess_format(image)
    check_name("format", format, FORMATS)
    _check_shape(image, format)
    about = _read_about(image.header) or {}
    ndim = about.get("ndim", image.data.shape[-1] if format != "dipy" else 3)
    static_affine = image.affine
    if format == "dipy":
        static_affine = np.linalg.inv(static_affine)
    static_affine = static_affine if ndim == 3 else plane_affine(static_affine)
    prealign = about.get("prealign", prealign)
    moving_affine = about.get("moving_affine", moving_affine)
    moving_shape = about.get("moving_shape", moving_shape)
    if format == "fsl" and (moving_affine is None or moving_shape is None):
        raise ValueError(
            f"Expected moving_shape and moving_affine, without which a field of FSL "
            f"cannot be read. Received {str(path)!r} alone."
        )
    grids = {
        "static_affine": static_affine,
        "moving_shape": moving_shape and tuple(moving_shape),
        "moving_affine": static_affine if moving_affine is None else moving_affine,
    }
    if format == "dipy":
        return _from_dipy(image.data, prealign=prealign, **grids)
    shape = image.data.shape[:ndim]
    values = np.asarray(image.data, np.float64).reshape(-1, ndim)
    points = grid_points(shape, static_affine)
    if format == "fsl":
        moving_affine = np.asarray(moving_affine)
        fsl = values + _to_fsl(
            grid_points(shape, np.eye(ndim + 1)), shape, static_affine
        )
        moved = apply_affine(moving_affine, _from_fsl(fsl, moving_shape, moving_affine))
    else:
        moved = points + values * _LPS[:ndim]
    return _from_points(points, moved, shape, prealign=prealign, **grids)


def _from_dipy(data, *, static_affine, prealign, **grids):
    ndim = len(static_affine) - 1
    to_voxels = np.linalg.inv(static_affine[:ndim, :ndim]).T
    data = np.asarray(data, np.float64)[..., :ndim, :]
    data = data[:, :, 0] if ndim == 2 else data
    forward, backward = (field @ to_voxels for field in np.moveaxis(data, -1, 0))
    return displacement_to_mapping(
        backward,
        inverse=forward,
        static_affine=static_affine,
        prealign=prealign,
        **grids,
    )


def _from_points(points, moved, shape, *, static_affine, prealign, **grids):
    """Make a map from where the voxels of the static grid go.

    Most of it may be affine, with which no fixed-point iteration would converge: the
    affine that fits best becomes the prealignment, if there is none.
    """
    ndim = len(static_affine) - 1
    if prealign is None:
        prealign = _fit_affine(points, moved)
    linear = static_affine[:ndim, :ndim]
    back = apply_affine(np.linalg.inv(prealign), moved) - points
    displacement = (back @ np.linalg.inv(linear).T).reshape(*shape, ndim)
    return displacement_to_mapping(
        displacement, static_affine=static_affine, prealign=prealign, **grids
    )


def _fit_affine(points, moved):
    """Return the affine that fits best; across a single slice, it does nothing."""
    center, shift = points.mean(0), (moved - points).mean(0)
    change = np.linalg.lstsq(points - center, moved - points - shift, rcond=None)[0].T
    affine = np.eye(len(center) + 1)
    affine[:-1, :-1] += change
    affine[:-1, -1] = shift - change @ center
    return affine


def _guess_format(image):
    shape = image.data.shape
    about = _read_about(image.header)
    if about:
        return about["format"]
    if len(shape) == 5 and shape[3:] == (3, 2):
        return "dipy"
    return "fsl" if len(shape) == 4 else "itk"


def _check_shape(image, format):
    shape = image.data.shape
    vectors = {"dipy": [(3, 2)], "fsl": [(3,), (2,)]}.get(format, [(1, 3), (1, 2)])
    if len(shape) < 4 or shape[3:] not in vectors or image.data.dtype.kind != "f":
        raise ValueError(
            f"Expected a field of format {format!r}, with floats and axes "
            f"{' or '.join(str(v) for v in vectors)} after the first three. Received "
            f"{str(image.path)!r} of shape {shape} and type {image.data.dtype}."
        )


def _read_about(header):
    """Return what our files tell of themselves, or None."""
    for extension in header.extensions:
        try:
            return json.loads(extension.get_content())[_SIGNATURE]
        except (ValueError, KeyError, TypeError):
            continue  # of another program
    return None


def _to_fsl(voxels, shape, affine):
    """Return FSL's coordinates: mm along the axes, the first one leftwards."""
    if np.linalg.det(affine[:-1, :-1]) > 0:
        voxels = np.column_stack([shape[0] - 1 - voxels[:, 0], voxels[:, 1:]])
    return voxels * voxel_sizes(affine)


def _from_fsl(points, shape, affine):
    voxels = points / voxel_sizes(affine)
    if np.linalg.det(affine[:-1, :-1]) > 0:
        voxels = np.column_stack([shape[0] - 1 - voxels[:, 0], voxels[:, 1:]])
    return voxels
