"""Colours of images: their grey values, and their type in NIfTI files."""

from dipy.utils.logging import logger
import numpy as np

from dipy_nn_reg.intensities import estimate_backgrounds

# Type of NIfTI's RGB24. RGBA32 has a fourth number, "A".
RGB = np.dtype([(name, np.uint8) for name in "RGB"])
# Weights of red, green and blue in the luminance (ITU-R BT.601).
_LUMINANCE = 0.299, 0.587, 0.114
# Values of 0 to 255 of all colours of a black and of a white background.
_BLACK, _WHITE = 50, 205


def has_colours(data):
    """Return whether values are colours, of the type RGB24 or RGBA32 of NIfTI."""
    return data.dtype.names in (tuple("RGB"), tuple("RGBA"))


def split_colours(data):
    """Return red, green and blue on an axis of their own.

    Parameters
    ----------
    data : ndarray of RGB24 or RGBA32, shape (*spatial,)

    Returns
    -------
    colours : ndarray of uint8, shape (*spatial, 3)
        In front of white where voxels are transparent, unless all of them are: then
        nobody has set the opacity.
    """
    colours = np.stack([data[name] for name in "RGB"], axis=-1)
    if "A" not in data.dtype.names or not data["A"].any() or data["A"].min() == 255:
        return colours
    opacity = data["A"][..., None] / np.float32(255)
    return np.rint(colours * opacity + 255 * (1 - opacity)).astype(np.uint8)


def join_colours(colours):
    """Return colours as NIfTI stores them, of type :data:`RGB`.

    Parameters
    ----------
    colours : ndarray of uint8, shape (*spatial, 3)
    """
    return np.ascontiguousarray(colours).view(RGB)[..., 0]


def to_grey(colours, name):
    """Return the grey values by which an image of colours is registered.

    Parameters
    ----------
    colours : ndarray of uint8, shape (*spatial, 3)
    name : str
        Name of the image in the log.

    Returns
    -------
    grey : ndarray of uint8 or float32, shape (*spatial,)
        On a white background the lowest of the three numbers, in which a stain is dark
        whatever its hue; on a black background the highest; otherwise the luminance.
    """
    backgrounds = estimate_backgrounds(colours, colours.ndim - 1)
    if min(backgrounds) >= _WHITE:
        what, grey = "lowest of red, green and blue (white", colours.min(-1)
    elif max(backgrounds) <= _BLACK:
        what, grey = "highest of red, green and blue (black", colours.max(-1)
    else:
        what, grey = "luminance (neither black nor white", _luminance(colours)
    logger.info(f"{name} has colours. Its grey value is the {what} background).")
    return grey


def to_single_values(data, path):
    """Return the values of a label map or a mask, stored as equal colours.

    Raises
    ------
    ValueError
        If red, green and blue differ.
    """
    if np.all(data["R"] == data["G"]) and np.all(data["R"] == data["B"]):
        return data["R"]
    raise ValueError(
        f"Expected one number for each voxel. Received {str(path)!r} with colours."
    )


def _luminance(colours):
    return colours @ np.array(_LUMINANCE, np.float32)
