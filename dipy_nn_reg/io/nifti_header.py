"""Headers of images: units, affine, and what other programs make of them.

A NIfTI header may hold two affines, ``sform`` and ``qform``. nibabel and FSL take the
sform where its code is not 0. ITK (so ANTs, Slicer, SimpleITK) takes the qform, unless
the code of the sform is 1 ("scanner") and its axes are at right angles. Axes that are
not, no qform can hold: ITK then places the image elsewhere, or does not read it.
"""

from itertools import product

from dipy.utils.logging import logger
import nibabel as nib
from nibabel.affines import apply_affine, voxel_sizes
from nibabel.analyze import AnalyzeImage
from nibabel.freesurfer import MGHImage
from nibabel.spatialimages import HeaderDataError
import numpy as np

# The largest size of an axis that NIfTI-1 can write down.
MAX_NIFTI1 = 32767
_MM = {"mm": 1.0, "meter": 1000.0, "micron": 1e-3}
_SPACE, _TIME = 0b111, 0b111000
# In voxels: how far two affines may be apart before one is told of it; and how far a
# qform may be from the affine that it stands for.
_APART, _HELD = 0.1, 0.01


def nifti_header(file, path):
    """Return the NIfTI header of a file of any format.

    Parameters
    ----------
    file : nibabel.spatialimages.SpatialImage
    path : Path
        What to call it in an error.

    Returns
    -------
    header : nibabel.Nifti1Header
        NIfTI-2's for a file of that, and where an axis asks for it.

    Raises
    ------
    ValueError
        If the file does not say where the image is.
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
            f"file, convert it to NIfTI by a program that knows how it was written."
        )
    header = header_class(file.shape).from_header(file.header)
    header.set_sform(file.affine, "scanner")
    header.set_qform(file.affine, "scanner")
    header.set_xyzt_units("mm", "msec" if isinstance(file, MGHImage) else None)
    return header


def header_class(shape):
    """Return the header of NIfTI-1, or of NIfTI-2 where a size asks for it."""
    return nib.Nifti2Header if max(shape) > MAX_NIFTI1 else nib.Nifti1Header


def mm_per_unit(header):
    """Return how many mm the unit of a header is; what is not known counts as mm."""
    return _MM.get(_units(header)[0], 1.0)


def in_mm(header, affine, path):
    """Return a header and an affine in mm, whatever the unit of the header.

    A unit that the header leaves open counts as mm.

    Parameters
    ----------
    header : nibabel.Nifti1Header
    affine : ndarray, shape (4, 4)
    path : Path
        What to call it in the log.

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
    """Warn if programs place an image differently, or see other voxel sizes.

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
    if qform is not None and (apart := corner_distance(sform, qform, shape)) > _APART:
        itk = "sform" if code == 1 and _at_right_angles(sform) else "qform"
        logger.warning(
            f"The sform and the qform of {path} place it differently, by up to "
            f"{apart:.3g} voxels. The sform is used, as by nibabel and FSL; ITK (ANTs, "
            f"Slicer) uses the {itk}."
        )
        return
    sizes, zooms = voxel_sizes(sform), np.array((*header.get_zooms(), 1, 1)[:3])
    apart = np.abs(sizes - zooms) * shape / sizes
    if np.max(apart) > _APART:
        logger.warning(
            f"The sform of {path} has voxels of {_mm(sizes)} mm, and its pixdim says "
            f"{_mm(zooms)} mm. The sform is used, as by nibabel; FSL measures by the "
            f"pixdim."
        )


def place(image, affine, header=None):
    """Write down where an image is, so that programs agree on it.

    Parameters
    ----------
    image : nibabel.Nifti1Image
        Its header is changed.
    affine : ndarray, shape (4, 4)
        In mm.
    header : nibabel.Nifti1Header, optional
        Of an image on the same grid, whose codes are kept.

    Notes
    -----
    Without a right angle between all axes, the qform cannot hold the affine: its code
    is 0 then, so that ITK refuses the file and does not misplace it.
    """
    codes = (2, 2)
    if header is not None:
        codes = int(header["sform_code"]), int(header["qform_code"])
    sform, qform = codes[0] or codes[1] or 2, codes[1] or codes[0] or 2
    image.set_qform(affine, qform)
    image.set_sform(affine, sform)
    shape = (*image.shape, 1, 1)[:3]
    if corner_distance(affine, image.get_qform(), shape) > _HELD:
        image.set_qform(affine, 0)
        image.set_sform(affine, sform)


def series_step(header):
    """Return the time between volumes of a series and its unit, or None."""
    zooms = header.get_zooms()
    if len(zooms) < 4 or not np.isfinite(zooms[3]) or zooms[3] < 0:
        return None
    return float(zooms[3]), _units(header)[1]


def corner_distance(one, other, shape):
    """Return how far apart two affines place a voxel at most, in voxels of the first.

    Parameters
    ----------
    one, other : ndarray, shape (4, 4)
    shape : tuple of int, length 3

    Returns
    -------
    distance : float
    """
    corners = np.array(list(product(*[(0, size - 1) for size in shape])), float)
    apart = np.linalg.norm(
        apply_affine(one, corners) - apply_affine(other, corners), axis=1
    )
    return float(apart.max() / voxel_sizes(one).min())


def _units(header):
    """Return the names of the units of space and time; other codes are unknown."""
    codes = nib.nifti1.unit_codes
    code = int(header["xyzt_units"])
    return tuple(
        codes.label[part] if part in codes.code else "unknown"
        for part in (code & _SPACE, code & _TIME)
    )


def _qform(header):
    """Return the affine of the qform, or None if there is none that can be read."""
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


def _mm(sizes):
    return " x ".join(f"{size:.4g}" for size in sizes)
