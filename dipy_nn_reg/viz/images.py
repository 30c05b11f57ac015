"""Figure of two images before and after registration."""

import numpy as np

from dipy_nn_reg.checks import check_real
from dipy_nn_reg.metrics.images import to_unit_range
from dipy_nn_reg.viz.panels import DIFFERENCES, IMAGE_STYLE, cut_at, name_edges, panels
from dipy_nn_reg.viz.planes import Planes, middle

# Number of squares of the checkerboard along the longest axis.
_SQUARES = 8


def plot_images(moving, static, warped, *, affine=None):
    """Draw two images before and after registration, in each plane.

    The columns are the static, the moving and the warped image, the difference of the
    warped and the static image, and a checkerboard of these two.

    Parameters
    ----------
    moving, static, warped : ndarray, shape (*spatial,)
        In 2D or 3D, all on the grid of the static image.
    affine : ndarray, shape (4, 4), optional
        Affine of the static grid in 3D, from voxels to world coordinates in mm. It
        sets the proportions of the voxels and the letters at the edges.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the images do not share one shape of two or three axes, or are not of real
        numbers.
    """
    images = {"moving": moving, "static": static, "warped": warped}
    images = {n: check_real(n, image).astype(float) for n, image in images.items()}
    planes = Planes(_check_shape(images), affine)
    moving, static, warped = (
        planes.turn(to_unit_range(image)) for image in images.values()
    )
    figure, axes = panels(planes, ("static", "moving", "warped", "", ""))
    axes[0, 3].set_title("warped - static")
    axes[0, 4].set_title("checkerboard")
    center = middle(static > 0)
    for plane, row in zip(planes.planes, axes):
        shown = [cut_at(image, plane, center) for image in (static, moving, warped)]
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
    shapes = {name: image.shape for name, image in images.items()}
    if len(set(shapes.values())) > 1 or len(shapes["static"]) not in (2, 3):
        raise ValueError(
            f"Expected images of one shape, of two or three axes. Received shapes "
            f"{shapes['moving']} (moving), {shapes['static']} (static) and "
            f"{shapes['warped']} (warped)."
        )
    return shapes["static"]


def _checkerboard(one, other):
    size = max(1, max(one.shape) // _SQUARES)
    rows, columns = np.indices(one.shape) // size
    return np.where((rows + columns) % 2, other, one)
