"""Measures of the quality of a registration."""

from nibabel.affines import apply_affine, voxel_sizes
import numpy as np
from scipy.ndimage import map_coordinates, minimum_filter, uniform_filter

from dipy_nn_reg import metrics
from dipy_nn_reg.checks import check_real, check_where
from dipy_nn_reg.intensities import normalize
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.measures import measure_field
from dipy_nn_reg.mapping.points import inverse_error
from dipy_nn_reg.mapping.view import shown_part
from dipy_nn_reg.metrics.labels import dice_of_labels
from dipy_nn_reg.quality.applied import MappedPair, apply_map
from dipy_nn_reg.quality.bundles import measure_mapped_bundles
from dipy_nn_reg.quality.starts import measure_start

__all__ = ["MappedPair", "apply_map", "measure", "misplaced"]
# Largest number of voxels along an axis on which images are compared; length of a
# window and of a shift, in these voxels.
_MAX_VOXELS, _WINDOW, _SHIFT = 100, 7, 2
# Smallest increase of the squared correlation (0 to 1) after a shift that counts as
# misplaced, and smallest squared correlation that counts as in place.
_MARGIN = 0.05
# Smallest variance of a window with structure, as a fraction of the largest variance.
_MIN_VARIANCE = 0.1


def measure(pair, *, of_field=None, alignment=None, brief=False):
    """Measure the similarity of two images before and after, and their map.

    Parameters
    ----------
    pair : MappedPair
    of_field : dict of float, optional
        The measures of :func:`~dipy_nn_reg.mapping.measures.measure_field`, if they
        are known.
    alignment : Alignment, optional
        How the images were aligned; by default other starts are searched.
    brief : bool, optional
        Whether ``misplaced_before`` is left out unless the mutual information has
        fallen, without which no verdict depends on it. This saves a third of the time.

    Returns
    -------
    measures : dict of float
        With the endings ``_before`` and ``_after``, of what is inside of the masks:
        ``ncc``; where the map points into the moving image, ``nmi`` (normalised mutual
        information) and ``misplaced``. With labels, also of whole label maps: ``dice``,
        the mean over the labels of the static map, and ``lost_labels``, the number of
        these that the mapped moving labels lack. With bundles, the
        measures of :func:`~dipy_nn_reg.metrics.measure_bundles`. Besides, ``covered``,
        the fraction of the static structure that the map finds within the moving
        image; ``shown``, the fraction of the moving structure that lies within the
        static image, both inside of the masks; ``inverse_error_object_mm``, as
        ``inverse_error_mm``, for static structure that the moving image shows;
        ``voxel_mm``, the longest side of a static voxel; and the measures of
        :func:`~dipy_nn_reg.mapping.measures.measure_field` and of
        :func:`~dipy_nn_reg.quality.starts.measure_start`.
    """
    measures = {}
    for name, image in (("before", pair.before), ("after", pair.warped)):
        compared = _compare(pair, image)
        measures |= {f"{key}_{name}": value for key, value in compared.items()}
        if pair.labels:
            other = pair.labels["warped" if name == "after" else name]
            dice = dice_of_labels(pair.labels["static"], other)
            measures |= {
                f"dice_{name}": float(np.mean(list(dice.values()))),
                f"lost_labels_{name}": len(set(dice) - set(np.unique(other).tolist())),
            }
    measures |= measure_mapped_bundles(pair)
    measures["misplaced_after"] = _misplaced_of(pair, pair.warped)
    if not (brief and measures["nmi_after"] >= measures["nmi_before"]):
        measures["misplaced_before"] = _misplaced_of(pair, pair.before)
    part = shown_part(normalize(pair.static)[..., None])
    structure = _structure(pair.static, pair.inside)
    measures["covered"] = float(pair.covered[part][structure[part]].mean())
    measures["voxel_mm"] = float(voxel_sizes(pair.affine).max())
    grid, where = Grid(pair.static.shape, pair.affine), structure & pair.covered
    of_structure = {
        "shown": _shown(pair, part),
        "inverse_error_object_mm": inverse_error([pair.mapping], grid, where=where),
    }
    measures |= {n: v for n, v in of_structure.items() if not np.isnan(v)}
    of_field = of_field or measure_field(pair.mapping)
    return measures | of_field | measure_start(pair, alignment)


def _compare(pair, image):
    """Return the similarity of two images; the information where both are seen."""
    if not _is_comparable(pair, image):
        return dict.fromkeys(("ncc", "nmi"), np.nan)
    static, seen = pair.static, pair.covered & pair.inside
    return {
        "ncc": metrics.ncc(*_within(pair.inside, static, image)),
        "nmi": _nmi(*_within(seen, static, image)),
    }


def _misplaced_of(pair, image):
    """Return the fraction of misplaced structure where both images are seen."""
    if not _is_comparable(pair, image):
        return np.nan
    return misplaced(pair.static, image, where=pair.covered & pair.inside)


def _is_comparable(pair, image):
    is_finite = all(np.all(np.isfinite(i)) for i in (pair.static, image))
    return is_finite and (pair.covered & pair.inside).any()


def _within(where, *images):
    """Return the voxels of images; the images themselves if these are all of them."""
    return images if where.all() else [image[where] for image in images]


