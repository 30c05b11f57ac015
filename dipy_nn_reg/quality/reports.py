"""Report on a registration: a self-contained HTML page of one pair."""

from concurrent.futures import ThreadPoolExecutor

import matplotlib.pyplot as plt
from nibabel.affines import apply_affine
import numpy as np

from dipy_nn_reg.io.nifti import array_and_affine
from dipy_nn_reg.mapping.affine_summary import describe_affine
from dipy_nn_reg.mapping.grid import prealign_of, static_grid
from dipy_nn_reg.mapping.maps import displacement_of
from dipy_nn_reg.metrics.labels import dice_of_labels
from dipy_nn_reg.quality.bundles import with_bundles
from dipy_nn_reg.quality.measures import apply_map, measure
from dipy_nn_reg.quality.pages import ROWS, check_page, format_number, write_page
from dipy_nn_reg.quality.slices import LARGEST_DIFFERENCE, as_data_url
from dipy_nn_reg.quality.verdicts import judge
from dipy_nn_reg.quality.views import COLORS, affine_in_3d, views_of
from dipy_nn_reg.viz import plot_dice, plot_field, plot_histograms, plot_jacobian

__all__ = ["check_page", "report", "report_pair"]

# Explanation of each figure.
LOOK_FOR = {
    "Overlap of structures": "The further to the right, the better.",
    "Field": (
        "Position in the moving image of each static voxel, in the middle of the "
        "volume. Lines that cross are folds."
    ),
    "Changes of volume": (
        "Above 0 the moving image was shrunk, below 0 enlarged; 1 is a factor of 2. "
        "If the field folds, the slices with the most folds are shown, and folded "
        "voxels are crossed."
    ),
    "Distributions": (
        "Intensities are fractions of the range of each image. Between people, changes "
        "of volume beyond a factor of 4 (2 and -2) are common at single voxels."
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
    moving_bundle=None,
    static_bundle=None,
    mask=None,
    moving_mask=None,
    label_names=None,
    title="Registration",
    details=None,
):
    """Write a page on the quality of one registration.

    The page is one file, which opens in any browser without a network. It shows the
    static and the warped image side by side or one over the other, their difference,
    the moving image as it came, contours of labels or bundles, the field and its
    changes of volume, measures before and after, and a verdict on them.

    Parameters
    ----------
    path : string or Path
        Ends with ``.html``. An existing file is replaced once the page is complete.
    mapping : dipy.align.imwarp.DiffeomorphicMap
        The map, from :func:`~dipy_nn_reg.register`, ``predict_mapping`` or DIPY's SyN.
    moving, static : ndarray, nibabel image, string or Path
        The images, in 2D or 3D, of shape (*spatial,), on the grids of the map; or files
        of them.
    moving_affine, static_affine : ndarray, shape (ndim + 1, ndim + 1), optional
        From voxels to world coordinates in mm, for an image that is stored on another
        grid or in another order than the map has it. By default, those of files and of
        images of nibabel, and otherwise those of the map.
    moving_labels, static_labels : ndarray of int, shape (*spatial,), optional
        Label maps of both images, on their grids; 0 for background.
    moving_bundle, static_bundle : sequence of ndarray, shape (n, 3), optional
        Streamlines of one bundle in both images, as points in world coordinates (mm) of
        each; for volumes.
    mask, moving_mask : ndarray, shape (*spatial,), optional
        Masks of both images, on their grids: where one is 0, nothing is compared.
    label_names : dict of str, optional
        Name of each label.
    title : str, optional
        Heading of the page.
    details : dict of str, optional
        Further entries of the list at the end of the page, such as files.

    Returns
    -------
    measures : dict
        The measures of :func:`~dipy_nn_reg.quality.measures.measure`, and ``verdict``:
        "Good", "Look closely", "Misaligned", "Folded" or "Failed".

    Raises
    ------
    ValueError
        If the path does not end with ``.html`` or is a folder, if images, labels or
        masks do not fit the map, see :func:`~dipy_nn_reg.quality.measures.apply_map`,
        or if there is a bundle of one image alone.
    FileNotFoundError
        If the folder of the page does not exist, or if there is no file of an image.
    """
    check_page(path)
    moving, moving_affine = array_and_affine(moving, moving_affine)
    static, static_affine = array_and_affine(static, static_affine)
    pair = apply_map(
        mapping,
        moving,
        static,
        moving_affine=moving_affine,
        static_affine=static_affine,
        moving_labels=moving_labels,
        static_labels=static_labels,
        mask=mask,
        moving_mask=moving_mask,
    )
    pair = with_bundles(pair, static_bundle, moving_bundle)
    return report_pair(
        path, pair, label_names=label_names, title=title, details=details
    )


def report_pair(
    path, pair, *, title, details, label_names=None, of_field=None, alignment=None
):
    """Write a page as :func:`report` does, from images to which a map was applied.

    Parameters
    ----------
    path, label_names, title, details
        As for :func:`report`.
    pair : MappedPair
    of_field, alignment : optional
        As for :func:`~dipy_nn_reg.quality.measures.measure`.

    Returns
    -------
    measures : dict
        As :func:`report` returns them.
    """
    check_page(path)
    # NumPy measures in one thread while matplotlib draws in this one.
    with ThreadPoolExecutor(1) as pool:
        measuring = pool.submit(measure, pair, of_field=of_field, alignment=alignment)
        views, figures = views_of(pair), _figures(pair, label_names)
        measures = measuring.result()
    findings = judge(measures)
    compared = {} if pair.inside.all() else {"Compared": "inside of the masks alone"}
    write_page(
        path,
        "report.html",
        title=title,
        findings=findings,
        affine=_affine_in_words(pair),
        views=views,
        largest_difference=LARGEST_DIFFERENCE,
        colors=COLORS,
        outlined="labels" if pair.labels else "bundles" if pair.bundles else None,
        rows=_rows(measures),
        figures=figures,
        details={**(details or {}), **compared},
    )
    return {**measures, "verdict": findings[0].title}


def _affine_in_words(pair):
    """Return the affine of a map in one line."""
    prealign = prealign_of(pair.mapping)
    if np.array_equal(prealign, np.eye(len(prealign))):
        return "none; the positions in the headers are used"
    middle = (np.array(pair.static.shape) - 1) / 2
    return str(describe_affine(prealign, apply_affine(pair.affine, middle)))


def _rows(measures):
    """Return the name of each measure, and its values before and after as text."""
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


def _figures(pair, label_names):
    """Return titles, explanations and pictures; of the field only if it is finite."""
    mapping, labels = pair.mapping, pair.labels
    displacement = displacement_of(mapping)
    affine = affine_in_3d(static_grid(mapping).affine)
    figures = {}
    if labels:
        figures["Overlap of structures"] = plot_dice(
            dice_of_labels(labels["static"], labels["before"]),
            dice_of_labels(labels["static"], labels["warped"]),
            names=label_names,
        )
    if np.all(np.isfinite(displacement)):
        figures["Field"] = plot_field(displacement, affine=affine)
        figures["Changes of volume"] = plot_jacobian(displacement, affine=affine)
        figures["Distributions"] = plot_histograms(
            pair.static, pair.warped, displacement, affine=affine
        )
    return [(name, LOOK_FOR[name], _picture(f)) for name, f in figures.items()]


def _picture(figure):
    url = as_data_url(figure)
    plt.close(figure)
    return url
