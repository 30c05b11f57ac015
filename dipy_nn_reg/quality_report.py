"""Pages that show how good registrations are: one file each, which needs no other."""

from datetime import datetime
from importlib.metadata import version
import platform

from jinja2 import Environment, PackageLoader, StrictUndefined
import matplotlib.pyplot as plt
import numpy as np

from dipy_nn_reg.files import whole_file
from dipy_nn_reg.label_metrics import dice_of_labels
from dipy_nn_reg.mapping import displacement_of, world_affine
from dipy_nn_reg.metrics import to_unit_range
from dipy_nn_reg.quality import apply_map, measure
from dipy_nn_reg.strips import as_address, choose_slices, contour_strip, gray_strip
from dipy_nn_reg.verdicts import VERDICTS, judge
from dipy_nn_reg.viz import (
    plot_dice,
    plot_field,
    plot_histograms,
    plot_images,
    plot_jacobian,
)
from dipy_nn_reg.viz.planes import Planes

# Blue and orange, as in the figures.
COLORS = {"static": (0, 114, 178), "other": (230, 120, 0)}
# The static ones are drawn last, above the others.
CONTOURS = dict.fromkeys(("before", "warped"), COLORS["other"])
CONTOURS["static"] = COLORS["static"]
PACKAGES = ("dipy_nn_reg", "dipy", "numpy")
# Names of measures for people, and their digits.
ROWS = {
    "ncc": ("Correlation of the images (NCC)", 3),
    "nmi": ("Normalised mutual information", 3),
    "misplaced": ("Misplaced structure, share", 2),
    "dice": ("Overlap of labels (mean Dice)", 3),
    "covered": ("Static image within the moving one, share", 3),
    "folding": ("Folding, % of the voxels", 5),
    "sd_log_jacobian": ("SDlogJ, as in Learn2Reg", 3),
    "mean_displacement_mm": ("Displacement, mean over the grid, mm", 2),
    "largest_displacement_mm": ("Displacement, largest, mm", 2),
    "inverse_error_mm": ("There and back, mean error, mm", 3),
}
# What is to be seen in the figures.
LOOK_FOR = {
    "Images": "Where edges break off on the checkerboard, the images do not fit.",
    "Overlap of structures": "The further to the right, the better.",
    "Field": (
        "Where each static voxel is read in the moving image, in the middle of the "
        "volume. Lines that cross are folds."
    ),
    "Changes of volume": (
        "Above 0 the moving image was shrunk, below 0 enlarged; 1 is a factor of 2. "
        "Where something folds, the slices with most of it are shown, and crosses."
    ),
    "Distributions": (
        "Intensities are shares of the range of each image. Changes of volume beyond a "
        "factor of 4 (2 and -2) are frequent between people, at single places."
    ),
}


def report(
    path,
    mapping,
    moving,
    static,
    *,
    moving_labels=None,
    static_labels=None,
    label_names=None,
    title="Registration",
    details=None,
):
    """Write a page on how good one registration is.

    The page is one file, which opens in any browser without a network: both images
    under a slider, contours of labels, the field and what it does to volumes, measures
    before and after, and what they mean.

    Parameters
    ----------
    path : string or Path
        Ends with ``.html``. An existing file is replaced once the page is complete.
    mapping : dipy.align.imwarp.DiffeomorphicMap
        Of :func:`~dipy_nn_reg.pairwise.register`, ``predict_mapping``, or DIPY's SyN.
    moving, static : ndarray, shape (*spatial,)
        The images, in 2D or 3D, on the grids of the map.
    moving_labels, static_labels : ndarray of int, shape (*spatial,), optional
        Label maps of both, 0 for background.
    label_names : dict of str, optional
        For each label.
    title : str, optional
    details : dict of str, optional
        What else is to be told: files, the command.

    Returns
    -------
    measures : dict
        As of :func:`~dipy_nn_reg.quality.measure`; and ``verdict``: "Good", "Look
        closely", "Misaligned", "Folded" or "Failed".

    Raises
    ------
    ValueError
        If the images are not on the grids of the map.
    """
    if not str(path).endswith(".html"):
        raise ValueError(f"Expected a path that ends with .html. Received {path!r}.")
    result = apply_map(
        mapping,
        moving,
        static,
        moving_labels=moving_labels,
        static_labels=static_labels,
    )
    measures = measure(result)
    findings = judge(measures)
    affine = world_affine(mapping.codomain_grid2world, mapping.dim)
    _write(
        path,
        "report.html",
        title=title,
        findings=findings,
        views=_views(result, affine),
        colors=COLORS,
        has_labels=bool(result.labels),
        rows=_rows(measures),
        figures=_figures(result, affine, label_names),
        details=_details(details),
    )
    return {**measures, "verdict": findings[0].title}


