"""Colours of images: their grey values, and their type in NIfTI files."""

from dipy.utils.logging import logger
import numpy as np

# Type of NIfTI's RGB24. RGBA32 has a fourth number, "A".
RGB = np.dtype([(name, np.uint8) for name in "RGB"])
# Weights of red, green and blue in the luminance (ITU-R BT.601).
_LUMINANCE = 0.299, 0.587, 0.114


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
    """Return the luminance, by which an image of colours is registered.

    Parameters
    ----------
    colours : ndarray of uint8, shape (*spatial, 3)
    name : str
        Name of the image in the log.

    Returns
    -------
    grey : ndarray of float32, shape (*spatial,)
        From 0 to 255. Stained tissue is dark on a white background.
    """
    logger.info(f"{name} has colours. It is registered by its luminance.")
    return colours @ np.array(_LUMINANCE, np.float32)


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
