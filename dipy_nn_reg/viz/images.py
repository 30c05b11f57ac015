"""Two images before and after registration."""

import numpy as np

from dipy_nn_reg.checks import check_real
from dipy_nn_reg.metrics.images import to_unit_range
from dipy_nn_reg.viz.panels import DIFFERENCES, IMAGE_STYLE, cut_at, name_edges, panels
from dipy_nn_reg.viz.planes import Planes, middle

# Of the fields of a checkerboard, in parts of the longest axis.
_FIELDS = 8


def plot_images(static, moving, warped, *, affine=None):
    """Draw two images before and after registration, in each plane.

    Static, moving and warped image, the difference of warped and static, and both in
    turn on a checkerboard.

    Parameters
    ----------
    static, moving, warped : ndarray, shape (*spatial,)
        In 2D or 3D, all on the grid of the static image.
    affine : ndarray, shape (4, 4), optional
        Of the static grid in 3D, from voxels to mm: tells sizes and directions.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the images are not of one shape of two or three axes, or not of real numbers.
    """
    given = {"static": static, "moving": moving, "warped": warped}
    images = [check_real(name, image).astype(float) for name, image in given.items()]
    shape = _check_shape(images)
    planes = Planes(shape, affine)
    static, moving, warped = (planes.turn(to_unit_range(image)) for image in images)
    figure, axes = panels(planes, ("static", "moving", "warped", "", ""))
    axes[0, 3].set_title("warped - static")
    axes[0, 4].set_title("checkerboard")
    place = middle(static > 0)
    for plane, row in zip(planes.planes, axes):
        shown = [cut_at(image, plane, place) for image in (static, moving, warped)]
        for ax, image in zip(row, shown):
            ax.imshow(image, vmin=0, vmax=1, aspect=plane.aspect, **IMAGE_STYLE)
        style = {**IMAGE_STYLE, "cmap": DIFFERENCES, "aspect": plane.aspect}
        difference = row[3].imshow(shown[2] - shown[0], vmin=-1, vmax=1, **style)
        board = _checkerboard(shown[0], shown[2])
        row[4].imshow(board, vmin=0, vmax=1, aspect=plane.aspect, **IMAGE_STYLE)
        name_edges(row[0], plane)
    figure.colorbar(difference, ax=axes[:, 3].tolist(), shrink=0.6, location="bottom")
    return figure


def _check_shape(images):
    shapes = [image.shape for image in images]
    if len(set(shapes)) > 1 or len(shapes[0]) not in (2, 3):
        raise ValueError(
            f"Expected images of one shape, of two or three axes. Received shapes "
            f"{shapes[0]} (static), {shapes[1]} (moving) and {shapes[2]} (warped)."
        )
    return shapes[0]


def _checkerboard(one, other):
    size = max(1, max(one.shape) // _FIELDS)
    rows, columns = np.indices(one.shape) // size
    return np.where((rows + columns) % 2, other, one)
