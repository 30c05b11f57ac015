"""Figure of registered brains: slices of a pair at 2 mm, and the Dice of structures."""

import numpy as np

from dipy_nn_reg.mapping.resampling import warp_image

# Slice that is drawn, along the second axis.
SLICE = 50


def save_slices(options, method, moving, static, mapping):
    """Save the slices of a pair and of its field, from which the figure is drawn."""
    warped = warp_image(moving, static, [mapping])
    np.savez(
        _slices(options, method),
        images=np.stack([i[:, SLICE] for i in (static.data, moving.data, warped)]),
        field=mapping.backward[:, SLICE] / 2,
    )


def draw(results, options):
    """Draw slices of the first pair, and the Dice of each structure."""
    import matplotlib.pyplot as plt

    with np.load(options.malf / "malf_dev_2mm.npz") as file:
        structures = list(file["group_names"])
    figure = plt.figure(figsize=(12, 9), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.3))
    _draw_slices(top.subplots(2, 1 + len(results)), results, options)
    _draw_dice(bottom.subplots(), results, structures)
    figure.savefig(options.figure, dpi=100)


def _draw_slices(axes, results, options):
    """Draw the first pair, and the warped image and grid of each method."""
    for axis in axes.ravel():
        axis.axis("off")
    style = {"origin": "lower", "cmap": "gray"}
    for i, method in enumerate(results):
        with np.load(_slices(options, method)) as file:
            (static, moving, warped), field = file["images"], file["field"]
        if i == 0:
            for row, name, image in ((0, "static", static), (1, "moving", moving)):
                axes[row, 0].imshow(image.T, **style)
                axes[row, 0].set_title(name)
        axes[0, i + 1].imshow(warped.T, **style)
        axes[0, i + 1].set_title(method)
        x = np.indices(static.shape) + np.moveaxis(field[..., [0, 2]], -1, 0)
        for lines in (x[:, ::3], np.swapaxes(x, 1, 2)[:, ::3]):
            axes[1, i + 1].plot(lines[0].T, lines[1].T, color="C0", linewidth=0.6)
        axes[1, i + 1].set_aspect("equal")


def _draw_dice(axis, results, structures):
    """Draw boxes of the Dice of each structure, side by side for the methods."""
    width = 0.8 / len(results)
    for i, (method, result) in enumerate(results.items()):
        dice = np.array([pair["dice"][0] for pair in result["pairs"]])
        places = np.arange(dice.shape[1]) + (i - (len(results) - 1) / 2) * width
        boxes = axis.boxplot(
            dice,
            positions=places,
            widths=0.9 * width,
            patch_artist=True,
            manage_ticks=False,
            medianprops={"color": "black"},
            flierprops={"markersize": 2},
        )
        for box in boxes["boxes"]:
            box.set_facecolor(f"C{i}")
        axis.plot([], [], color=f"C{i}", linewidth=6, label=method)
    axis.set_xticks(range(len(structures)), structures, rotation=60, ha="right")
    axis.set_ylabel("Dice")
    axis.grid(axis="y", alpha=0.4)
    axis.legend(loc="lower left")


def _slices(options, method):
    return options.models / f"slices_{method}.npz"
