"""Read and write images with what has to be known of a file before it is used."""

from pathlib import Path
from typing import NamedTuple

from dipy.utils.logging import logger
import nibabel as nib
from nibabel.affines import voxel_sizes
import numpy as np

from dipy_nn_reg.checks import check_path, check_real
from dipy_nn_reg.intensities import replace_nan
from dipy_nn_reg.io.atomic import whole_file
from dipy_nn_reg.io.nifti_header import (
    header_class,
    in_mm,
    nifti_header,
    place,
    series_step,
    warn_of_disagreement,
)
from dipy_nn_reg.io.whole_images import load_header, read_voxels
from dipy_nn_reg.mapping.affines import check_affine
from dipy_nn_reg.mapping.grid import Grid


class Image(NamedTuple):
    """An image and where it is.

    Attributes
    ----------
    data : ndarray
    affine : ndarray, shape (4, 4)
        From voxels to world coordinates in mm (RAS+).
    header : nibabel.Nifti1Header
        In mm, as the affine; of NIfTI-2 where an axis is too long for NIfTI-1.
    path : Path
    """

    data: np.ndarray
    affine: np.ndarray
    header: nib.Nifti1Header
    path: Path

    @property
    def grid(self):
        """Grid of the voxels, without the axis of a series."""
        return Grid(self.data.shape[:3], self.affine)

    @property
    def zooms(self):
        """Voxel sizes in mm as the header has them, by which FSL measures: (3,)."""
        sizes, stored = voxel_sizes(self.affine), self.header.get_zooms()[:3]
        sizes[: len(stored)] = stored
        return sizes


def read_image(path, *, series=False, vectors=False):
    """Read an image, and stop at what would go wrong later.

    Parameters
    ----------
    path : string or Path
        NIfTI, or another format that nibabel reads.
    series : bool, optional
        Whether it may have a fourth axis.
    vectors : bool, optional
        Whether it may have any axes, as a field has. Values, header and affine are then
        as in the file, whatever its unit.

    Returns
    -------
    image : Image
        With three axes at least, the third one of size 1 for an image of two; axes of
        size 1 after the third are dropped, unless it holds vectors. NaN is replaced by
        the background of its volume, with a warning.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If nibabel cannot read it, if it is cut short or its checksum is another, if its
        header has no valid affine, or if the values or the number of axes are others
        than expected.
    """
    if vectors:
        return _read(path)
    image = read_voxel_values(path, most_axes=4 if series else 3)
    return image._replace(data=_without_nan(image.data, image.path))


def read_labels(path):
    """Read a label map: an image of integers, which its file may hold as floats.

    Returns
    -------
    image : Image
        Of the type of integers in the file; of int64 or uint64 if it holds floats.
        NaN counts as 0, with a warning.

    Raises
    ------
    ValueError
        If a value is not an integer of 64 bits, and as :func:`read_image`.
    """
    image = read_voxel_values(path)
    if image.data.dtype.kind != "f":
        return image
    data = nan_to_zero(image.data, image.path)
    return image._replace(data=_to_integers(data, image.path))


def read_voxel_values(path, *, most_axes=3):
    """Read an image whose NaN is still to be dealt with.

    Parameters
    ----------
    path : string or Path
    most_axes : {3, 4}, optional

    Returns
    -------
    image : Image

    Raises
    ------
    ValueError
        As :func:`read_image`.
    """
    image = _read(path)
    header, affine = in_mm(image.header, image.affine, image.path)
    data = _check_data(image.data, image.path, most_axes=most_axes)
    return Image(data, affine, header, image.path)


