"""Figures of measures: Dice of each structure, and histograms."""

import matplotlib.pyplot as plt
import numpy as np

from dipy_nn_reg.checks import check_integer
from dipy_nn_reg.mapping.measures import lengths_of
from dipy_nn_reg.metrics.images import to_unit_range
from dipy_nn_reg.text import readable
from dipy_nn_reg.viz.fields import check_finite_field, determinant_of
from dipy_nn_reg.viz.panels import STATIC_COLOR, WARPED_COLOR


def plot_dice(before, after, *, names=None, most=40):
    """Draw the overlap of each structure before and after registration.

    Parameters
    ----------
    before, after : dict of float
        Dice of each label, see :func:`~dipy_nn_reg.metrics.labels.dice_of_labels`.
    names : dict of str, optional
        Name of each label.
    most : int, optional
        Largest number of labels. If there are more, those with the lowest overlap
        after registration are drawn.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there are no labels, or if a label of ``after`` is missing in ``before``.
    """
    names = {} if names is None else names
    _check_dice(before, after, names, most)
    # From the bottom to the top of the figure, which has the lowest Dice.
    labels = sorted(after, key=lambda label: np.nan_to_num(after[label]))[:most][::-1]
    figure, ax = plt.subplots(
        figsize=(5, 1.2 + 0.17 * len(labels)), layout="constrained"
    )
    heights = range(len(labels))
    old, new = ([dice[label] for label in labels] for dice in (before, after))
    ax.hlines(heights, old, new, color="0.75", zorder=1)
    ax.scatter(old, heights, marker="o", s=16, color=WARPED_COLOR, label="before")
    ax.scatter(new, heights, marker="D", s=16, color=STATIC_COLOR, label="after")
    shown = [readable(names.get(label, label)) for label in labels]
    ax.set_yticks(heights, shown, parse_math=False)  # a name may contain a dollar
    ax.tick_params(axis="y", labelsize="small")
    if len(after) > most:
        ax.set_title(
            f"the lowest {most} of {len(after)}", fontsize="medium", loc="right"
        )
    ax.set(xlabel="Dice", xlim=(0, 1), ylim=(-0.7, len(labels) - 0.3))
    ax.grid(axis="x", alpha=0.4)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    return figure


def plot_histograms(static, warped, displacement, *, affine=None):
    """Draw histograms of intensities, changes of volume and displacements.

    Parameters
    ----------
    static, warped : ndarray, shape (*spatial,)
    displacement : ndarray, shape (*spatial, ndim)
        In voxels.
    affine : ndarray, shape (ndim + 1, ndim + 1), optional
        Affine of the static grid. With it, lengths are in mm.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If an image is empty or not of real numbers, or if the displacement is not a
        field of finite values.
    """
    displacement = check_finite_field(displacement)
    figure, axes = plt.subplots(1, 3, figsize=(10, 2.6), layout="constrained")
    for image, color, label in (
        (static, STATIC_COLOR, "static"),
        (warped, WARPED_COLOR, "warped"),
    ):
        intensities = to_unit_range(image)
        intensities = intensities[intensities > 0]
        _draw_counts(axes[0], intensities, (0, 1), color=color, label=label)
    axes[0].set(title="intensities", yticks=[], xlabel="fraction of the range")
    axes[0].legend(fontsize="small")
    determinant = determinant_of(displacement)
    logarithm = np.log2(np.clip(determinant, 2**-3, 2**3))
    _draw_counts(axes[1], logarithm, (-3, 3), log=True, color=STATIC_COLOR, fill=True)
    axes[1].set(title="changes of volume", xlabel="log2 of the Jacobian")
    lengths = lengths_of(displacement, affine)
    _draw_counts(axes[2], lengths, None, log=True, color=STATIC_COLOR, fill=True)
    unit = "voxels" if affine is None else "mm"
    axes[2].set(title="displacements", xlabel=f"length, {unit}")
    return figure


def _draw_counts(ax, values, limits, *, log=False, **style):
    """Draw a histogram as one patch, which is faster than one for each bar."""
    ax.stairs(*np.histogram(values, 64, range=limits), **style)
    if log:
        # Powers of ten in plain text: those in mathematical type take 0.2 s.
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter("")


def _check_dice(before, after, names, most):
    for name, value in (("before", before), ("after", after), ("names", names)):
        if not isinstance(value, dict):
            raise ValueError(f"Expected {name} to be a dict. Received {value!r}.")
    check_integer("most", most, lowest=1)
    if not after or set(after) - set(before):
        raise ValueError(
            f"Expected the same labels before and after, one or more. Received "
            f"{sorted(before)} and {sorted(after)}."
        )