def cohort_report(path, subjects, *, title="Registrations", failed=(), details=None):
    """Write a page on several registrations, the worst ones first.

    Parameters
    ----------
    path : string or Path
        Ends with ``.html``.
    subjects : list of dict
        What :func:`report` returned, with ``name``, and ``page``, the address of the
        report of each, relative to this page.
    title : str, optional
    failed : list of tuple of str, optional
        Names of those without a report, and why there is none.
    details : dict of str, optional
        As for :func:`report`.
    """
    order = {name: i for i, name in enumerate(VERDICTS)}
    worst_first = sorted(
        subjects, key=lambda s: (order[s["verdict"]], -_or_worst(s["misplaced_after"]))
    )
    counts = {n: sum(s["verdict"] == n for s in subjects) for n in VERDICTS}
    names = [
        name
        for name in ("dice_after", "ncc_after", "misplaced_after", *list(ROWS)[5:])
        if any(name in subject for subject in subjects)
    ]
    _write(
        path,
        "cohort.html",
        title=title,
        counts={name: n for name, n in counts.items() if n},
        levels=VERDICTS,
        names={name: ROWS[name.removesuffix("_after")][0] for name in names},
        subjects=[
            {**s, "cells": [_number(s.get(n), n.removesuffix("_after")) for n in names]}
            for s in worst_first
        ],
        failed=failed,
        details=_details(details),
    )


def _or_worst(value):
    return value if np.isfinite(value) else np.inf


def _views(result, affine):
    """Return for each plane what a browser needs to show it."""
    shape = result.static.shape
    planes = Planes(shape, affine if len(shape) == 3 else None)
    images = {"static": result.static, "before": result.before, "warped": result.warped}
    turned = {name: planes.turn(to_unit_range(image)) for name, image in images.items()}
    labels = {name: planes.turn(array) for name, array in result.labels.items()}
    views = []
    for plane in planes.planes:
        indices = choose_slices(turned["static"] > 0, plane)
        rows, columns = (turned["static"].shape[a] for a in (plane.rows, plane.columns))
        views.append(
            {
                "plane": plane,
                "slices": len(indices),
                "aspect": columns / (rows * plane.aspect),
                "layers": {n: gray_strip(t, plane, indices) for n, t in turned.items()},
                "contours": {
                    name: contour_strip(labels[name], plane, indices, color)
                    for name, color in CONTOURS.items()
                    if name in labels
                },
            }
        )
    return views


def _rows(measures):
    """Return name, before and after of each measure, as text."""
    rows = []
    for key, (name, _) in ROWS.items():
        if f"{key}_after" in measures:
            values = [measures[f"{key}_before"], measures[f"{key}_after"]]
        elif key in measures:
            values = [None, measures[key]]
        else:
            continue
        rows.append([name, *(_number(value, key) for value in values)])
    return rows


def _number(value, key):
    if value is None:
        return ""
    return f"{value:.{ROWS[key][1]}f}" if np.isfinite(value) else "not a number"


def _figures(result, affine, label_names):
    """Return titles, what to look for, and pictures; of a broken field, fewer."""
    known = {"affine": affine if len(affine) == 4 else None}
    displacement = displacement_of(result.mapping)
    labels = result.labels
    figures = {
        "Images": plot_images(result.static, result.before, result.warped, **known)
    }
    if labels:
        figures["Overlap of structures"] = plot_dice(
            dice_of_labels(labels["static"], labels["before"]),
            dice_of_labels(labels["static"], labels["warped"]),
            names=label_names,
        )
    if np.all(np.isfinite(displacement)):
        figures["Field"] = plot_field(displacement, **known)
        figures["Changes of volume"] = plot_jacobian(displacement, **known)
        figures["Distributions"] = plot_histograms(
            result.static, result.warped, displacement, **known
        )
    return [(name, LOOK_FOR[name], _picture(f)) for name, f in figures.items()]


def _picture(figure):
    address = as_address(figure)
    plt.close(figure)
    return address


def _details(details):
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return {
        **(details or {}),
        "Made": datetime.now().strftime("%Y-%m-%d %H:%M"),
        "Versions": f"{versions}, Python {platform.python_version()}",
    }


def _write(path, template, **values):
    environment = Environment(
        loader=PackageLoader("dipy_nn_reg"), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template(template).render(**values)
    with whole_file(path) as partial:
        partial.write_text(page, encoding="utf-8")
