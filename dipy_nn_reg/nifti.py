"""Read and write images with what has to be known of a file before it is used."""

from pathlib import Path
from typing import NamedTuple
import zlib

import nibabel as nib
from nibabel.filebasedimages import ImageFileError
import numpy as np

from dipy_nn_reg.files import whole_file
from dipy_nn_reg.mapping import check_affine


class Image(NamedTuple):
    """An image and where it is.

    Attributes
    ----------
    data : ndarray
    affine : ndarray, shape (4, 4)
        From voxels to world coordinates in mm (RAS+).
    header : nibabel.Nifti1Header
    path : Path
    """

    data: np.ndarray
    affine: np.ndarray
    header: nib.Nifti1Header
    path: Path


def read_image(path, *, series=False, vectors=False):
    """Read an image, and stop at what would go wrong later.

    Parameters
    ----------
    path : string or Path
        NIfTI, or another format that nibabel reads.
    series : bool, optional
        Whether it may have a fourth axis.
    vectors : bool, optional
        Whether it may have any axes, as a field has.

    Returns
    -------
    image : Image
        With three axes at least, the third one of size 1 for an image of two; axes of
        size 1 after the third are dropped, unless it holds vectors.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If nibabel cannot read it, if it is cut short, if its header has no valid
        affine, or if the values or the number of axes are others than expected.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected an image. There is no file {str(path)!r}.")
    try:
        file = nib.load(path)
        header = nib.Nifti1Header.from_header(file.header)
    except (ImageFileError, OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"Expected a NIfTI image. Received {str(path)!r}: {error}"
        ) from error
    if isinstance(file, nib.Nifti1Pair) and header["sform_code"] == 0:
        if header["qform_code"] == 0:
            raise ValueError(
                f"Expected a header that says where the image is: an sform or a qform. "
                f"Received {str(path)!r} with the codes of both 0."
            )
    affine = check_affine(file.affine, name=f"an affine in {str(path)!r}", ndim=3)
    try:
        data = np.asanyarray(file.dataobj)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(
            f"Expected a whole image. {str(path)!r} is cut short or damaged: {error}"
        ) from error
    if not vectors:
        data = _check_data(data, path, most_axes=4 if series else 3)
    return Image(data, affine, header, path)


def read_labels(path):
    """Read a label map: an image of integers, which its file may hold as floats.

    Returns
    -------
    image : Image

    Raises
    ------
    ValueError
        If a value is not an integer, and as :func:`read_image`.
    """
    image = read_image(path)
    if image.data.dtype.kind == "f":
        if np.any(image.data != np.round(image.data)):
            raise ValueError(f"Expected a label map. {str(path)!r} holds fractions.")
        image = image._replace(data=image.data.astype(np.int32))
    return image


def write_image(path, data, affine, *, header=None, intent=None, extension=None):
    """Write a NIfTI image, whole or not at all.

    Parameters
    ----------
    path : string or Path
        Ends with ``.nii`` or ``.nii.gz``; its folder is there.
    data : ndarray
        Its type becomes that of the file.
    affine : ndarray, shape (4, 4)
    header : nibabel.Nifti1Header, optional
        Of an image on the same grid: its codes of sform and qform and its units.
    intent : string or int, optional
        NIfTI's name of what the values are, or its code.
    extension : string, optional
        Stored as a comment in the header.
    """
    check_image_name(path)
    image = nib.Nifti1Image(data, affine, dtype=data.dtype)
    image.header.set_xyzt_units("mm")
    if header is not None:
        image.header.set_xyzt_units(*header.get_xyzt_units())
        image.set_sform(affine, int(header["sform_code"]))
        image.set_qform(affine, int(header["qform_code"]))
    if header is None or header["sform_code"] == 0:
        image.set_sform(affine, "aligned")
    if intent is not None:
        image.header.set_intent(intent, allow_unknown=True)
    if extension is not None:
        image.header.extensions.append(
            nib.nifti1.Nifti1Extension("comment", extension.encode())
        )
    with whole_file(path) as partial:
        nib.save(image, partial)


def check_image_name(path):
    """Raise ValueError unless a name is that of a NIfTI file."""
    if not str(path).endswith((".nii", ".nii.gz")):
        raise ValueError(
            f"Expected a name that ends with '.nii' or '.nii.gz'. "
            f"Received {str(path)!r}."
        )


def _check_data(data, path, *, most_axes):
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim == 2:
        data = data[..., None]
    if not 3 <= data.ndim <= most_axes or data.size == 0:
        raise ValueError(
            f"Expected an image of {'3 or 4' if most_axes == 4 else '2 or 3'} axes. "
            f"Received {str(path)!r} of shape {data.shape}."
        )
    if data.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected real numbers. Received {str(path)!r} of type {data.dtype}."
        )
    if data.dtype.kind == "f" and not np.all(np.isfinite(data)):
        raise ValueError(
            f"Expected finite values. Received {str(path)!r} with values that are not."
        )
    return data
