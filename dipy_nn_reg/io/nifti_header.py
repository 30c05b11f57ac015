"""Headers of images: units and affines, as this package and other programs use them.

A NIfTI header may hold two affines, ``sform`` and ``qform``. nibabel and FSL use the
sform if its code is not 0. ITK (and with it ANTs, Slicer and SimpleITK) uses the qform,
unless the code of the sform is 1 ("scanner") and its axes are at right angles. A qform
cannot hold axes that are not at right angles: ITK then misplaces the image or does not
read it.
"""

from itertools import product

from dipy.utils.logging import logger
import nibabel as nib
from nibabel.affines import apply_affine, voxel_sizes
from nibabel.analyze import AnalyzeImage
from nibabel.freesurfer import MGHImage
from nibabel.spatialimages import HeaderDataError
import numpy as np

# Largest size of an axis that NIfTI-1 can hold.
MAX_NIFTI1 = 32767
# Sizes of NIfTI's units of space in mm.
_MM = {"mm": 1.0, "meter": 1000.0, "micron": 1e-3}
# Bits of the units of space and time in the code of both.
_SPACE, _TIME = 0b111, 0b111000
# Distance in voxels between two affines above which a warning is logged.
_MAX_DISTANCE = 0.1
# Largest distance in voxels between an affine and the qform that stores it.
_MAX_QFORM_ERROR = 0.01


def nifti_header(file, path):
    """Return the header of a file of any format as one of NIfTI.

    Parameters
    ----------
    file : nibabel.spatialimages.SpatialImage
    path : Path
        Name of the file in an error.

    Returns
    -------
    header : nibabel.Nifti1Header
        A header of NIfTI-2 if the file has one, or if an axis is too long for NIfTI-1.

    Raises
    ------
    ValueError
        If the file does not say where in the world the image is.
    """
    if isinstance(file, nib.Nifti1Pair):
        header = file.header.copy()
        if header["sform_code"] == 0 and header["qform_code"] == 0:
            raise ValueError(
                f"Expected a header that says where the image is: an sform or a qform. "
                f"Received {str(path)!r} with the codes of both 0."
            )
        return header
    if isinstance(file, AnalyzeImage) and not _has_mat(file):
        raise ValueError(
            f"Expected a header that says where the image is. Received {str(path)!r}, "
            f"of Analyze 7.5, which does not tell left from right: without SPM's .mat "
            f"file, convert it to NIfTI by a program that knows how it is stored."
        )
    header = header_class(file.shape).from_header(file.header)
    header.set_sform(file.affine, "scanner")
    header.set_qform(file.affine, "scanner")
    header.set_xyzt_units("mm", "msec" if isinstance(file, MGHImage) else None)
    return header


def header_class(shape):
    """Return the class of header of NIfTI-1, or of NIfTI-2 for very long axes."""
    return nib.Nifti2Header if max(shape) > MAX_NIFTI1 else nib.Nifti1Header


def mm_per_unit(header):
    """Return the size of the unit of a header in mm; an unknown unit counts as mm."""
    return _MM.get(_units(header)[0], 1.0)


def in_mm(header, affine, path):
    """Return a header and an affine converted to mm.

    An unknown unit counts as mm.

    Parameters
    ----------
    header : nibabel.Nifti1Header
    affine : ndarray, shape (4, 4)
    path : Path
        Name of the file in the log.

    Returns
    -------
    header : nibabel.Nifti1Header
    affine : ndarray, shape (4, 4)
    """
    factor = mm_per_unit(header)
    space, time = _units(header)
    header = header.copy()
    header.set_xyzt_units("mm" if factor != 1 else space, time)
    if factor == 1:
        return header, affine
    logger.info(f"{path} is in units of a {space}: converted to mm.")
    for row in ("srow_x", "srow_y", "srow_z"):
        header[row] *= factor
    for offset in ("qoffset_x", "qoffset_y", "qoffset_z"):
        header[offset] *= factor
    header["pixdim"][1:4] *= factor
    return header, np.diag([factor] * 3 + [1]) @ affine


