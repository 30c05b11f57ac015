"""Figure of several pairs of 2D images, a row for each."""

import matplotlib.pyplot as plt
import numpy as np

from dipy_nn_reg.checks import check_integer, check_real
from dipy_nn_reg.viz.panels import IMAGE_STYLE, draw_grid


def plot_registration(moving, static, warped, displacement, *, spacing=1):
    """Draw pairs of images in rows: static, moving, warped and the deformed grid.

    Parameters
    ----------
    moving, warped : ndarray, shape (n, rows, columns)
    static : ndarray, shape (rows, columns) or (n, rows, columns)
        One image for all pairs, or one for each.
    displacement : ndarray, shape (n, rows, columns, 2)
        In voxels.
    spacing : int, optional
        Distance of the grid lines in voxels.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the images are not 2D, if their number differs or is 0, or if the spacing is
        not a positive integer.
    """
    moving, static = check_real("moving", moving), check_real("static", static)
    warped = check_real("warped", warped)
    displacement = check_real("displacement", displacement)
    shape = moving.shape
    match = np.shape(warped) == shape and np.shape(displacement) == (*shape, 2)
    if len(shape) != 3 or not match or np.shape(static) not in (shape, shape[1:]):
        raise ValueError(
            f"Expected images of one shape (n, rows, columns) and displacements of "
            f"shape (n, rows, columns, 2). Received shapes {shape} (moving), "
            f"{np.shape(static)} (static), {np.shape(warped)} (warped) and "
            f"{np.shape(displacement)} (displacement)."
        )
    check_integer("spacing", spacing, lowest=1)
    n = len(moving)
    static = np.broadcast_to(static, shape)
    figure, axes = plt.subplots(
        n, 4, figsize=(6, 1.5 * n + 0.3), squeeze=False, layout="constrained"
    )
    for title, ax in zip(("static", "moving", "warped", "deformed grid"), axes[0]):
        ax.set_title(title)
    for row, *images, field in zip(axes, static, moving, warped, displacement):
        values = np.stack(images)
        finite = values[np.isfinite(values)]
        low, high = (finite.min(), finite.max()) if finite.size else (0, 1)
        for ax, image in zip(row, images):
            ax.imshow(image, vmin=low, vmax=high, **IMAGE_STYLE)
        draw_grid(row[3], field, spacing=spacing)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    return figure
