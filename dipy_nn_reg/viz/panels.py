"""Panels of the figures: axes, edge letters, colours and the deformed grid."""

import matplotlib.pyplot as plt
import numpy as np

from dipy_nn_reg.checks import check_integer, check_real
from dipy_nn_reg.viz.planes import cut

# Colours of both images, and colour map of differences: distinct for the colour-blind.
STATIC_COLOR, WARPED_COLOR, DIFFERENCES = "tab:blue", "tab:orange", "PuOr"
# Keyword arguments of ``imshow`` for images in gray.
IMAGE_STYLE = {"cmap": "gray", "interpolation": "nearest"}


def panels(planes, titles, width=2.2):
    """Return a figure and its axes: a row for each plane, a column for each title."""
    n = len(planes.planes)
    figure, axes = plt.subplots(
        n,
        len(titles),
        figsize=(width * len(titles), width * n + 0.6),
        squeeze=False,
        layout="constrained",
    )
    for ax, title in zip(axes[0], titles):
        ax.set_title(title)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    return figure, axes


def cut_at(turned, plane, position):
    """Return the slice of a turned array through a position, an index per axis."""
    return cut(turned, plane, 0 if plane.normal is None else position[plane.normal])


def name_edges(ax, plane):
    """Write the letters of the directions of a plane at its edges."""
    if not plane.edges:
        return
    left, right, top, bottom = plane.edges
    style = {"transform": ax.transAxes, "fontsize": "small", "color": "tab:orange"}
    ax.text(0.02, 0.5, left, va="center", ha="left", **style)
    ax.text(0.98, 0.5, right, va="center", ha="right", **style)
    ax.text(0.5, 0.98, top, va="top", ha="center", **style)
    ax.text(0.5, 0.02, bottom, va="bottom", ha="center", **style)


def draw_grid(ax, displacement, *, spacing=1):
    """Draw the lines of the static grid where they fall in the moving image.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    displacement : ndarray, shape (rows, columns, 2)
        In voxels.
    spacing : int, optional
        Distance of the lines in voxels.

    Raises
    ------
    ValueError
        If the displacement has another shape or is not of real numbers, or if the
        spacing is not a positive integer.
    """
    check_integer("spacing", spacing, lowest=1)
    displacement = check_real("displacement", displacement)
    if displacement.ndim != 3 or displacement.shape[-1] != 2:
        raise ValueError(
            f"Expected a displacement of shape (rows, columns, 2). "
            f"Received shape {displacement.shape}."
        )
    rows, columns = displacement.shape[:2]
    y, x = np.moveaxis(displacement, -1, 0) + np.mgrid[:rows, :columns]
    ax.plot(x[::spacing].T, y[::spacing].T, color="tab:blue", linewidth=0.5)
    ax.plot(x[:, ::spacing], y[:, ::spacing], color="tab:blue", linewidth=0.5)
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), aspect="equal")
