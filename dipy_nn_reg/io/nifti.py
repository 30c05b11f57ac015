"""Images in files, read and written with checks of their headers and values."""

import os
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
from nibabel.affines import voxel_sizes
from nibabel.spatialimages import SpatialImage
import numpy as np

from dipy_nn_reg.checks import check_path
from dipy_nn_reg.io.colours import (
    has_colours,
    split_colours,
    to_grey,
    to_single_values,
)
from dipy_nn_reg.io.nifti_header import (
    in_mm,
    nifti_header,
    warn_of_disagreement,
)
from dipy_nn_reg.io.pictures import is_picture, read_picture
from dipy_nn_reg.io.voxel_values import (
    check_values,
    nan_to_background,
    nan_to_zero,
    to_integers,
)
from dipy_nn_reg.io.whole_images import load_header, read_voxels
from dipy_nn_reg.mapping.affines import check_affine
from dipy_nn_reg.mapping.grid import Grid


class Image(NamedTuple):
    """An image, its affine and the header of its file.

    Attributes
    ----------
    data : ndarray
    affine : ndarray, shape (4, 4)
        From voxels to world coordinates in mm (RAS+).
    header : nibabel.Nifti1Header
        In mm, as the affine; a header of NIfTI-2 if an axis is too long for NIfTI-1.
    path : Path
    colours : ndarray of uint8, shape (*spatial, 3), or None
        Red, green and blue, if the file has them; ``data`` are then their grey values,
        or the same colours.
    """

    data: np.ndarray
    affine: np.ndarray
    header: nib.Nifti1Header
    path: Path
    colours: np.ndarray | None = None

    @property
    def grid(self):
        """Grid of the voxels, without the axis of a series."""
        return Grid(self.data.shape[:3], self.affine)

    @property
    def in_colour(self):
        """The image whose data are its colours, if it has them; otherwise itself."""
        return self if self.colours is None else self._replace(data=self.colours)

    def placed_on(self, grid):
        """Return the image on a grid, if it has its shape and does not say where it is.

        That holds for pictures whose pixels are of unknown size.
        """
        if self.header["sform_code"] or self.data.shape[:3] != grid.shape:
            return self
        return self if self.header["qform_code"] else self._replace(affine=grid.affine)

    @property
    def zooms(self):
        """Voxel sizes of the header in mm, shape (3,); FSL measures by these."""
        sizes, stored = voxel_sizes(self.affine), self.header.get_zooms()[:3]
        sizes[: len(stored)] = stored
        return sizes


def read_image(path, *, series=False, vectors=False):
    """Read an image, and raise an error if it cannot be used.

    Parameters
    ----------
    path : string, Path or nibabel.spatialimages.SpatialImage
        NIfTI, or another format that nibabel reads; or a picture (PNG, JPEG, TIFF),
        which is an image of one slice, see :mod:`dipy_nn_reg.io.pictures`; or an image
        of nibabel, from a file or in memory.
    series : bool, optional
        Whether the image may have a fourth axis. Colours are then on that axis;
        otherwise they are read as grey values.
    vectors : bool, optional
        Whether the image may have any number of axes, as a field has. Values, header
        and affine are then those of the file, in its unit.

    Returns
    -------
    image : Image
        With three axes or more: an image of two axes gets a third one of size 1. Axes
        of size 1 after the third are dropped, unless ``vectors`` is true. NaN is
        replaced by the background of its volume, with a warning.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If nibabel or Pillow cannot read the file, if it is cut short or its checksum is
        wrong, if its header has no valid affine, or if the number of axes or the values
        are not as expected.
    """
    if vectors:
        return _read(path)
    image = _read_in_mm(path)
    if has_colours(image.data):
        colours = _check_colours(split_colours(image.data), image.path)
        data = colours if series else to_grey(colours, image.path)
        return image._replace(data=data, colours=colours)
    data = check_values(image.data, image.path, max_axes=4 if series else 3)
    image = image._replace(data=data)
    return image._replace(data=nan_to_background(image.data, image.path))


def read_labels(path):
    """Read a label map: an image of integers, which its file may store as floats.

    Parameters
    ----------
    path : string or Path

    Returns
    -------
    image : Image
        Its data have the integer type of the file, or int64 or uint64 if the file
        stores floats. NaN counts as 0, with a warning.

    Raises
    ------
    ValueError
        If a value is not an integer of 64 bits, and as :func:`read_image`.
    """
    image = read_voxel_values(path)
    if image.data.dtype.kind != "f":
        return image
    data = nan_to_zero(image.data, image.path)
    return image._replace(data=to_integers(data, image.path))


def read_voxel_values(path):
    """Read an image of single values as :func:`read_image` does, but keep NaN.

    Parameters
    ----------
    path : string or Path

    Returns
    -------
    image : Image

    Raises
    ------
    ValueError
        As :func:`read_image`, or if there are colours.
    """
    image = _read_in_mm(path)
    data = image.data
    if has_colours(data):
        data = to_single_values(data, image.path)
    return image._replace(data=check_values(data, image.path, max_axes=3))


def array_and_affine(image, affine=None, *, series=False):
    """Return an image as an array with its affine, in whatever form it is passed.

    Parameters
    ----------
    image : array-like, nibabel image, string or Path
    affine : ndarray, optional
        Used in place of that of the image.
    series : bool, optional
        As for :func:`read_image`.

    Returns
    -------
    array : array-like
        An array is returned as it is.
    affine : ndarray or None
        In mm; None for an array without ``affine``.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`read_image`.
    """
    if not isinstance(image, (str, os.PathLike, SpatialImage)):
        return image, affine
    image = read_image(image, series=series)
    return image.data, image.affine if affine is None else affine


def _read(image):
    """Read an image without any conversion."""
    if isinstance(image, SpatialImage):
        return _of_nibabel(image, Path(image.get_filename() or "image"))
    path = check_path("path", image)
    if not path.is_file():
        raise FileNotFoundError(f"Expected an image. There is no file {str(path)!r}.")
    if is_picture(path):
        return Image(*read_picture(path), path)
    return _of_nibabel(load_header(path), path)


def _of_nibabel(file, path):
    header = nifti_header(file, path)
    affine = check_affine(file.affine, name=f"an affine in {str(path)!r}", ndim=3)
    warn_of_disagreement(header, path)
    return Image(read_voxels(file, path), affine, header, path)


def _check_colours(colours, path):
    """Return colours of three axes in space, or raise ValueError."""
    parts = np.moveaxis(colours, -1, 0)
    return np.stack([check_values(p, path, max_axes=3) for p in parts], axis=-1)


def _read_in_mm(image):
    """Read an image with a header and an affine in mm, but unchecked values."""
    image = _read(image)
    header, affine = in_mm(image.header, image.affine, image.path)
    return image._replace(header=header, affine=affine)