def misplaced(static, warped, *, where=None):
    """Return the fraction of structure that would fit better elsewhere.

    Around each voxel with structure, the squared correlation of the images in a small
    window is compared with that after a shift by two voxels along each axis. (Images
    of more than 100 voxels along an axis are thinned out first.) A voxel counts as
    misplaced if a shift makes the images more alike, or if they are nowhere alike. The
    correlation is squared, so that images of different contrast can be compared.

    Parameters
    ----------
    static, warped : ndarray, shape (*spatial,)
    where : ndarray of bool, shape (*spatial,), optional
        Voxels that count; by default all of them.

    Returns
    -------
    fraction : float
        From 0 to 1; 1 if the warped image has no contrast; NaN if no voxel counts.

    Raises
    ------
    ValueError
        If the shapes differ, if an image is empty or not of real numbers, or if
        ``where`` is not of bool.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((40, 40)).cumsum(0)
    >>> misplaced(image, -image), misplaced(image, np.roll(image, 2, axis=0)) > 0.5
    (0.0, True)
    """
    static, warped, where = _check_pair(static, warped, where)
    step = -(-max(static.shape) // _MAX_VOXELS)
    # A single slice is kept.
    thinned = (slice(None, None, step),) * static.ndim
    where = where[thinned]
    if not where.any():
        return np.nan
    static, warped = (
        metrics.to_unit_range(image[thinned], where=where) for image in (static, warped)
    )
    if not warped.any():
        return 1.0
    moments = _moments(static)
    correlations = _squared_correlations(static, *moments, warped)
    here = best = next(correlations)
    for shifted in correlations:
        best = np.maximum(best, shifted)
    # A voxel whose surroundings correlate nowhere is not in place either.
    is_misplaced = (best - here > _MARGIN) | (best < _MARGIN)
    # Windows that reach into what has not been seen say little, but are all there is
    # where a thin part has been seen.
    counts = _with_contrast(moments[1], where)
    whole = counts & minimum_filter(where, _WINDOW)
    return float(np.mean(is_misplaced[whole if whole.any() else counts]))


def _check_pair(static, warped, where):
    """Return two images of one shape, and the voxels that count."""
    static, warped = check_real("static", static), check_real("warped", warped)
    if static.shape != warped.shape:
        raise ValueError(
            f"Expected images of one shape. Received static.shape={static.shape} and "
            f"warped.shape={warped.shape}."
        )
    if where is None:
        where = np.ones(static.shape, bool)
    return static, warped, check_where("where", where, static.shape)


def _squared_correlations(one, mean, variance, other):
    """Yield the squared correlation of each window: in place, and after each shift."""
    in_place = _moments(other)
    yield _squared_correlation(one, mean, variance, other, *in_place)
    for axis in range(one.ndim):
        if one.shape[axis] > 2 * _SHIFT:
            for shift in (-_SHIFT, _SHIFT):
                there = np.roll(other, shift, axis)
                moments = _rolled_moments(in_place, there, shift, axis)
                yield _squared_correlation(one, mean, variance, there, *moments)


def _squared_correlation(one, mean, variance, other, other_mean, other_variance):
    """Return the squared correlation of each window of two images."""
    covariance = uniform_filter(one * other, _WINDOW) - mean * other_mean
    # The constant makes the correlation of flat windows 0.
    return covariance**2 / ((variance + 1e-4) * (other_variance + 1e-4))


def _moments(image):
    """Return the mean and the variance of each window."""
    mean = uniform_filter(image, _WINDOW)
    return mean, uniform_filter(image * image, _WINDOW) - mean**2


def _rolled_moments(moments, rolled, shift, axis):
    """Return the moments of an image that was rolled, from those before.

    Only windows that reach beyond an end, before or after, are computed anew.
    """
    moments = [np.roll(moment, shift, axis) for moment in moments]
    ends = [np.moveaxis(array, axis, 0) for array in (rolled, *moments)]
    reach = _WINDOW // 2
    width = abs(shift) + reach
    for direction in (1, -1):
        image, *parts = (end[::direction] for end in ends)
        for part, of_end in zip(parts, _moments(image[: width + reach])):
            part[:width] = of_end[:width]
    return moments


def _structure(image, where):
    """Return the voxels with contrast in their surroundings, among some voxels."""
    _, variance = _moments(metrics.to_unit_range(image, where=where))
    return _with_contrast(variance, where)


def _with_contrast(variance, where):
    """Return the voxels whose windows vary most, among some voxels."""
    return where & (variance >= _MIN_VARIANCE * variance[where].max())


def _shown(pair, part):
    """Return the fraction of the moving structure in a part of the static image.

    What a mask leaves out does not count.
    """
    step = -(-max(pair.moving.shape) // _MAX_VOXELS)
    thinned = (slice(None, None, step),) * pair.moving.ndim
    mask = pair.masks.get("moving_mask", np.ones(pair.moving.shape, bool))[thinned] != 0
    if not mask.any():
        return np.nan
    structure = _structure(pair.moving[thinned], mask)
    points = apply_affine(pair.moving_affine, step * np.argwhere(structure))
    points = np.asarray(pair.mapping.transform_points_inverse(points))
    voxels = apply_affine(np.linalg.inv(pair.affine), points)
    low, high = np.transpose([(p.start - 0.5, p.stop - 0.5) for p in part])
    # Points may lie beside a slice.
    is_slice = np.array(pair.static.shape) == 1
    is_within = np.all((voxels >= low) & (voxels <= high) | is_slice, axis=1)
    if "mask" in pair.masks:
        last = np.array(pair.static.shape) - 0.5
        is_in_grid = np.all((voxels >= -0.5) & (voxels <= last) | is_slice, axis=1)
        left_out = (pair.masks["mask"] == 0).astype(np.uint8)
        left_out = map_coordinates(left_out, voxels.T, order=0, mode="nearest")
        is_within = is_within[~(is_in_grid & (left_out > 0))]
    return float(is_within.mean()) if len(is_within) else np.nan


def _nmi(static, warped):
    """Return the normalised mutual information of Studholme et al. (1999), 1 to 2."""
    static_entropy, warped_entropy, joint = metrics.entropies(static, warped)
    return (static_entropy + warped_entropy) / joint if joint else 1.0
