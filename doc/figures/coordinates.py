"""Figures of displacements: images/pull_back.png and images/units.png."""

from pathlib import Path

from matplotlib.figure import Figure
from nibabel.affines import apply_affine
import numpy as np

BLUE, ORANGE, INK, LINES = "#1f77b4", "#ff7f0e", "#333333", "#b0b0b0"
VOXEL, DISPLACEMENT = np.array([2, 1]), np.array([2, 1])
# Rotation, voxel sizes in mm and origin in mm of the affine.
ANGLE, ZOOMS, ORIGIN = np.radians(20), np.diag([1.5, 2.0]), [6.0, 3.0]


def draw(folder):
    """Write the figures into a folder.

    Parameters
    ----------
    folder : Path
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    draw_pull_back().savefig(folder / "pull_back.png")
    draw_units().savefig(folder / "units.png")


def draw_pull_back():
    """Return a figure of a static voxel and its position in the moving image."""
    figure = Figure(figsize=(8, 3.4), dpi=150)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(-1.3, 14.7), ylim=(-1.4, 5.4), aspect="equal")
    ax.axis("off")
    shape, apart = (6, 5), np.array([8.0, 0.0])
    x, u = np.array([1, 1]), np.array([2.4, 1.7])
    for offset, name in ((0 * apart, "static image"), (apart, "moving image")):
        _lattice(ax, shape, offset)
        ax.text(*(offset + [2.5, -0.75]), name, ha="center", va="top", color=INK)
    where = apart + x + u
    corners = np.floor(x + u) + [[0, 0], [1, 0], [0, 1], [1, 1]] + apart
    ax.plot(*corners.T, "o", color=ORANGE, markersize=9, mfc="none", mew=2)
    ax.plot(*x, "s", color=BLUE, markersize=10)
    ax.plot(*(apart + x), "s", color=BLUE, markersize=10, mfc="none", mew=1.5)
    ax.plot(*where, "x", color=ORANGE, markersize=9, mew=2.5)
    _arrow(ax, apart + x, where, BLUE)
    style = {"connectionstyle": "arc3,rad=0.33", "linestyle": "--"}
    _arrow(ax, where, x, ORANGE, shrink=8, **style)
    ax.text(*(x + [-0.2, -0.5]), "$x$", ha="right", color=BLUE, size=13)
    ax.text(*(apart + x + [-0.2, -0.5]), "$x$", ha="right", color=BLUE, size=13)
    middle = apart + x + u / 2
    ax.text(*(middle + [0.35, -0.6]), "$u(x)$", color=BLUE, size=13)
    ax.text(*(where + [0.85, -0.25]), "$x + u(x)$", color=ORANGE, size=13)
    ax.text(6.5, 4.0, "the value goes to $x$", ha="center", color=ORANGE)
    return figure


def draw_units():
    """Return a figure of one displacement in voxels, in RAS+ and in LPS+."""
    figure = Figure(figsize=(9, 3.7), dpi=150, layout="constrained")
    axes = figure.subplots(1, 3)
    turn = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
    ras = np.eye(3)
    ras[:2, :2], ras[:2, 2] = turn @ ZOOMS, ORIGIN
    lps = np.diag([-1, -1, 1]) @ ras
    panels = (
        ("voxels", np.eye(3), "first axis", "second axis", "voxels"),
        ("mm, RAS+ (NIfTI, DIPY)", ras, "to the right", "to the front", "mm"),
        ("mm, LPS+ (ITK)", lps, "to the left", "to the back", "mm"),
    )
    for ax, (title, affine, along, up, unit) in zip(axes, panels):
        _lattice(ax, (6, 4), affine=affine)
        start, end = apply_affine(affine, [VOXEL, VOXEL + DISPLACEMENT])
        ax.plot(*start, "s", color=BLUE, markersize=8)
        ax.plot(*apply_affine(affine, [0, 0]), "o", color=ORANGE, markersize=8)
        _arrow(ax, start, end, BLUE)
        values = ", ".join(f"{value:.4g}" for value in end - start)
        ax.set_title(f"{title}\n$u$ = ({values}) {unit}", size=10)
        ax.set_xlabel(along)
        ax.set_ylabel(up)
        ax.set_aspect("equal", adjustable="datalim")
        ax.margins(0.12)
    return figure


def _lattice(ax, shape, offset=(0, 0), affine=None):
    """Draw lines that cross at the voxels."""
    affine = np.eye(3) if affine is None else affine
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    points = apply_affine(affine, grid) + offset
    for lines in (points, points.swapaxes(0, 1)):
        for line in lines:
            ax.plot(*line.T, color=LINES, linewidth=0.8, zorder=0)
    ax.plot(*points.reshape(-1, 2).T, ".", color=LINES, markersize=4, zorder=0)


def _arrow(ax, start, end, color, *, shrink=0, **style):
    style |= {"arrowstyle": "-|>", "color": color, "lw": 2, "mutation_scale": 15}
    style |= {"shrinkA": shrink, "shrinkB": shrink}
    ax.annotate("", end, start, arrowprops=style)


if __name__ == "__main__":
    draw(Path(__file__).parent.parent / "images")
