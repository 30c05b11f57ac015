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
                          of each image, from its corner, by the pixdim of its header
=======  ===============  ==========================================================

Also read are, in mm (RAS+), positions of SPM (``y_*.nii``), NiftyReg and MRtrix,
displacements of NiftyReg and those of NIfTI's intent 1006, which ITK takes so as well;
and absolute warps of FSL.

In the format of ITK, a single slice is stored twice: ITK takes a field of one slice for
one of two axes, which does not fit to images of three. FreeSurfer reads ITK's by
``mri_warp_convert --initk``. A file of ``nitransforms`` would be in the way here:
version 25.1 squeezes fields of one slice, and takes FSL's for RAS coordinates with the
first axis negated, which holds for few headers.
"""

from nibabel.affines import apply_affine, voxel_sizes
import numpy as np

from dipy_nn_reg.checks import check_name
from dipy_nn_reg.io.field_formats import (
    FORMATS,
    check_field_image,
    check_plausible,
    find_format,
)
from dipy_nn_reg.io.field_headers import FNIRT, VECTOR, About, check_zooms, read_about
from dipy_nn_reg.io.fsl_coordinates import from_fsl, to_fsl, warp_to_fsl
from dipy_nn_reg.io.nifti import read_image, write_image
from dipy_nn_reg.io.nifti_header import mm_per_unit
from dipy_nn_reg.mapping.affines import (
    check_affine,
    grid_points,
    lift_affine,
    plane_affine,
)
from dipy_nn_reg.mapping.grid import moving_grid, prealign_of, static_grid
from dipy_nn_reg.mapping.maps import (
    check_mapping,
    check_moving_shape,
    displacement_to_mapping,
    mapping_to_displacement,
)

# Without which these programs take a file for something else.
_INTENTS = {"itk": VECTOR, "afni": VECTOR, "fsl": FNIRT}
_LPS = np.array([-1, -1, 1])
# The scale below which the affine of a field is taken to have no inverse.
_SINGULAR = 1e-6


def save_field(path, mapping, *, format="dipy", static_zooms=None, moving_zooms=None):
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
    static_zooms, moving_zooms : sequence of float, optional
        Voxel sizes in the headers of the images (``pixdim``), by which FSL measures.
        By default those of their affines.

    Raises
    ------
    ValueError
        If the name or the format is not one of those, or a size is not above 0.

    Notes
    -----
    Our files also tell the moving grid and the prealignment in an extension of the
    header, which other programs pass over. DIPY's own ``read_mapping`` needs
    ``prealign=numpy.linalg.inv(prealign)`` besides, as for a file of SyN.
    """
    check_name("format", format, FORMATS)
    check_mapping(mapping)
    ndim = mapping.dim
    static, moving = static_grid(mapping), moving_grid(mapping)
    static_zooms, moving_zooms = (
        voxel_sizes(affine) if zooms is None else check_zooms(name, zooms, ndim)
        for name, zooms, affine in (
            ("static_zooms", static_zooms, static.affine),
            ("moving_zooms", moving_zooms, moving.affine),
        )
    )
    header_affine = static.affine
    repeated = format == "itk" and ndim == 3 and static.shape[2] == 1
    if format == "dipy":
        field = _to_dipy(mapping, static.affine)
        header_affine = np.linalg.inv(static.affine)
    else:
        points = static.points()
        moved = mapping.transform_points(points)
        if format == "fsl":
            voxels = apply_affine(np.linalg.inv(moving.affine), moved)
            moved = to_fsl(voxels, moving.shape, moving.affine, moving_zooms)
            voxels = grid_points(static.shape, np.eye(ndim + 1))
            field = moved - to_fsl(voxels, static.shape, static.affine, static_zooms)
        else:
            field = (moved - points) * _LPS[:ndim]
        field = field.reshape(*static.shape, ndim)
        field = field[:, :, None] if ndim == 2 else field
        field = np.repeat(field, 2, axis=2) if repeated else field
        field = field if format == "fsl" else field[..., None, :]
    about = About(
        format=format,
        ndim=ndim,
        moving_shape=moving.shape,
        moving_affine=moving.affine,
        prealign=prealign_of(mapping),
        moving_zooms=moving_zooms if format == "fsl" else None,
        repeated=repeated,
    )
    write_image(
        path,
        field.astype(np.float32),
        lift_affine(header_affine),
        zooms=static_zooms if format == "fsl" else None,
        intent=_INTENTS.get(format),
        extension=about.to_json(),
    )


