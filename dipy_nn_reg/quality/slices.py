"""Slices of an image, one below the other in one picture, as a page shows them."""

from base64 import b64encode
from io import BytesIO

import numpy as np
from PIL import Image as Picture

from dipy_nn_reg.checks import check_real
from dipy_nn_reg.viz.planes import cut

# Slices of a plane; and pixels along a side: more would make a page of many megabytes.
SLICES, _MOST_PIXELS = 9, 256


def choose_slices(turned, plane):
    """Return the slices of a plane that are shown.

    Parameters
    ----------
    turned : ndarray of bool, shape (*spatial,)
        Where there is something to see, axes turned as they are drawn.
    plane : dipy_nn_reg.viz.planes.Plane

    Returns
    -------
    indices : list of int
        From one end to the other, without the outermost.
    """
    turned = check_real("turned", turned)
    if plane.normal is None or turned.shape[plane.normal] == 1:
        return [0]
    others = tuple(axis for axis in range(3) if axis != plane.normal)
    places = np.flatnonzero(turned.any(others))
    last = turned.shape[plane.normal] - 1  # of an empty volume all is shown
    first, last = (places[0], places[-1]) if len(places) else (0, last)
    inner = np.linspace(first, last, SLICES + 2)[1:-1]
    return [int(round(index)) for index in inner]


def gray_strip(turned, plane, indices):
    """Return slices in gray as an address that holds the picture itself.

    Parameters
    ----------
    turned : ndarray, shape (*spatial,)
        From 0, black, to 1, white.
    plane : dipy_nn_reg.viz.planes.Plane
    indices : list of int
    """
    slices = [cut(turned, plane, index) for index in indices]
    pixels = np.round(255 * np.concatenate(slices)).astype(np.uint8)
    return _address(Picture.fromarray(pixels), len(indices))


def contour_strip(turned, plane, indices, color):
    """Return the borders of labels in a colour, transparent elsewhere.

    Parameters
    ----------
    turned : ndarray of int, shape (*spatial,)
    plane : dipy_nn_reg.viz.planes.Plane
    indices : list of int
    color : tuple of int
        Red, green and blue, to 255.
    """
    slices = [cut(turned, plane, index) for index in indices]
    border = np.concatenate([_border(labels) for labels in slices])
    pixels = np.zeros((*border.shape, 4), np.uint8)
    pixels[border] = (*color, 255)
    return _address(Picture.fromarray(pixels), len(indices))


def as_address(figure):
    """Return a matplotlib figure as an address that holds the picture itself."""
    file = BytesIO()
    figure.savefig(file, format="png", dpi=90)
    return _encode(file)


def _border(labels):
    """Tell the voxels of labels that have another label at their right or below."""
    border = np.zeros(labels.shape, bool)
    border[:-1] |= labels[:-1] != labels[1:]
    border[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    return border


def _address(picture, slices):
    width, height = picture.size
    shrink = max(1, max(width, height // slices) / _MOST_PIXELS)
    if shrink > 1:
        rows = max(1, round(height / slices / shrink))
        picture = picture.resize((max(1, round(width / shrink)), rows * slices))
    file = BytesIO()
    picture.save(file, format="png", optimize=True)
    return _encode(file)


def _encode(file):
    return "data:image/png;base64," + b64encode(file.getvalue()).decode()
