"""Values of fields in files, converted from maps and to world coordinates."""

from nibabel.affines import apply_affine, voxel_sizes
import numpy as np

from dipy_nn_reg.io.field_formats import FORMATS, FieldValues
from dipy_nn_reg.io.field_headers import check_zooms
from dipy_nn_reg.io.fsl_coordinates import from_fsl, to_fsl, warp_to_fsl
from dipy_nn_reg.io.nifti_header import mm_per_unit
from dipy_nn_reg.mapping.affines import grid_points, plane_affine
from dipy_nn_reg.mapping.grid import moving_grid, static_grid
from dipy_nn_reg.mapping.maps import mapping_to_displacement


def values_of(mapping, format, *, static_zooms, moving_zooms, repeated=False):
    """Return the values of a map as a format stores them.

    Parameters
    ----------
    mapping : dipy.align.imwarp.DiffeomorphicMap
    format : str
        One of ``WRITABLE_FORMATS`` of :mod:`~dipy_nn_reg.io.field_formats`.
    static_zooms, moving_zooms : ndarray, shape (ndim,)
        Voxel sizes in mm, by which FSL measures.
    repeated : bool, optional
        Store a single slice twice.

    Returns
    -------
    values : ndarray of float
        Of the shape that :mod:`dipy_nn_reg.io.fields` lists.
    """
    static, moving = static_grid(mapping), moving_grid(mapping)
    if format == "dipy":
        return _dipy_values(mapping, static.affine)
    ndim = mapping.dim
    moved = mapping.transform_points(static.points())
    if format == "fsl":
        voxels = apply_affine(np.linalg.inv(moving.affine), moved)
        moved = to_fsl(voxels, moving.shape, moving.affine, moving_zooms)
        voxels = grid_points(static.shape, np.eye(ndim + 1))
        field = moved - to_fsl(voxels, static.shape, static.affine, static_zooms)
    else:
        field = FORMATS[format].write(moved, static)
    field = field.reshape(*static.shape, ndim)
    field = field[:, :, None] if ndim == 2 else field
    field = np.repeat(field, 2, axis=2) if repeated else field
    return field if len(FORMATS[format].vectors[0]) == 1 else field[..., None, :]


def read_values(image, about, format):
    """Return the values of a field image, without axes that only the format needs.

    Parameters
    ----------
    image : dipy_nn_reg.io.nifti.Image
    about : dipy_nn_reg.io.field_headers.About or None
    format : str

    Returns
    -------
    field : FieldValues
    """
    data = np.asarray(image.data, np.float64)
    if format == "dipy":
        affine = np.linalg.inv(image.affine)
        if about is not None and about.ndim == 2:
            return FieldValues(data[:, :, 0, :2], plane_affine(affine), 1.0)
        return FieldValues(data, affine, 1.0)
    unit = mm_per_unit(image.header)
    affine = np.diag([unit] * 3 + [1]) @ image.affine
    if about is not None and about.repeated:
        data = data[:, :, :1]
    data = data.reshape(*data.shape[:3], data.shape[-1])
    if data.shape[-1] == 2:
        return FieldValues(data[:, :, 0], plane_affine(affine), unit)
    return FieldValues(data, affine, unit)


def moved_points_of_fsl(
    field, image, *, moving_shape, moving_affine, moving_zooms=None, absolute=None
):
    """Return where a warp of FSL takes the voxels of its grid, in world coordinates.

    Parameters
    ----------
    field : FieldValues
    image : dipy_nn_reg.io.nifti.Image
        The file of the field; its header has the static voxel sizes.
    moving_shape : tuple of int
    moving_affine : ndarray, shape (ndim + 1, ndim + 1)
    moving_zooms : sequence of float, optional
        Voxel sizes in mm. By default those of the moving affine.
    absolute : bool, optional
        As for :func:`~dipy_nn_reg.io.fsl_coordinates.warp_to_fsl`.

    Returns
    -------
    points : ndarray, shape (n, ndim)

    Raises
    ------
    ValueError
        If a voxel size is not a finite number above 0.
    """
    shape, ndim = field.data.shape[:-1], field.data.shape[-1]
    static_zooms = field.unit * np.abs(image.header["pixdim"][1 : ndim + 1])
    moved = warp_to_fsl(
        field.unit * field.data.reshape(-1, ndim),
        shape,
        field.affine,
        check_zooms(f"the pixdim of {image.path}", static_zooms, ndim),
        absolute=absolute,
        path=image.path,
    )
    zooms = voxel_sizes(moving_affine) if moving_zooms is None else moving_zooms
    zooms = check_zooms("moving_zooms", zooms, ndim)
    return from_fsl(moved, moving_shape, moving_affine, zooms)


def _dipy_values(mapping, static_affine):
    ndim = mapping.dim
    displacement, inverse = mapping_to_displacement(mapping)
    linear = static_affine[:ndim, :ndim].T
    field = np.stack([inverse @ linear, displacement @ linear], axis=-1)
    if ndim == 2:  # DIPY's tools take fields of three components only.
        field = np.pad(field[:, :, None], [(0, 0)] * 3 + [(0, 1), (0, 0)])
    return field