def load_field(
    path,
    *,
    format=None,
    moving_shape=None,
    moving_affine=None,
    prealign=None,
    moving_zooms=None,
    absolute=None,
):
    """Read a map.

    Parameters
    ----------
    path : string or Path
        Written by :func:`save_field`, DIPY, ANTs, ITK, AFNI, FSL, SPM or NiftyReg.
    format : str, optional
        "dipy", "itk", "afni", "fsl"; "spm" for positions, "niftyreg" or "dispvect" for
        displacements, in mm (RAS+). By default the file itself tells, by its header
        and the shape of the array, and positions by their values.
    moving_shape : tuple of int, optional
    moving_affine, prealign : ndarray, shape (ndim + 1, ndim + 1), optional
        As for :func:`dipy_nn_reg.mapping.displacement_to_mapping`, for a file that
        does not tell, as ours do. By default the moving grid is then that of the
        static image, and there is no prealignment.
    moving_zooms : sequence of float, optional
        Voxel sizes in mm in the header of the moving image, for a field of FSL that
        does not tell. By default those of its affine.
    absolute : bool, optional
        Whether a warp of FSL holds positions and not displacements. By default the
        values tell, as they do FSL's own programs.

    Returns
    -------
    mapping : dipy.align.imwarp.DiffeomorphicMap

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a field, of another format, holds values that are not finite, or is
        of FSL without the moving grid.
    """
    image = read_image(path, vectors=True)
    about = read_about(image.header, path)
    guessed, format = format is None, find_format(image, about, format)
    check_field_image(image, about, format)
    if absolute and (format != "fsl" or about is not None):
        raise ValueError(
            f"Expected a warp of FSL with absolute=True. Received {str(path)!r}, of "
            f"{'dipy_nn_reg' if about else format}, which holds none."
        )
    if about is not None:
        moving_shape, moving_affine = about.moving_shape, about.moving_affine
        prealign, moving_zooms, absolute = about.prealign, about.moving_zooms, False
    elif format == "fsl" and (moving_affine is None or moving_shape is None):
        raise ValueError(
            f"Expected moving_shape and moving_affine, without which a field of FSL "
            f"cannot be read. Received {str(path)!r} alone."
        )
    data, static_affine, scale = _on_grid(image, about, format)
    grids = _grids(static_affine, moving_shape, moving_affine)
    if format == "dipy":
        return _from_dipy(data, prealign=prealign, **grids)
    shape, ndim = data.shape[:-1], data.shape[-1]
    values, points = data.reshape(-1, ndim), grid_points(shape, static_affine)
    if format == "fsl":
        static_zooms = scale * np.abs(image.header["pixdim"][1 : ndim + 1])
        moved = warp_to_fsl(
            scale * values,
            shape,
            static_affine,
            check_zooms(f"the pixdim of {path}", static_zooms, ndim),
            absolute=absolute,
            path=path,
        )
        moved = _from_fsl(moved, moving_zooms, **grids)
        if guessed and about is None:
            check_plausible(moved.reshape(data.shape), image)
    elif format == "spm":
        moved = scale * values
    elif format == "niftyreg":
        moved = points + scale * values
    elif format == "dispvect":
        moved = points + values
    else:  # ITK converts the grid to mm, and takes the values as they are.
        moved = points + values * _LPS[:ndim]
    return _from_points(points, moved, shape, path, prealign=prealign, **grids)


def _on_grid(image, about, format):
    """Return the values and the affine of a field, and how many mm its unit is."""
    data = np.asarray(image.data, np.float64)
    if format == "dipy":
        affine = np.linalg.inv(image.affine)
        if about is not None and about.ndim == 2:
            return data[:, :, 0, :2], plane_affine(affine), 1.0
        return data, affine, 1.0
    scale = mm_per_unit(image.header)
    affine = np.diag([scale] * 3 + [1]) @ image.affine
    if about is not None and about.repeated:
        data = data[:, :, :1]
    data = data.reshape(*data.shape[:3], data.shape[-1])
    if data.shape[-1] == 2:
        return data[:, :, 0], plane_affine(affine), scale
    return data, affine, scale


def _grids(static_affine, moving_shape, moving_affine):
    """Return what a map needs; of volumes, a map in the plane takes the plane."""
    if moving_affine is None:
        moving_affine = static_affine
    ndim = 3 if np.shape(moving_affine) == (4, 4) else len(static_affine) - 1
    moving_affine = check_affine(moving_affine, name="moving_affine", ndim=ndim)
    if moving_shape is not None:
        moving_shape = check_moving_shape(moving_shape, (1,) * ndim)
    if len(static_affine) < len(moving_affine):
        moving_affine = plane_affine(moving_affine)
        moving_shape = None if moving_shape is None else moving_shape[:2]
    return {
        "static_affine": static_affine,
        "moving_shape": moving_shape,
        "moving_affine": moving_affine,
    }


def _to_dipy(mapping, static_affine):
    ndim = mapping.dim
    displacement, inverse = mapping_to_displacement(mapping)
    linear = static_affine[:ndim, :ndim].T
    field = np.stack([inverse @ linear, displacement @ linear], axis=-1)
    if ndim == 2:  # DIPY's tools take fields of three components only.
        field = np.pad(field[:, :, None], [(0, 0)] * 3 + [(0, 1), (0, 0)])
    return field


def _from_dipy(data, *, static_affine, prealign, **grids):
    ndim = len(static_affine) - 1
    to_voxels = np.linalg.inv(static_affine[:ndim, :ndim]).T
    forward, backward = (field @ to_voxels for field in np.moveaxis(data, -1, 0))
    return displacement_to_mapping(
        backward,
        inverse=forward,
        static_affine=static_affine,
        prealign=prealign,
        **grids,
    )


def _from_fsl(points, zooms, *, static_affine, moving_shape, moving_affine):
    ndim = len(static_affine) - 1
    zooms = voxel_sizes(moving_affine) if zooms is None else zooms
    zooms = check_zooms("moving_zooms", zooms, ndim)
    return from_fsl(points, moving_shape, moving_affine, zooms)


def _from_points(points, moved, shape, path, *, static_affine, prealign, **grids):
    """Make a map from where the voxels of the static grid go.

    Most of it may be affine, with which no fixed-point iteration would converge: the
    affine that fits best becomes the prealignment, if there is none.
    """
    ndim = len(static_affine) - 1
    if prealign is None:
        prealign = _fit_affine(points, moved)
        if np.linalg.svd(prealign[:-1, :-1], compute_uv=False)[-1] < _SINGULAR:
            raise ValueError(
                f"Expected a field that can be inverted. {str(path)!r} takes all of "
                f"its grid to a plane, a line or a point."
            )
    else:
        prealign = check_affine(prealign, name="prealign", ndim=ndim)
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
