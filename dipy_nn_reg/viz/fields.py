"""Figures of a displacement field and of its changes of volume."""

import matplotlib.pyplot as plt
import numpy as np

from dipy_nn_reg.checks import check_real
from dipy_nn_reg.mapping.measures import lengths_of
from dipy_nn_reg.metrics.fields import in_plane, is_folded, jacobian_determinant
from dipy_nn_reg.viz.panels import (
    DIFFERENCES,
    STATIC_COLOR,
    cut_at,
    draw_grid,
    name_edges,
    panels,
)
from dipy_nn_reg.viz.planes import Planes

# Number of grid lines and of arrows along the longest axis.
_LINES, _ARROWS = 32, 24


def plot_field(displacement, *, affine=None):
    """Draw a field in each plane as a deformed grid, as arrows and as lengths.

    Parameters
    ----------
    displacement : ndarray, shape (*spatial, ndim)
        In voxels.
    affine : ndarray, shape (4, 4), optional
        As for :func:`plot_images`. With it, lengths are in mm.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the displacement is not a field of finite values.
    """
    displacement = check_finite_field(displacement)
    planes = Planes(displacement.shape[:-1], affine)
    field = planes.turn_field(displacement)
    lengths = planes.turn(lengths_of(displacement, affine))
    unit = "voxels" if affine is None else "mm"
    figure, axes = panels(planes, ("deformed grid", "displacement", f"length, {unit}"))
    center = [size // 2 for size in lengths.shape]
    for plane, row in zip(planes.planes, axes):
        moved = cut_at(field, plane, center)[..., [plane.rows, plane.columns]]
        draw_grid(row[0], moved, spacing=max(1, max(moved.shape) // _LINES))
        _draw_arrows(row[1], moved)
        for ax in row[:2]:
            ax.set_aspect(plane.aspect)
        image = row[2].imshow(
            cut_at(lengths, plane, center),
            vmin=0,
            vmax=max(float(lengths.max()), 1e-6),
            cmap="viridis",
            aspect=plane.aspect,
        )
        name_edges(row[2], plane)
    figure.colorbar(image, ax=axes[:, 2].tolist(), shrink=0.6, location="bottom")
    return figure


def plot_jacobian(displacement, *, affine=None):
    """Draw the changes of volume of a field, and its folds, in each plane.

    Parameters
    ----------
    displacement, affine
        As for :func:`plot_field`.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The binary logarithm of the Jacobian determinant: 1 where the moving image is
        shrunk to half its volume. Each plane shows the slice with the most folded
        voxels, which are marked by crosses.

    Raises
    ------
    ValueError
        If the displacement is not a field.
    """
    displacement = _check_field(displacement)
    planes = Planes(displacement.shape[:-1], affine)
    determinant = planes.turn(determinant_of(displacement))
    folded = is_folded(determinant)
    logarithm = np.log2(np.clip(determinant, 0.25, 4))
    n = len(planes.planes)
    figure, axes = plt.subplots(
        1, n, figsize=(3 * n + 0.8, 3.4), squeeze=False, layout="constrained"
    )
    worst = [_worst_slice(folded, axis) for axis in range(folded.ndim)]
    for plane, ax in zip(planes.planes, axes[0]):
        image = ax.imshow(
            cut_at(logarithm, plane, worst),
            vmin=-2,
            vmax=2,
            cmap=DIFFERENCES,
            aspect=plane.aspect,
        )
        y, x = np.nonzero(cut_at(folded, plane, worst))
        ax.plot(x, y, "x", color="black", markersize=4, label="folded")
        ax.set(xticks=[], yticks=[], title=plane.name)
        name_edges(ax, plane)
    if folded.any():
        axes[0, 0].legend(loc="lower right", fontsize="small")
    figure.colorbar(
        image, ax=axes[0].tolist(), shrink=0.8, label="log2 of the Jacobian determinant"
    )
    return figure


def _check_field(displacement):
    displacement = check_real("displacement", displacement)
    ndim = displacement.ndim - 1
    if ndim not in (2, 3) or displacement.shape[-1] != ndim:
        raise ValueError(
            f"Expected a displacement of shape (*spatial, ndim) in 2D or 3D. "
            f"Received shape {displacement.shape}."
        )
    return displacement


def check_finite_field(displacement):
    """Return a displacement, or raise ValueError if a value is not finite."""
    displacement = _check_field(displacement)
    if not np.all(np.isfinite(displacement)):
        raise ValueError(
            f"Expected finite values in displacement. Received "
            f"{np.sum(~np.isfinite(displacement))} of {displacement.size} that are not."
        )
    return displacement


def determinant_of(displacement):
    """Return the Jacobian determinant; of a single slice, that in its plane."""
    determinant = jacobian_determinant(in_plane(displacement))
    return determinant.reshape(displacement.shape[:-1])


def _draw_arrows(ax, moved):
    """Draw a displacement of shape (rows, columns, 2) as arrows."""
    step = max(1, max(moved.shape) // _ARROWS)
    rows, columns = (np.arange(0, size, step) for size in moved.shape[:2])
    sample = moved[::step, ::step]
    ax.quiver(
        columns,
        rows,
        sample[..., 1],
        sample[..., 0],
        angles="xy",
        scale_units="xy",
        scale=1,
        color=STATIC_COLOR,
        width=0.006,
    )
    height, width = moved.shape[:2]
    ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _worst_slice(folded, axis):
    """Return the index of the slice with the most folds, or of the middle slice."""
    others = tuple(a for a in range(folded.ndim) if a != axis)
    counts = folded.sum(others)
    return int(counts.argmax()) if counts.any() else len(counts) // 2
