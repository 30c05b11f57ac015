"""Measures of the alignment that a registration began with."""

from nibabel.affines import apply_affine
import numpy as np

from dipy_nn_reg.mapping.affine_summary import describe_affine
from dipy_nn_reg.mapping.grid import prealign_of
from dipy_nn_reg.mapping.prealign import rate_affine


def measure_start(pair, alignment=None):
    """Measure the affine of a map, beside alignments that other starts lead to.

    Parameters
    ----------
    pair : dipy_nn_reg.quality.applied.MappedPair
    alignment : Alignment, optional
        How the affine was estimated. By default other starts are searched, which takes
        a second.

    Returns
    -------
    measures : dict of float
        ``information``, the mutual information of the images that the affine aligns,
        in nats; ``rival``, that of the best alignment that differs from it, as a
        fraction of this; ``turned_degrees``, the angle of the affine;
        ``scale_smallest`` and ``scale_largest`` of it along the axes.
    """
    affine = prealign_of(pair.mapping)
    middle = apply_affine(pair.affine, (np.array(pair.static.shape) - 1) / 2)
    summary = describe_affine(affine, middle)
    scales = np.abs(summary.scales)
    information, rival = _rate(pair, affine, alignment)
    return {
        "information": information,
        "rival": rival,
        "turned_degrees": summary.angle_degrees,
        "scale_smallest": float(scales.min()),
        "scale_largest": float(scales.max()),
    }


def _rate(pair, affine, alignment):
    """Return the information of an affine, and its rival as a fraction of this."""
    if alignment is not None:
        return float(alignment.information), float(alignment.runner_up)
    if not all(np.isfinite(image).all() for image in (pair.static, pair.moving)):
        return np.nan, np.nan
    rating = rate_affine(
        pair.moving,
        pair.static,
        affine,
        moving_affine=pair.moving_affine,
        static_affine=pair.affine,
        **pair.masks,
    )
    # An affine without any information has no chance against any other.
    return rating.information, rating.rival / max(rating.information, 1e-3)
