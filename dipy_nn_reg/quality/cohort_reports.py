"""Report on several registrations: an HTML page, the worst ones first."""

import numpy as np

from dipy_nn_reg.checks import check_name
from dipy_nn_reg.quality.pages import ROWS, check_page, format_number, write_page
from dipy_nn_reg.quality.verdicts import VERDICTS

# Columns of the table of several pairs.
COLUMNS = (
    "dice_after",
    "lost_labels_after",
    "bundle_dice_after",
    "bundle_distance_mm_after",
    "ncc_after",
    "misplaced_after",
    "information",
    "rival",
    "folding",
    "sd_log_jacobian",
    "mean_displacement_mm",
    "largest_displacement_mm",
    "inverse_error_mm",
)
# A registration without a page and a picture.
_NONE = {"page": None, "picture": None}


def cohort_report(path, subjects, *, title="Registrations", failed=(), details=None):
    """Write a page on several registrations, the worst ones first.

    Parameters
    ----------
    path : string or Path
        Ends with ``.html``. An existing file is replaced once the page is complete.
    subjects : list of dict
        For each registration, the measures that :func:`~dipy_nn_reg.report` returned,
        with ``name`` and ``page``, the URL of its report relative to this page, or
        None; and if there is one, ``picture``, the URL of a small picture.
    title : str, optional
        Heading of the page.
    failed : list of tuple of str, optional
        Name and reason of each registration without a report.
    details : dict of str, optional
        As for :func:`~dipy_nn_reg.report`.

    Raises
    ------
    ValueError
        If the path does not end with ``.html`` or is a folder, or if ``subjects`` is
        not a list of such dicts, or is empty and ``failed`` too.
    FileNotFoundError
        If the folder of the page does not exist.
    """
    check_page(path)
    _check_subjects(subjects)
    if not subjects and not failed:
        raise ValueError("Expected one subject or more. Received none.")
    order = {name: i for i, name in enumerate(VERDICTS)}
    worst_first = sorted(
        subjects,
        key=lambda s: (order[s["verdict"]], -_nan_as_inf(s["misplaced_after"])),
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
        subjects=[{**_NONE, **s, "cells": _cells(s, names)} for s in worst_first],
        failed=failed,
        details=details,
    )


def _check_subjects(subjects):
    needed = {"name", "page", "verdict", "misplaced_after"}
    listed = subjects if isinstance(subjects, (list, tuple)) else [None]
    if not all(isinstance(s, dict) and needed <= set(s) for s in listed):
        raise ValueError(
            f"Expected subjects to be a list of dicts with {sorted(needed)}. "
            f"Received subjects={subjects!r}."
        )
    for subject in subjects:
        check_name("each verdict", subject["verdict"], VERDICTS)


def _cells(subject, names):
    return [
        format_number(subject.get(name), name.removesuffix("_after")) for name in names
    ]


def _nan_as_inf(value):
    return value if np.isfinite(value) else np.inf
