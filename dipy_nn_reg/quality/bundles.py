"""Bundles of streamlines of both images of a pair, and their measures."""

from dipy_nn_reg import metrics
from dipy_nn_reg.checks import check_both
from dipy_nn_reg.mapping.bundles import bundle_to_static
from dipy_nn_reg.mapping.grid import prealign_of


def with_bundles(pair, static_bundle, moving_bundle):
    """Return a pair with bundles, which the map brings to the static space.

    Parameters
    ----------
    pair : dipy_nn_reg.quality.applied.MappedPair
        Of volumes.
    static_bundle, moving_bundle : sequence of ndarray, shape (n, 3), or None
        Points of each streamline, in world coordinates (mm) of its image. Without
        both, the pair has no bundles.

    Returns
    -------
    pair : dipy_nn_reg.quality.applied.MappedPair

    Raises
    ------
    ValueError
        If there is one bundle alone, or if the map is of slices.
    """
    both = {"static_bundle": static_bundle, "moving_bundle": moving_bundle}
    check_both("bundles", **both)
    if static_bundle is None:
        return pair
    if pair.mapping.dim != 3:
        raise ValueError(
            f"Expected bundles with a map of volumes. Received one of "
            f"{pair.mapping.dim} axes."
        )
    bundles = {
        "static": static_bundle,
        "before": bundle_to_static(moving_bundle, [prealign_of(pair.mapping)]),
        "warped": bundle_to_static(moving_bundle, [pair.mapping]),
    }
    return pair._replace(bundles=bundles)


def measure_mapped_bundles(pair):
    """Return the measures of the bundles of a pair, if it has any.

    Parameters
    ----------
    pair : dipy_nn_reg.quality.applied.MappedPair

    Returns
    -------
    measures : dict of float
        Those of :func:`~dipy_nn_reg.metrics.measure_bundles`, with the endings
        ``_before`` and ``_after``.
    """
    measures, grid = {}, (pair.affine, pair.static.shape)
    for name, ending in (("before", "before"), ("warped", "after")):
        if pair.bundles:
            bundles = pair.bundles["static"], pair.bundles[name]
            found = metrics.measure_bundles(*bundles, *grid)
            measures |= {f"{key}_{ending}": value for key, value in found.items()}
    return measures


def outlines(pair):
    """Return maps for contours: labels, or without them the voxels of bundles.

    Parameters
    ----------
    pair : dipy_nn_reg.quality.applied.MappedPair

    Returns
    -------
    maps : dict of ndarray of int, shape (*spatial,)
        ``static``, ``before`` and ``warped``; empty if the pair has neither.
    """
    if pair.labels or not pair.bundles:
        return pair.labels
    grid = pair.affine, pair.static.shape
    return {
        name: (metrics.bundle_density(bundle, *grid) > 0).astype(int)
        for name, bundle in pair.bundles.items()
    }
