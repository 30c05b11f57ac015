"""Formats of fields, told by what an image is like."""

from dipy.utils.logging import logger
from nibabel.affines import apply_affine
import numpy as np

from dipy_nn_reg.checks import check_name
from dipy_nn_reg.io.field_headers import FNIRT, check_intent
from dipy_nn_reg.io.fsl_coordinates import to_fsl
from dipy_nn_reg.mapping.affines import grid_points

FORMATS = ("afni", "dipy", "fsl", "itk")
# Those that are read as well, but not written.
READABLE = (*FORMATS, "dispvect", "niftyreg", "spm")
# The share of folded voxels beyond which an image that does not say so is no field.
_MAX_FOLDING = 0.05


def find_format(image, about, format):
    """Return the format of a file: as it says, as one says, or as its values look.

    Parameters
    ----------
    image : dipy_nn_reg.io.nifti.Image
    about : dipy_nn_reg.io.field_headers.About or None
    format : str or None
        What a user says.

    Returns
    -------
    format : str

    Raises
    ------
    ValueError
        If these do not go together, if the file says that it is no field, or if a value
        is not finite.
    """
    _check_finite(image)
    if about is not None:
        if format not in (None, about.format):
            raise ValueError(
                f"Expected a field of format {format!r}. {str(image.path)!r} says that "
                f"it is of format {about.format!r}."
            )
        return about.format
    told = check_intent(image.header, image.path)
    if format is not None:
        check_name("format", format, READABLE)
        return format
    shape = image.data.shape
    if told is not None or len(shape) < 4:
        return told or "itk"
    if shape[3:] == (3, 2):
        return "dipy"
    if len(shape) == 4 and int(image.header["intent_code"]) == FNIRT:
        return "fsl"
    if _holds_positions(image):
        logger.info(f"{image.path} holds positions in mm, as its values look.")
        return "spm"
    return "fsl" if len(shape) == 4 else "itk"


def check_field_image(image, about, format):
    """Raise ValueError unless an image has the shape and the type of its format.

    Parameters
    ----------
    image : dipy_nn_reg.io.nifti.Image
    about : dipy_nn_reg.io.field_headers.About or None
    format : str
    """
    shape = image.data.shape
    vectors = {
        "dipy": [(3, 2)],
        "fsl": [(3,), (2,)],
        "spm": [(1, 3), (1, 2), (3,)],
    }.get(format, [(1, 3), (1, 2)])
    if len(shape) < 4 or shape[3:] not in vectors or image.data.dtype.kind != "f":
        raise ValueError(
            f"Expected a field of format {format!r}, with floats and axes "
            f"{' or '.join(str(v) for v in vectors)} after the first three. Received "
            f"{str(image.path)!r} of shape {shape} and type {image.data.dtype}."
        )
    told = None if about is None else about.ndim
    ndim = (told or 3) if format == "dipy" else shape[-1]
    fits = told in (None, ndim) and (ndim == 3 or shape[2] == 1)
    if about is not None and about.repeated:
        fits = fits and (format, ndim, shape[2]) == ("itk", 3, 2)
    if not fits:
        raise ValueError(
            f"Expected a field of as many axes as its vectors have components. "
            f"Received {str(image.path)!r} of shape {shape}, which says "
            f"that it has {ndim if told is None else told}."
        )


def check_plausible(moved, image):
    """Raise ValueError if three volumes of something else were taken for a warp.

    Parameters
    ----------
    moved : ndarray, shape (*spatial, ndim)
        Where the warp takes the voxels, in world coordinates.
    image : dipy_nn_reg.io.nifti.Image
        Whose header may say that it is a warp.
    """
    if int(image.header["intent_code"]) == FNIRT:
        return
    logger.warning(
        f"{image.path} does not say that it is a field. Three volumes of floats are "
        f"taken for a warp of FSL."
    )
    axes = [axis for axis, size in enumerate(moved.shape[:-1]) if size > 1]
    if len(axes) < moved.shape[-1]:
        return
    jacobian = np.stack(np.gradient(moved, axis=tuple(axes)), axis=-1)
    signs = np.sign(np.linalg.det(jacobian))
    folding = 1 - max(np.mean(signs > 0), np.mean(signs < 0))
    if folding > _MAX_FOLDING:
        raise ValueError(
            f"Expected a field. {str(image.path)!r} does not say that it is "
            f"one, and taken for a warp of FSL it would fold {100 * folding:.0f} % of "
            f"the voxels."
        )


def _holds_positions(image):
    """Tell whether values are the world coordinates of about their own voxels."""
    data, shape = image.data, image.data.shape[:3]
    if data.shape[3:] not in ((3,), (1, 3)) or data.dtype.kind != "f":
        return False
    values = np.asarray(data, np.float64).reshape(-1, 3)
    voxels = grid_points(shape, np.eye(4))
    fsl = to_fsl(voxels, shape, image.affine, image.zooms)
    spread = [
        (values - origin).std(axis=0).sum()
        for origin in (apply_affine(image.affine, voxels), 0, fsl)
    ]
    return spread[0] < min(spread[1] / 2, spread[2])


def _check_finite(image):
    if image.data.dtype.kind == "f" and not np.all(np.isfinite(image.data)):
        number = int(np.sum(~np.isfinite(image.data)))
        raise ValueError(
            f"Expected a field of finite values. Received {str(image.path)!r} with "
            f"{number} of {image.data.size} that are not."
        )
