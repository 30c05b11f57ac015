"""Strips of image slices, one below the other in one picture, for HTML pages."""

from base64 import b64encode
from io import BytesIO

from matplotlib import colormaps
import numpy as np
from PIL import Image as Picture

from dipy_nn_reg.checks import check_real
from dipy_nn_reg.viz.panels import DIFFERENCES
from dipy_nn_reg.viz.planes import cut

# Number of slices of a plane.
SLICES = 9
# Largest number of pixels along a side of a slice, to keep pages below some megabytes.
_MAX_PIXELS = 256
# Number of pixels above which a picture without transparency is a JPEG, which is
# smaller and faster than a PNG; its quality, at which one sees no difference.
_MANY_PIXELS, _QUALITY = 2**16, 92
# Difference, as a fraction of the range of an image, that has the strongest colour.
LARGEST_DIFFERENCE = 0.5
# Colour of the stripes where there is no image, their distance in pixels, and width.
_STRIPES, _DISTANCE, _WIDTH = (255, 179, 71), 8, 2


def choose_slices(turned, plane):
    """Return the indices of the slices of a plane that are shown.

    Parameters
    ----------
    turned : ndarray of bool, shape (*spatial,)
        Mask of the object, with axes turned as they are drawn.
    plane : dipy_nn_reg.viz.planes.Plane

    Returns
    -------
    indices : list of int
        Evenly spaced between both ends of the object, which are left out; or of the
        volume, if the mask is empty.
    """
    turned = check_real("turned", turned)
    if plane.normal is None or turned.shape[plane.normal] == 1:
        return [0]
    others = tuple(axis for axis in range(3) if axis != plane.normal)
    occupied = np.flatnonzero(turned.any(others))
    if len(occupied) == 0:
        occupied = range(turned.shape[plane.normal])
    inner = np.linspace(occupied[0], occupied[-1], SLICES + 2)[1:-1]
    return [int(round(index)) for index in inner]


def gray_strip(turned, plane, indices):
    """Return slices in gray as a data URL of one picture.

    Parameters
    ----------
    turned : ndarray, shape (*spatial,)
        Values from 0 (black) to 1 (white).
    plane : dipy_nn_reg.viz.planes.Plane
    indices : list of int

    Returns
    -------
    url : str
    """
    slices = [cut(turned, plane, index) for index in indices]
    pixels = np.round(255 * np.concatenate(slices)).astype(np.uint8)
    return _strip_as_data_url(Picture.fromarray(pixels), len(indices))


def difference_strip(slices):
    """Return slices of a difference in colour, as a data URL.

    Parameters
    ----------
    slices : list of ndarray, shape (rows, columns)
        Differences from -1 to 1.

    Returns
    -------
    url : str
        Orange where they are negative, violet where they are positive.
    """
    scaled = 0.5 + np.concatenate(slices) / (2 * LARGEST_DIFFERENCE)
    pixels = colormaps[DIFFERENCES](scaled, bytes=True)[..., :3]
    picture = Picture.fromarray(np.ascontiguousarray(pixels))
    return _strip_as_data_url(picture, len(slices))


def hatch_strip(outside, plane, indices):
    """Return slanted stripes where there is no image, transparent elsewhere.

    Parameters
    ----------
    outside : ndarray of bool, shape (*spatial,)
    plane : dipy_nn_reg.viz.planes.Plane
    indices : list of int

    Returns
    -------
    url : str
        Data URL of one picture.
    """
    mask = np.concatenate([cut(outside, plane, index) for index in indices])
    mask = Picture.fromarray(255 * mask.astype(np.uint8))
    mask = np.asarray(_shrunk(mask, len(indices))) > 127
    rows, columns = np.indices(mask.shape)
    pixels = np.zeros((*mask.shape, 4), np.uint8)
    pixels[mask & ((rows + columns) % _DISTANCE < _WIDTH)] = (*_STRIPES, 255)
    return _strip_as_data_url(Picture.fromarray(pixels), len(indices))


def contour_strip(turned, plane, indices, color):
    """Return the borders of labels in one colour, transparent elsewhere.

    Parameters
    ----------
    turned : ndarray of int, shape (*spatial,)
    plane : dipy_nn_reg.viz.planes.Plane
    indices : list of int
    color : tuple of int
        Red, green and blue, from 0 to 255.

    Returns
    -------
    url : str
        Data URL of one picture.
    """
    slices = [cut(turned, plane, index) for index in indices]
    border = np.concatenate([_border(labels) for labels in slices])
    pixels = np.zeros((*border.shape, 4), np.uint8)
    pixels[border] = (*color, 255)
    return _strip_as_data_url(Picture.fromarray(pixels), len(indices))


def as_data_url(figure):
    """Return a matplotlib figure as a data URL, which contains the picture."""
    file = BytesIO()
    figure.savefig(file, format="png", dpi=90)
    return _encode(file)


def _border(labels):
    """Return the voxels whose right or lower neighbour has another label."""
    border = np.zeros(labels.shape, bool)
    border[:-1] |= labels[:-1] != labels[1:]
    border[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    return border


def _shrunk(picture, slices):
    """Return a picture whose slices have no more pixels along a side than needed."""
    width, height = picture.size
    shrink = max(1, max(width, height // slices) / _MAX_PIXELS)
    if shrink == 1:
        return picture
    rows = max(1, round(height / slices / shrink))
    return picture.resize((max(1, round(width / shrink)), rows * slices))


def _strip_as_data_url(picture, slices):
    picture, file = _shrunk(picture, slices), BytesIO()
    if picture.mode == "RGBA" or picture.width * picture.height < _MANY_PIXELS:
        picture.save(file, format="png")
        return _encode(file)
    picture.save(file, format="jpeg", quality=_QUALITY, subsampling=0)
    return _encode(file, "jpeg")


def _encode(file, kind="png"):
    return f"data:image/{kind};base64," + b64encode(file.getvalue()).decode()
