"""Warped images in files, in the form of the moving image."""

import numpy as np

from dipy_nn_reg.io.colours import join_colours
from dipy_nn_reg.io.nifti_writing import write_image
from dipy_nn_reg.io.pictures import WRITABLE_PICTURES, check_picture, write_picture

# Endings of the names of warped images.
ENDINGS = (".nii", ".nii.gz", *WRITABLE_PICTURES)


def check_warped_name(path):
    """Raise ValueError unless a name has the ending of a file for a warped image."""
    if not str(path).endswith(ENDINGS):
        raise ValueError(
            f"Expected a name that ends with one of {', '.join(map(repr, ENDINGS))}. "
            f"Received {str(path)!r}."
        )


def check_warped(path, moving, static, *, fill=None):
    """Raise ValueError if a file cannot hold the warped image.

    Parameters
    ----------
    path : Path
    moving, static : dipy_nn_reg.io.nifti.Image
    fill : float, optional
        Value outside of the moving image.
    """
    is_picture = str(path).endswith(WRITABLE_PICTURES)
    if is_picture and (moving.colours is not None or moving.data.ndim == 3):
        check_picture(path, static.data.shape[:3], _type(moving))
    elif is_picture:
        check_picture(path, moving.data.shape, _type(moving))
    rounded = is_picture or moving.colours is not None
    if fill is None or not rounded or _type(moving).kind not in "iu":
        return
    limits = np.iinfo(_type(moving))
    if not limits.min <= fill <= limits.max:
        raise ValueError(
            f"Expected fill from {limits.min} to {limits.max}, as the image "
            f"{str(moving.path)!r} has. Received fill={fill}."
        )


def write_warped(path, warped, moving, static, *, series=None):
    """Write a warped image in the form of the moving image, whole or not at all.

    Colours are written as such, and a picture has the type of the moving image. A NIfTI
    file of single values has the type of the warped image.

    Parameters
    ----------
    path : string or Path
        Ends with ``.nii``, ``.nii.gz``, ``.png``, ``.tif`` or ``.tiff``.
    warped : ndarray, shape (*spatial,), or (*spatial, 3) for colours
    moving, static : dipy_nn_reg.io.nifti.Image
    series : nibabel.Nifti1Header, optional
        As :func:`~dipy_nn_reg.io.nifti_writing.write_image` takes it.

    Raises
    ------
    ValueError
        As :func:`check_warped`.
    """
    if str(path).endswith(WRITABLE_PICTURES):
        write_picture(path, _rounded(warped, _type(moving)), static.affine)
        return
    if moving.colours is not None:
        warped = join_colours(_rounded(warped, np.dtype(np.uint8)))
    write_image(path, warped, static.affine, header=static.header, series=series)


def _type(moving):
    """Return the type of the numbers in the file of an image."""
    values = moving.data if moving.colours is None else moving.colours
    return values.dtype


def _rounded(values, dtype):
    """Return values in a type; integers are rounded, and stay in their range."""
    if dtype.kind in "iu" and values.dtype.kind == "f":
        limits = np.iinfo(dtype)
        # Rounding errors of float32 may lead out of the range by less than 1.
        values = np.rint(values.astype(np.float64)).clip(limits.min, limits.max)
    return values.astype(np.uint8 if dtype.kind == "b" else dtype)
