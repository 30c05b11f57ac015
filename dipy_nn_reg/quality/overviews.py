"""Small pictures of registrations, for pages and folders with many of them."""

from base64 import b64encode
from io import BytesIO

import numpy as np
from PIL import Image as Picture

from dipy_nn_reg.metrics.images import to_unit_range
from dipy_nn_reg.quality.views import affine_in_3d
from dipy_nn_reg.viz.planes import Planes, cut, middle

# Height in pixels of one slice, and of the space between slices.
_HEIGHT, _SPACE = 96, 4


def write_overview(path, pair):
    """Write a picture of the middle slices of a registration.

    Parameters
    ----------
    path : Path
        Picture; its ending says of which kind, such as ``.png``.
    pair : dipy_nn_reg.quality.applied.MappedPair
        The upper row shows the static image in each plane, the lower one the warped
        image.
    """
    pixels = _middle_slices([pair.static, pair.warped], pair.affine)
    Picture.fromarray(pixels).save(path)


def picture_of(image):
    """Return a picture of the middle slices of an image, as a data URL.

    Parameters
    ----------
    image : dipy_nn_reg.io.nifti.Image

    Returns
    -------
    url : str
    """
    file = BytesIO()
    pixels = _middle_slices([image.data], image.affine)
    Picture.fromarray(pixels).save(file, format="png")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


def _middle_slices(images, affine):
    """Return slices of images of one grid in gray, a row for each image."""
    planes = Planes(images[0].shape, affine_in_3d(affine))
    turned = [planes.turn(to_unit_range(image)) for image in images]
    at = middle(turned[0] > 0)
    rows = [_row([_slice(image, p, at) for p in planes.planes]) for image in turned]
    gaps = [_gap(rows[0].shape[1], axis=0)] * len(rows)
    return np.concatenate([part for pair in zip(rows, gaps) for part in pair][:-1])


def _slice(turned, plane, at):
    """Return the middle slice of a plane in gray, of the height of all slices."""
    index = None if plane.normal is None else at[plane.normal]
    pixels = np.round(255 * cut(turned, plane, index)).astype(np.uint8)
    rows, columns = pixels.shape
    width = max(1, round(_HEIGHT * columns / (rows * plane.aspect)))
    return np.asarray(Picture.fromarray(pixels).resize((width, _HEIGHT)))


def _row(slices):
    gaps = [_gap(_HEIGHT, axis=1)] * len(slices)
    parts = [part for pair in zip(slices, gaps) for part in pair][:-1]
    return np.concatenate(parts, axis=1)


def _gap(length, *, axis):
    shape = (_SPACE, length) if axis == 0 else (length, _SPACE)
    return np.full(shape, 255, np.uint8)
