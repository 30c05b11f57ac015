"""Figures of a registration: arrays in, a matplotlib figure out.

Nothing is shown and nothing is closed: that is for whoever asked for the figure.
"""

import matplotlib.pyplot as plt
import numpy as np

IMAGE_STYLE = {"cmap": "gray", "interpolation": "nearest"}


def plot_registration(moving, static, warped, displacement, *, spacing=1):
    """Draw pairs in rows: static, moving, warped and the deformed grid.

    Parameters
    ----------
    moving, warped : ndarray, shape (n, rows, columns)
    static : ndarray, shape (rows, columns) or (n, rows, columns)
        One for all, or one for each.
    displacement : ndarray, shape (n, rows, columns, 2)
        In voxels.
    spacing : int, optional
        Distance in voxels of the lines of the grid.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the images are not 2D or their number differs.
    """
    shape = np.shape(moving)
    fits = np.shape(warped) == shape and np.shape(displacement) == (*shape, 2)
    if len(shape) != 3 or not fits or np.shape(static) not in (shape, shape[1:]):
        raise ValueError(
            f"Expected images of one shape (n, rows, columns) and displacements of "
            f"shape (n, rows, columns, 2). Received shapes {shape} (moving), "
            f"{np.shape(static)} (static), {np.shape(warped)} (warped) and "
            f"{np.shape(displacement)} (displacement)."
        )
    n = len(moving)
    static = np.broadcast_to(static, shape)
    figure, axes = plt.subplots(
        n, 4, figsize=(6, 1.5 * n + 0.3), squeeze=False, layout="constrained"
    )
    for title, ax in zip(("static", "moving", "warped", "deformed grid"), axes[0]):
        ax.set_title(title)
    for row, *images, field in zip(axes, static, moving, warped, displacement):
        low, high = np.min(images), np.max(images)
        for ax, image in zip(row, images):
            ax.imshow(image, vmin=low, vmax=high, **IMAGE_STYLE)
        draw_grid(row[3], field, spacing=spacing)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    return figure


def draw_grid(ax, displacement, *, spacing=1):
    """Draw where the lines of the static grid fall in the moving image.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    displacement : ndarray, shape (rows, columns, 2)
        In voxels.
    spacing : int, optional
        Distance in voxels of the lines.
    """
    rows, columns = displacement.shape[:2]
    y, x = np.moveaxis(displacement, -1, 0) + np.mgrid[:rows, :columns]
    ax.plot(x[::spacing].T, y[::spacing].T, color="tab:blue", linewidth=0.5)
    ax.plot(x[:, ::spacing], y[:, ::spacing], color="tab:blue", linewidth=0.5)
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), aspect="equal")


def plot_history(history):
    """Draw the loss and the other measures of a training over its epochs.

    Parameters
    ----------
    history : dict of list of float
        ``fit(...).history``; names that start with ``val_`` are drawn dashed, beside
        those that they validate.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    names = [name for name in history if not name.startswith("val_")]
    figure, axes = plt.subplots(
        1,
        len(names),
        figsize=(3.2 * len(names), 2.6),
        squeeze=False,
        layout="constrained",
    )
    for ax, name in zip(axes[0], names):
        for key, style in ((name, "-o"), (f"val_{name}", "--s")):
            if key in history:
                label = "training" if key == name else "validation"
                epochs = range(1, len(history[key]) + 1)
                ax.plot(epochs, history[key], style, markersize=3, label=label)
        ax.set(title=name, xlabel="epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].legend()
    return figure