def nan_to_zero(data, path):
    """Return values in which 0 stands for NaN, with a warning."""
    missing = np.isnan(data)
    if not missing.any():
        return data
    logger.warning(
        f"{np.count_nonzero(missing)} of {data.size} values of {path} are NaN. They "
        f"count as 0."
    )
    return np.where(missing, data.dtype.type(0), data)


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
        Ends with ``.nii`` or ``.nii.gz``; its folder is there.
    data : ndarray
        Its type becomes that of the file; bools are stored as uint8, float16 as
        float32, which hold the same values.
    affine : ndarray, shape (4, 4)
    header : nibabel.Nifti1Header, optional
        Of an image on the same grid, in mm: its codes of sform and qform.
    series : nibabel.Nifti1Header, optional
        Of a series of the same volumes: its time step and unit of time.
    zooms : sequence of float, optional
        Voxel sizes for the header where they are to be others than those of the affine:
        for FSL. The affine is then in the sform alone, since a qform needs the same.
    intent : string or int, optional
        NIfTI's name of what the values are, or its code.
    extension : string, optional
        Stored as a comment in the header.

    Raises
    ------
    ValueError
        If the name is another, if the affine cannot be inverted, or if the data are of
        a type that no file holds.
    """
    check_image_name(check_path("path", path))
    affine = check_affine(affine, name="affine", ndim=3)
    data = _as_stored(data)
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
        nib.save(image, partial)


def _as_stored(data):
    """Return values in a type that NIfTI has."""
    data = check_real("data", data)
    if data.ndim > 7:
        raise ValueError(
            f"Expected data of 7 axes at most. Received data.shape={data.shape}."
        )
    if data.dtype.kind == "b":
        return data.astype(np.uint8)
    if data.dtype.itemsize == 2 and data.dtype.kind == "f":
        return data.astype(np.float32)
    if data.dtype.kind == "f" and data.dtype.itemsize > 8:
        raise ValueError(
            f"Expected data of 64 bits at most. Received data.dtype={data.dtype}."
        )
    return data


def check_image_name(path):
    """Raise ValueError unless a name is that of a NIfTI file."""
    if not str(path).endswith((".nii", ".nii.gz")):
        raise ValueError(
            f"Expected a name that ends with '.nii' or '.nii.gz'. "
            f"Received {str(path)!r}."
        )


def _read(path):
    """Read what is in a file, as it is."""
    path = check_path("path", path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected an image. There is no file {str(path)!r}.")
    file = load_header(path)
    header = nifti_header(file, path)
    affine = check_affine(file.affine, name=f"an affine in {str(path)!r}", ndim=3)
    warn_of_disagreement(header, path)
    return Image(read_voxels(file, path), affine, header, path)


def _check_data(data, path, *, most_axes):
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim == 2:
        data = data[..., None]
    if not 3 <= data.ndim <= most_axes:
        raise ValueError(
            f"Expected an image of {'3 or 4' if most_axes == 4 else '2 or 3'} axes. "
            f"Received {str(path)!r} of shape {data.shape}."
        )
    if data.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected real numbers. Received {str(path)!r} of type {data.dtype}."
        )
    if data.dtype.kind == "f" and np.any(np.isinf(data)):
        raise ValueError(
            f"Expected finite values. Received {str(path)!r} with infinite ones."
        )
    return data


def _without_nan(data, path):
    """Put the background of each volume in the place of NaN."""
    if data.ndim == 3:
        return replace_nan(data, name=str(path))
    if data.dtype.kind != "f" or not np.any(np.isnan(data)):
        return data
    volumes = [
        replace_nan(volume, name=f"volume {i} of {path}")
        for i, volume in enumerate(np.moveaxis(data, -1, 0))
    ]
    return np.stack(volumes, axis=-1)


def _to_integers(data, path):
    """Return floats as integers that hold them, never wrapped."""
    if np.any(data != np.round(data)):
        raise ValueError(f"Expected a label map. {str(path)!r} holds fractions.")
    lowest, highest = float(data.min()), float(data.max())
    # The highest floats below the limits: what is not below would wrap.
    if -(2.0**63) <= lowest and highest < 2.0**63:
        return data.astype(np.int64)
    if lowest >= 0 and highest < 2.0**64:
        return data.astype(np.uint64)
    raise ValueError(
        f"Expected labels that fit into 64 bits. Received {str(path)!r} with values "
        f"from {lowest:g} to {highest:g}."
    )


def _set_units(header, grid, series):
    """Set the units, and the time step of a series."""
    space = "mm" if grid is None else grid.get_xyzt_units()[0]
    step = None if series is None else series_step(series)
    if step is None or len(header.get_data_shape()) < 4:
        header.set_xyzt_units(space, None if grid is None else grid.get_xyzt_units()[1])
        return
    header.set_zooms((*header.get_zooms()[:3], step[0]))
    header.set_xyzt_units(space, step[1])
