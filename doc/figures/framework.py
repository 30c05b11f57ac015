"""Figure of the registration by a network: images/framework.png."""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
import numpy as np

from dipy_nn_reg.transform import identity_grid, integrate, warp

BLUE, ORANGE, INK = "#1f77b4", "#ff7f0e", "#333333"
SIZE, THUMB = 48, 1.3
# Centres of the parts of the figure.
MOVING, STATIC = (0.8, 3.6), (0.8, 1.9)
NETWORK, VELOCITY, INTEGRATION = (2.7, 2.75), (4.55, 2.75), (6.4, 2.75)
DISPLACEMENT, SAMPLER, WARPED = (8.25, 2.75), (10.1, 2.75), (11.95, 2.75)
SIMILARITY, PENALTY, LOSS = (11.95, 0.7), (4.55, 0.7), (8.25, 0.7)


def draw(folder):
    """Write the figure into a folder.

    Parameters
    ----------
    folder : Path
    """
    figure = Figure(figsize=(10, 3.8), dpi=150)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(-0.1, 13.0), ylim=(-0.35, 4.65), aspect="equal")
    ax.axis("off")
    moving, static, velocity, displacement, warped = _register()
    for name, where, image in (
        ("moving", MOVING, moving),
        ("static", STATIC, static),
        ("warped", WARPED, warped),
    ):
        _frame(ax, where, name)
        ax.imshow(image.T, extent=_extent(where), cmap="gray", origin="lower", zorder=2)
    _frame(ax, VELOCITY, "velocity")
    _arrows(ax, VELOCITY, velocity)
    _frame(ax, DISPLACEMENT, "displacement")
    _grid(ax, DISPLACEMENT, displacement)
    for name, where in (
        ("network", NETWORK),
        ("integration", INTEGRATION),
        ("sampler", SAMPLER),
        ("similarity", SIMILARITY),
        ("penalty", PENALTY),
        ("loss", LOSS),
    ):
        _operation(ax, where, name)
    _connect(ax)
    Path(folder).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(folder) / "framework.png")


def _register():
    """Return an image, a velocity, and the results of integration and warp."""
    grid = identity_grid((SIZE, SIZE))
    x, y = np.moveaxis(grid - (SIZE - 1) / 2, -1, 0)
    radius = np.hypot(x / 0.85, y)
    moving = 0.45 / (1 + np.exp(radius - 17)) + 0.4 / (1 + np.exp(radius - 13))
    for side in (-4, 4):
        moving -= 0.6 * np.exp(-(((x - side) / 2) ** 2) - ((y - 1) / 5) ** 2)
    fade = np.exp(-((radius / 15) ** 4))
    velocity = fade[..., None] * np.stack(
        [3 * np.sin(y / 6) + 2, 3 * np.cos(x / 7) - 1], axis=-1
    )
    velocity = velocity.astype(np.float32)
    displacement = integrate(velocity)
    warped = warp(np.clip(moving, 0, 1).astype(np.float32), displacement)
    return moving, warped, velocity, displacement, warped


def _extent(where):
    x, y = where
    return (x - THUMB / 2, x + THUMB / 2, y - THUMB / 2, y + THUMB / 2)


def _frame(ax, where, name):
    left, right, bottom, top = _extent(where)
    sides = [left, right, right, left, left], [bottom, bottom, top, top, bottom]
    ax.plot(*sides, color=BLUE, linewidth=2, zorder=3)
    ax.text(where[0], top + 0.07, name, ha="center", va="bottom", color=BLUE)


def _operation(ax, where, name):
    x, y = where
    box = FancyBboxPatch(
        (x - 0.58, y - 0.28),
        1.16,
        0.56,
        boxstyle="round,pad=0.02,rounding_size=0.1",
        facecolor="#ffe8d1",
        edgecolor=ORANGE,
        linewidth=2,
        zorder=3,
    )
    ax.add_patch(box)
    ax.text(x, y, name, ha="center", va="center", color=INK, zorder=4)


def _to_figure(where, points):
    """Return the positions of voxels of the small image in the axes."""
    return np.array(where) + (points - (SIZE - 1) / 2) * THUMB / SIZE


def _arrows(ax, where, field, every=6):
    some = (slice(every // 2, None, every), slice(every // 2, None, every))
    points = _to_figure(where, identity_grid((SIZE, SIZE))[some])
    vectors = field[some] * THUMB / SIZE * 1.8
    ax.quiver(
        *np.moveaxis(points, -1, 0),
        *np.moveaxis(vectors, -1, 0),
        angles="xy",
        scale_units="xy",
        scale=1,
        color=BLUE,
        width=0.0013,
        headwidth=5,
        zorder=2,
    )


def _grid(ax, where, field, every=4):
    points = _to_figure(where, identity_grid((SIZE, SIZE)) + field)
    for lines in (points, points.swapaxes(0, 1)):
        for line in [*lines[::every], lines[-1]]:
            ax.plot(*line.T, color=BLUE, linewidth=0.7, zorder=2)


def _connect(ax):
    half, box, high = THUMB / 2, 0.6, 0.3
    middle = NETWORK[1]
    for where in (MOVING, STATIC):
        turn = (NETWORK[0] - 1.05, where[1])
        _line(ax, (where[0] + half, where[1]), turn, (turn[0], middle))
    _line(ax, (NETWORK[0] - 1.05, middle), (NETWORK[0] - box, middle), head=True)
    row = [
        (NETWORK, box, VELOCITY, half),
        (VELOCITY, half, INTEGRATION, box),
        (INTEGRATION, box, DISPLACEMENT, half),
        (DISPLACEMENT, half, SAMPLER, box),
        (SAMPLER, box, WARPED, half),
    ]
    for start, after, end, before in row:
        _line(ax, (start[0] + after, middle), (end[0] - before, middle), head=True)
    # The sampler reads the moving image.
    top = 4.15
    reads = [(MOVING[0] + half, top), (SAMPLER[0], top), (SAMPLER[0], middle + high)]
    _line(ax, *reads, head=True)
    # The warped image is compared with the static one.
    low = -0.15
    _line(
        ax,
        (STATIC[0], STATIC[1] - half),
        (STATIC[0], low),
        (SIMILARITY[0], low),
        (SIMILARITY[0], SIMILARITY[1] - high),
        head=True,
    )
    for start, end in ((WARPED, SIMILARITY), (VELOCITY, PENALTY)):
        ends = [(start[0], start[1] - half), (start[0], end[1] + high)]
        _line(ax, *ends, head=True)
    y = LOSS[1]
    _line(ax, (SIMILARITY[0] - box, y), (LOSS[0] + box, y), head=True)
    _line(ax, (PENALTY[0] + box, y), (LOSS[0] - box, y), head=True)


def _line(ax, *points, head=False):
    """Draw a line through points, with or without a head at its end."""
    x, y = zip(*points)
    ax.plot(x, y, color=INK, linewidth=1.3, zorder=1, solid_joinstyle="miter")
    if head:
        style = {"arrowstyle": "-|>", "color": INK, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", points[-1], points[-2], arrowprops=style | {"lw": 1.3})


if __name__ == "__main__":
    draw(Path(__file__).parent.parent / "images")