def warn_of_disagreement(header, path):
    """Warn if programs place an image differently or use different voxel sizes.

    Parameters
    ----------
    header : nibabel.Nifti1Header
    path : Path
    """
    sform, code = header.get_sform(coded=True)
    if not code:
        return
    shape = (*header.get_data_shape(), 1, 1)[:3]
    qform = _qform(header)
    distance = 0 if qform is None else corner_distance(sform, qform, shape)
    if distance > _MAX_DISTANCE:
        itk = "sform" if code == 1 and _at_right_angles(sform) else "qform"
        logger.warning(
            f"The sform and the qform of {path} place it differently, by up to "
            f"{distance:.3g} voxels. The sform is used, as by nibabel and FSL; ITK "
            f"(ANTs, Slicer) uses the {itk}."
        )
        return
    # A header of two axes has no size across them.
    zooms = np.array(header.get_zooms()[:3])
    sizes = voxel_sizes(sform)[: len(zooms)]
    distances = np.abs(sizes - zooms) * shape[: len(zooms)] / sizes
    if np.max(distances) > _MAX_DISTANCE:
        logger.warning(
            f"The sform of {path} has voxels of {_describe_sizes(sizes)} mm, and its "
            f"pixdim says {_describe_sizes(zooms)} mm. The sform is used, as by "
            f"nibabel; FSL measures by the pixdim."
        )


def place(image, affine, header=None):
    """Store an affine in a header so that all programs place the image alike.

    Parameters
    ----------
    image : nibabel.Nifti1Image
        Its header is changed.
    affine : ndarray, shape (4, 4)
        In mm.
    header : nibabel.Nifti1Header, optional
        Header of an image on the same grid, whose codes of sform and qform are copied.

    Notes
    -----
    Unless all axes are at right angles, the qform cannot hold the affine. Its code is
    then 0, so that ITK refuses the file instead of misplacing it.
    """
    codes = (2, 2)
    if header is not None:
        codes = int(header["sform_code"]), int(header["qform_code"])
    sform, qform = codes[0] or codes[1] or 2, codes[1] or codes[0] or 2
    image.set_qform(affine, qform)
    image.set_sform(affine, sform)
    shape = (*image.shape, 1, 1)[:3]
    if corner_distance(affine, image.get_qform(), shape) > _MAX_QFORM_ERROR:
        image.set_qform(affine, 0)
        image.set_sform(affine, sform)


def series_step(header):
    """Return the time between volumes of a series and its unit, or None if invalid."""
    zooms = header.get_zooms()
    if len(zooms) < 4 or not np.isfinite(zooms[3]) or zooms[3] < 0:
        return None
    return float(zooms[3]), _units(header)[1]


def corner_distance(one, other, shape):
    """Return the largest distance between the places of a voxel by two affines.

    Parameters
    ----------
    one, other : ndarray, shape (4, 4)
    shape : tuple of int, length 3

    Returns
    -------
    distance : float
        In voxels of the first affine, along its shortest axis.
    """
    corners = np.array(list(product(*[(0, size - 1) for size in shape])), float)
    distances = np.linalg.norm(
        apply_affine(one, corners) - apply_affine(other, corners), axis=1
    )
    return float(distances.max() / voxel_sizes(one).min())


def _units(header):
    """Return the names of the units of space and time, or "unknown"."""
    codes = nib.nifti1.unit_codes
    code = int(header["xyzt_units"])
    return tuple(
        codes.label[part] if part in codes.code else "unknown"
        for part in (code & _SPACE, code & _TIME)
    )


def _qform(header):
    """Return the affine of the qform, or None if it is missing or invalid."""
    try:
        return header.get_qform() if header["qform_code"] else None
    except (HeaderDataError, ValueError):
        return None


def _has_mat(file):
    holder = file.file_map.get("mat")
    if holder is None or holder.filename is None:
        return False
    try:
        with open(holder.filename, "rb"):
            return True
    except OSError:
        return False


def _at_right_angles(affine):
    axes = affine[:3, :3] / voxel_sizes(affine)
    return np.allclose(axes.T @ axes, np.eye(3), atol=1e-3)


def _describe_sizes(sizes):
    return " x ".join(f"{size:.4g}" for size in sizes)
