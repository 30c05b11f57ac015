"""Maps in files of DIPY, ITK (ANTs, Slicer), AFNI, FSL and MRtrix.

The formats differ in their axes, in their units and in the points between which they
displace:

=======  ===============  ==========================================================
format   shape            values
=======  ===============  ==========================================================
dipy     (x, y, z, 3, 2)  forward and backward field in mm (RAS+), without prealign;
                          the header holds the inverse of the affine, as DIPY writes
                          it, so that viewers misplace the field
itk      (x, y, z, 1, 3)  from a static to a moving point in mm (LPS+)
afni     (x, y, z, 1, 3)  the same; AFNI reads it so for grids that are not oblique
fsl      (x, y, z, 3)     the same in FSL's coordinates, which are mm along the axes
                          of each image, from its corner, by the pixdim of its header
mrtrix   (x, y, z, 3)     positions of the moving points in mm (RAS+)
=======  ===============  ==========================================================

The format itk_h5 is not NIfTI: HDF5 files (``.h5``) of ITK's composite transforms, as
antsRegistration, fMRIPrep and nitransforms exchange them. They hold the field in mm
(LPS+) without the prealignment, and the prealignment as an affine of its own.

Other formats are read but not written, all in mm (RAS+): positions of SPM
(``y_*.nii``) and NiftyReg, displacements of NiftyReg and those of NIfTI's
intent 1006, which ITK reads in the same way; also absolute warps of FSL.

In the format of ITK, a single slice is stored twice: ITK would take a field of one
slice for a field of two axes, which does not fit images of three. FreeSurfer reads
ITK's format by ``mri_warp_convert --initk``. The package ``nitransforms`` is not used:
version 25.1 squeezes fields of one slice, and takes FSL's fields for RAS coordinates
with the first axis negated, which holds for few headers.
"""

import warnings

from nibabel.affines import voxel_sizes
import numpy as np

from dipy_nn_reg.checks import check_name
from dipy_nn_reg.io.atomic import whole_file
from dipy_nn_reg.io.field_formats import (
    FORMATS,
    NIFTI_FORMATS,
    WRITABLE_FORMATS,
    check_field_name,
    format_by_ending,
)
from dipy_nn_reg.io.field_headers import check_zooms, read_about
from dipy_nn_reg.io.field_recognition import (
    check_field_image,
    check_plausible,
    find_format,
)
from dipy_nn_reg.io.field_values import moved_points_of_fsl, read_values
from dipy_nn_reg.io.field_writing import write_field
from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.io.point_maps import map_of_points, moving_grid_beside
from dipy_nn_reg.mapping.grid import Grid, moving_grid, static_grid
from dipy_nn_reg.mapping.maps import check_mapping, displacement_to_mapping

# Names of functions before version 0.1, which go with version 0.2.
_RENAMED = {"save_field": "save_mapping", "load_field": "load_mapping"}


def __getattr__(name):
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    message = f"{name} is now {_RENAMED[name]}; the old name goes with version 0.2."
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return globals()[_RENAMED[name]]


def save_mapping(path, mapping, *, format="dipy", static_zooms=None, moving_zooms=None):
    """Write a map to a file.

    Parameters
    ----------
    path : string or Path
        Ends with ``.nii`` or ``.nii.gz``; with ``.h5`` in the format "itk_h5".
    mapping : dipy.align.imwarp.DiffeomorphicMap
        As :func:`dipy_nn_reg.mapping.displacement_to_mapping` makes it, in 2D or 3D.
    format : {"dipy", "itk", "itk_h5", "afni", "fsl", "mrtrix"}, optional
        That of DIPY holds the map and its inverse. The others hold only the map from
        static to moving points, with the prealignment; to go back, save
        :func:`dipy_nn_reg.mapping.invert_mapping` as well. "itk_h5" keeps the
        prealignment apart from the field, in one file.
    static_zooms, moving_zooms : sequence of float, optional
        Voxel sizes in mm in the headers of the images (``pixdim``), by which FSL
        measures. By default those of their affines.

    Raises
    ------
    ValueError
        If the name or the format is not one of those, if a size is not above 0, or if a
        value of the map is not finite.

    Notes
    -----
    An extension of the header, which other programs ignore, holds the moving grid and
    the prealignment; in HDF5, an attribute of the file. DIPY's own ``read_mapping``
    also needs ``prealign=numpy.linalg.inv(prealign)``, as for a file of SyN.
    """
    check_name("format", format, WRITABLE_FORMATS)
    check_mapping(mapping)
    _check_finite(mapping)
    check_field_name("path", path, format)
    if FORMATS[format].save is not None:
        with whole_file(path) as partial:
            FORMATS[format].save(partial, mapping)
        return
    zooms = {
        "static_zooms": _zooms_of(static_grid(mapping), static_zooms, "static_zooms"),
        "moving_zooms": _zooms_of(moving_grid(mapping), moving_zooms, "moving_zooms"),
    }
    write_field(path, mapping, format, **zooms)


