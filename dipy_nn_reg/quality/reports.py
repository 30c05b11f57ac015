"""Pages that show how good registrations are: one file each, which needs no other."""

import matplotlib.pyplot as plt
import numpy as np

from dipy_nn_reg.mapping.grid import static_grid
from dipy_nn_reg.mapping.maps import displacement_of
from dipy_nn_reg.metrics.images import to_unit_range
from dipy_nn_reg.metrics.labels import dice_of_labels
from dipy_nn_reg.quality.measures import apply_map, measure
from dipy_nn_reg.quality.pages import ROWS, check_page, format_number, write_page
from dipy_nn_reg.quality.slices import (
    as_data_url,
    choose_slices,
    contour_strip,
    gray_strip,
)
from dipy_nn_reg.quality.verdicts import VERDICTS, judge
from dipy_nn_reg.viz import (
    plot_dice,
    plot_field,
    plot_histograms,
    plot_images,
    plot_jacobian,
)
from dipy_nn_reg.viz.planes import Planes

__all__ = ["check_page", "cohort_report", "report"]

# Blue and orange, as in the figures.
COLORS = {"static": (0, 114, 178), "other": (230, 120, 0)}
# The static ones are drawn last, above the others.
CONTOURS = dict.fromkeys(("before", "warped"), COLORS["other"])
CONTOURS["static"] = COLORS["static"]
# Measures in the table of several pairs, from the left.
COLUMNS = ("dice_after", "lost_labels_after", "ncc_after", "misplaced_after")
COLUMNS += tuple(ROWS)[6:]
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
    moving_affine=None,
    static_affine=None,
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
        Of :func:`~dipy_nn_reg.register`, ``predict_mapping``, or DIPY's SyN.
    moving, static : ndarray, shape (*spatial,)
        The images, in 2D or 3D, on the grids of the map.
    moving_affine, static_affine : ndarray, shape (ndim + 1, ndim + 1), optional
        From voxels to world coordinates in mm, if an image is stored in another order
        than on the grid of the map, or on another grid; by default, those of the map.
    moving_labels, static_labels : ndarray of int, shape (*spatial,), optional
        Label maps of both, on the grids of the images; 0 for background.
    label_names : dict of str, optional
        For each label.
    title : str, optional
    details : dict of str, optional
        What else is to be told: files, the command.

    Returns
    -------
    measures : dict
        As of :func:`~dipy_nn_reg.quality.measures.measure`; and ``verdict``: "Good",
        "Look closely", "Misaligned", "Folded" or "Failed".

    Raises
    ------
    ValueError
        If the path does not end with ``.html`` or is a folder, or if images or labels
        do not fit, see :func:`~dipy_nn_reg.quality.measures.apply_map`.
    FileNotFoundError
        If there is no folder to write into.
    """
    check_page(path)
    result = apply_map(
        mapping,
        moving,
        static,
        moving_affine=moving_affine,
        static_affine=static_affine,
        moving_labels=moving_labels,
        static_labels=static_labels,
    )
    measures = measure(result)
    findings = judge(measures)
    write_page(
        path,
        "report.html",
        title=title,
        findings=findings,
        views=_views(result),
        colors=COLORS,
        has_labels=bool(result.labels),
        rows=_rows(measures),
        figures=_figures(result, label_names),
        details=details,
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

    Raises
    ------
    ValueError, FileNotFoundError
        As :func:`report`, of the path; and if there is nothing to tell.
    """
    check_page(path)
    _check_subjects(subjects)
    if not subjects and not failed:
        raise ValueError("Expected one subject or more. Received none.")
    order = {name: i for i, name in enumerate(VERDICTS)}
    worst_first = sorted(
        subjects, key=lambda s: (order[s["verdict"]], -_or_worst(s["misplaced_after"]))
    )
    counts = {n: sum(s["verdict"] == n for s in subjects) for n in VERDICTS}
    names = [name for name in COLUMNS if any(name in subject for subject in subjects)]
    write_page(
        path,
        "cohort.html",
        title=title,
        counts={name: n for name, n in counts.items() if n},
        levels=VERDICTS,
        names={name: ROWS[name.removesuffix("_after")][0] for name in names},
        subjects=[{**s, "cells": _cells(s, names)} for s in worst_first],
        failed=failed,
        details=details,
    )


def _check_subjects(subjects):
    needed = {"name", "page", "verdict", "misplaced_after"}
    listed = subjects if isinstance(subjects, (list, tuple)) else [None]
    if not all(isinstance(s, dict) and needed <= set(s) for s in listed):
        raise ValueError(
            f"Expected subjects to be a list of dicts with {sorted(needed)}. "
            f"Received {subjects!r}."
        )


def _cells(subject, names):
    return [
        format_number(subject.get(name), name.removesuffix("_after")) for name in names
    ]


def _or_worst(value):
    return value if np.isfinite(value) else np.inf


def _views(result):
    """Return for each plane what a browser needs to show it."""
    shape = result.static.shape
    planes = Planes(shape, _in_space(result.affine))
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
        rows.append([name, *(format_number(value, key) for value in values)])
    return rows


def _figures(result, label_names):
    """Return titles, what to look for, and pictures; of a broken field, fewer."""
    mapping, labels = result.mapping, result.labels
    displacement = displacement_of(mapping)
    known = {"affine": _in_space(static_grid(mapping).affine)}
    figures = {
        "Images": plot_images(
            result.before, result.static, result.warped, affine=_in_space(result.affine)
        )
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


def _in_space(affine):
    """Return an affine of three axes; two are drawn as they are stored."""
    return affine if len(affine) == 4 else None


def _picture(figure):
    address = as_data_url(figure)
    plt.close(figure)
    return address
