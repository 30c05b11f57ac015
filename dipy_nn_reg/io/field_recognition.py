"""Recognition of field formats by the header, the shape and the values of an image."""

from dipy.utils.logging import logger
import numpy as np

from dipy_nn_reg.checks import check_name
from dipy_nn_reg.io.field_formats import FORMATS
from dipy_nn_reg.io.field_headers import FNIRT, check_intent
from dipy_nn_reg.mapping.affines import grid_points

# Largest fraction of folded voxels in an image whose header does not say that it is a
# field.
_MAX_FOLDING = 0.05
# Difference of stretches from which values are positions. Within a plane, displacements
# of a turn by 60 degrees are positions of one by 120 degrees.
_CLEARLY = 0.1


def find_format(image, about, format):
    """Return the format of a file, from its header, the user's option or its values.

    Parameters
    ----------
    image : dipy_nn_reg.io.nifti.Image
    about : dipy_nn_reg.io.field_headers.About or None
    format : str or None
        The user's option.

    Returns
    -------
    format : str

    Raises
    ------
    ValueError
        If header and option contradict each other, if the header says that the file
        holds something else than a field, or if a value is not finite.
    """
    _check_finite(image)
    if about is not None:
        if format not in (None, about.format):
            raise ValueError(
                f"Expected a field of format {format!r}. {str(image.path)!r} says that "
                f"it is of format {about.format!r}."
            )
        return about.format
    by_intent = check_intent(image.header, image.path)
    if format is not None:
        check_name("format", format, FORMATS)
        # Displacements of any format may have the intent DISPVECT; positions do not.
        is_displacement = by_intent == "dispvect" and format != "spm"
        if by_intent not in (None, format) and not is_displacement:
            raise ValueError(
                f"Expected a field of format {format!r}. The intent of "
                f"{str(image.path)!r} says that it is of format {by_intent!r}."
            )
        return format
    shape = image.data.shape
    if by_intent is not None or len(shape) < 4:
        return by_intent or "itk"
    if shape[3:] == (3, 2):
        return "dipy"
    if len(shape) == 4 and int(image.header["intent_code"]) == FNIRT:
        return "fsl"
    if _holds_positions(image):
        logger.info(f"{image.path} holds positions in mm, judging by its values.")
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
    vectors = FORMATS[format].vectors
    if len(shape) < 4 or shape[3:] not in vectors or image.data.dtype.kind != "f":
        raise ValueError(
            f"Expected a field of format {format!r}, with floats and axes "
            f"{' or '.join(str(v) for v in vectors)} after the first three. Received "
            f"{str(image.path)!r} of shape {shape} and type {image.data.dtype}."
        )
    stated = None if about is None else about.ndim
    ndim = (stated or 3) if format == "dipy" else shape[-1]
    fits = stated in (None, ndim) and (ndim == 3 or shape[2] == 1)
    if about is not None and about.repeated:
        fits = fits and (format, ndim, shape[2]) == ("itk", 3, 2)
    if not fits:
        raise ValueError(
            f"Expected a field of as many axes as its vectors have components. "
            f"Received {str(image.path)!r} of shape {shape}, whose header says "
            f"that it has {ndim if stated is None else stated}."
        )


def check_plausible(moved, image):
    """Raise ValueError if a supposed warp of FSL folds too much to be one.

    Three volumes of anything have the shape of a warp.

    Parameters
    ----------
    moved : ndarray, shape (*spatial, ndim)
        Points to which the warp takes the voxels, in world coordinates.
    image : dipy_nn_reg.io.nifti.Image
        The file, which is not checked if its intent is that of FNIRT's fields.
    """
    if int(image.header["intent_code"]) == FNIRT:
        return
    logger.warning(
        f"{image.path} does not say that it is a field. Its three volumes of floats "
        f"are read as a warp of FSL."
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
            f"one, and read as a warp of FSL it would fold {100 * folding:.0f} % of "
            f"the voxels."
        )


def _holds_positions(image):
    """Return whether values are positions in world coordinates.

    The affine that is nearest to positions turns and hardly stretches, however far the
    images are turned. That of displacements does so once the identity is added, and
    that of FSL's coordinates mirrors.
    """
    data, shape = image.data, image.data.shape[:3]
    if data.shape[3:] not in ((3,), (1, 3)) or data.dtype.kind != "f":
        return False
    values = np.asarray(data, np.float64).reshape(-1, 3)
    points = grid_points(shape, image.affine)
    points -= points.mean(axis=0)
    # Directions in which the grid extends: two for a slice.
    _, axes = np.linalg.eigh(points.T @ points)
    axes = axes[:, 3 - sum(size > 1 for size in shape) :]
    linear, *_ = np.linalg.lstsq(
        points @ axes, values - values.mean(axis=0), rcond=None
    )
    is_nearer = _stretch(linear) + _CLEARLY < _stretch(linear + axes.T)
    return bool(is_nearer and np.linalg.det(linear @ axes) > 0)


def _stretch(linear):
    """Return how far a linear map is from one that only turns."""
    sizes = np.linalg.svd(linear, compute_uv=False)
    return np.square(np.log(np.maximum(sizes, 1e-6))).sum()


def _check_finite(image):
    if image.data.dtype.kind == "f" and not np.all(np.isfinite(image.data)):
        number = int(np.sum(~np.isfinite(image.data)))
        raise ValueError(
            f"Expected a field of finite values. Received {str(image.path)!r} with "
            f"{number} of {image.data.size} values that are not finite."
        )