def load_mapping(
    path,
    *,
    format=None,
    moving_shape=None,
    moving_affine=None,
    prealign=None,
    moving_zooms=None,
    absolute=None,
):
    """Read a map from a file.

    Parameters
    ----------
    path : string or Path
        Written by :func:`save_mapping`, DIPY, ANTs, ITK, fMRIPrep, AFNI, FSL, MRtrix,
        SPM or NiftyReg.
    format : str, optional
        "dipy", "itk", "itk_h5", "afni", "fsl", "mrtrix"; "spm" for positions,
        "niftyreg" or "dispvect" for displacements, in mm (RAS+). By default it is found
        from the ending, the header and the shape of the array; positions are recognised
        by their values.
    moving_shape : tuple of int, optional
    moving_affine, prealign : ndarray, shape (ndim + 1, ndim + 1), optional
        As for :func:`dipy_nn_reg.mapping.displacement_to_mapping`, for files of other
        programs, which do not hold them. By default the moving grid is then that of the
        static image, and the prealignment that of the file ("itk_h5"), or the affine
        that fits the field best; in the format of DIPY there is none.
    moving_zooms : sequence of float, optional
        Voxel sizes in mm in the header of the moving image, for a field that FSL wrote.
        By default those of its affine.
    absolute : bool, optional
        Whether a warp of FSL holds positions and not displacements. By default this is
        found from the values, as FSL's own programs do.

    Returns
    -------
    mapping : dipy.align.imwarp.DiffeomorphicMap

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a field, is of another format, holds values that are not finite, or
        is of FSL and the moving grid is missing.

    Notes
    -----
    A composite transform of ITK (``.h5``) may hold any sequence of fields and of
    affine, rigid, similarity, scaling and translating transforms. The static grid is
    that of the field which a point passes first; if affines come before that field, as
    in ``InverseComposite.h5`` of ANTs, they are part of the affine of the static grid.
    """
    if (other := format_by_ending(path, format)) is not None:
        _check_not_absolute(absolute, path, other)
        grid = {"moving_shape": moving_shape, "moving_affine": moving_affine}
        return FORMATS[other].load(path, prealign=prealign, **grid)
    image = read_image(path, vectors=True)
    about = read_about(image.header, path, NIFTI_FORMATS)
    guessed, format = format is None, find_format(image, about, format)
    check_field_image(image, about, format)
    if about is not None:
        _check_not_absolute(absolute, path, "dipy_nn_reg")
        moving_shape, moving_affine = about.moving_shape, about.moving_affine
        prealign, moving_zooms, absolute = about.prealign, about.moving_zooms, False
    elif format != "fsl":
        _check_not_absolute(absolute, path, format)
    else:
        _check_has_grid(path, moving_shape, moving_affine)
    field = read_values(image, about, format)
    grids = moving_grid_beside(field.affine, moving_shape, moving_affine)
    if format == "dipy":
        return _from_dipy(field, prealign=prealign, **grids)
    if format == "fsl":
        options = {"moving_zooms": moving_zooms, "absolute": absolute}
        moved = moved_points_of_fsl(field, image, **grids, **options)
        if guessed and about is None:
            check_plausible(moved.reshape(field.data.shape), image)
    else:
        moved = FORMATS[format].read(field)
    static = Grid(field.data.shape[:-1], field.affine)
    return map_of_points(static, moved, path, prealign=prealign, **grids)


def _check_finite(mapping):
    for name in ("backward", "forward"):
        finite = np.isfinite(getattr(mapping, name))
        if not finite.all():
            raise ValueError(
                f"Expected a map of finite values. Received one whose {name} field has "
                f"{np.sum(~finite)} of {finite.size} that are not."
            )


def _zooms_of(grid, zooms, name):
    """Return voxel sizes as the user has them, by default those of the affine."""
    if zooms is None:
        return voxel_sizes(grid.affine)
    return check_zooms(name, zooms, grid.ndim)


def _check_not_absolute(absolute, path, origin):
    if absolute:
        raise ValueError(
            f"Expected a warp of FSL with absolute=True. Received {str(path)!r}, of "
            f"{origin}, which holds no positions of FSL."
        )


def _check_has_grid(path, moving_shape, moving_affine):
    if moving_affine is None or moving_shape is None:
        raise ValueError(
            f"Expected moving_shape and moving_affine, without which a field of FSL "
            f"cannot be read. Received {str(path)!r} alone. dipy_nn_reg_apply takes "
            f"those of the image, or of --moving_grid_file, for the last transform."
        )


def _from_dipy(field, *, prealign, **grids):
    ndim = len(field.affine) - 1
    to_voxels = np.linalg.inv(field.affine[:ndim, :ndim]).T
    forward, backward = (
        values @ to_voxels for values in np.moveaxis(field.data, -1, 0)
    )
    return displacement_to_mapping(
        backward,
        inverse=forward,
        static_affine=field.affine,
        prealign=prealign,
        **grids,
    )
