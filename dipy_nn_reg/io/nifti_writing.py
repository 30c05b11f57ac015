"""Writing of NIfTI images, whole or not at all."""

from isal.igzip import IGzipFile
import nibabel as nib
import numpy as np

from dipy_nn_reg.checks import check_path
from dipy_nn_reg.io.atomic import whole_file
from dipy_nn_reg.io.colours import (
    has_colours,
)
from dipy_nn_reg.io.nifti_header import header_class, place, series_step
from dipy_nn_reg.io.voxel_values import as_stored
from dipy_nn_reg.mapping.affines import check_affine

# Level of compression, from 0 to 3: on fields, 2 and 3 save nothing over 1.
_LEVEL = 1


def write_image(
    path,
    data,
    affine,
    *,
    header=None,
    series=None,
    zooms=None,
    intent=None,
    extension=None,
):
    """Write a NIfTI image in mm, whole or not at all.

    NIfTI-2 is written where an axis is longer than NIfTI-1 allows.

    Parameters
    ----------
    path : string or Path
        Ends with ``.nii`` or ``.nii.gz``; its folder has to exist.
    data : ndarray
        Its type becomes that of the file; bools are stored as uint8, float16 as
        float32, which hold the same values. Colours are of type
        :data:`~dipy_nn_reg.io.colours.RGB`.
    affine : ndarray, shape (4, 4)
    header : nibabel.Nifti1Header, optional
        Header in mm of an image on the same grid, whose unit and codes of sform and
        qform are copied.
    series : nibabel.Nifti1Header, optional
        Header of a series of the same volumes, whose time step and unit of time are
        copied.
    zooms : sequence of float, optional
        Voxel sizes for the header where they have to differ from those of the affine,
        for FSL. The affine is then stored in the sform only, because a qform uses the
        same voxel sizes.
    intent : string or int, optional
        NIfTI's name or code for the meaning of the values.
    extension : string, optional
        Text that is stored as a comment in the header.

    Raises
    ------
    ValueError
        If the name has another ending, if the affine cannot be inverted, or if NIfTI
        cannot store the type of the data.
    """
    check_image_name(check_path("path", path))
    affine = check_affine(affine, name="affine", ndim=3)
    data = data if has_colours(np.asarray(data)) else as_stored(data)
    kind = {nib.Nifti1Header: nib.Nifti1Image, nib.Nifti2Header: nib.Nifti2Image}
    image = kind[header_class(data.shape)](data, affine, dtype=data.dtype)
    place(image, affine, header)
    if zooms is not None and not np.allclose(
        zooms, image.header.get_zooms()[: len(zooms)]
    ):
        image.set_qform(affine, 0)
        image.header["pixdim"][1 : len(zooms) + 1] = zooms
    _set_units(image.header, header, series)
    if intent is not None:
        image.header.set_intent(intent, allow_unknown=True)
    if extension is not None:
        image.header.extensions.append(
            nib.nifti1.Nifti1Extension("comment", extension.encode())
        )
    with whole_file(path) as partial:
        _save(image, partial)


def check_image_name(path):
    """Raise ValueError unless a name has the ending of a NIfTI file."""
    if not str(path).endswith((".nii", ".nii.gz")):
        raise ValueError(
            f"Expected a name that ends with '.nii' or '.nii.gz'. "
            f"Received {str(path)!r}."
        )


def _save(image, path):
    """Save an image, compressed if its name says so.

    ISA-L takes a tenth of the time of zlib, which would be most of that of a field.
    """
    with path.open("wb") as file:
        if path.suffix == ".nii":
            image.to_stream(file)
            return
        # Without a name and a time, two runs write the same bytes.
        with IGzipFile("", "wb", _LEVEL, file, mtime=0) as stream:
            image.to_stream(stream)


def _set_units(header, grid, series):
    """Set the units of a header, and the time step of a series."""
    space = "mm" if grid is None else grid.get_xyzt_units()[0]
    step = None if series is None else series_step(series)
    if step is None or len(header.get_data_shape()) < 4:
        header.set_xyzt_units(space, None if grid is None else grid.get_xyzt_units()[1])
        return
    header.set_zooms((*header.get_zooms()[:3], step[0]))
    header.set_xyzt_units(space, step[1])
