"""How good a registration is, in numbers."""

from nibabel.affines import voxel_sizes
import numpy as np
from scipy.ndimage import uniform_filter

from dipy_nn_reg import metrics
from dipy_nn_reg.checks import check_real
from dipy_nn_reg.mapping.measures import measure_field
from dipy_nn_reg.metrics.labels import dice_of_labels
from dipy_nn_reg.quality.applied import Result, apply_map

__all__ = ["Result", "apply_map", "measure", "misplaced"]
# Images are compared on no more voxels than this along an axis, in windows of 7 of
# these, with what lies two of these away.
_MOST_VOXELS, _WINDOW, _SHIFT = 100, 7, 2
# By how much more alike, of 1, two windows have to be to count as such.
_MARGIN = 0.05
# Structure is where the variance is so large, as a share of the largest.
_STRUCTURE = 0.1


def measure(result):
    """Measure how alike images are before and after, and the map between them.

    Parameters
    ----------
    result : Result

    Returns
    -------
    measures : dict of float
        ``ncc``, ``nmi`` (normalised mutual information) and ``misplaced`` with
        ``_before`` and ``_after``; if there are labels, ``dice`` likewise, the mean
        over those of the static map, and ``lost_labels``, how many of these the moving
        map does not have there; ``covered``, the share of the static structure that is
        read within the moving image; ``voxel_mm``, the longest side of a static voxel;
        and those of :func:`~dipy_nn_reg.mapping.measures.measure_field`.
    """
    measures = {}
    for name, image in (("before", result.before), ("after", result.warped)):
        finite = all(np.all(np.isfinite(i)) for i in (result.static, image))
        measures |= {
            f"ncc_{name}": metrics.ncc(result.static, image) if finite else np.nan,
            f"nmi_{name}": _nmi(result.static, image) if finite else np.nan,
            f"misplaced_{name}": misplaced(result.static, image) if finite else np.nan,
        }
        if result.labels:
            other = result.labels["warped" if name == "after" else name]
            dice = dice_of_labels(result.labels["static"], other)
            measures |= {
                f"dice_{name}": float(np.mean(list(dice.values()))),
                f"lost_labels_{name}": len(set(dice) - set(np.unique(other).tolist())),
            }
    structure = _structure(result.static)
    measures["covered"] = float(result.covered[structure].mean())
    measures["voxel_mm"] = float(voxel_sizes(result.affine).max())
    return measures | measure_field(result.mapping)


def misplaced(static, warped):
    """Return the share of structure that would fit better elsewhere.

    Around each place with structure, the squared correlation of the images in a small
    window is compared with that after a shift along each axis, of two voxels (of images
    of up to 100 voxels a side; larger ones are thinned out). A place counts where that
    makes them more alike, and where nothing is alike. The square makes it of no matter
    which of two tissues is the brighter one.

    Parameters
    ----------
    static, warped : ndarray, shape (*spatial,)

    Returns
    -------
    share : float
        From 0 to 1; 1 if the warped image has no contrast.

    Raises
    ------
    ValueError
        If the shapes differ, or if an image is empty or not of real numbers.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((40, 40)).cumsum(0)
    >>> misplaced(image, -image), misplaced(image, np.roll(image, 2, axis=0)) > 0.5
    (0.0, True)
    """
    static, warped = check_real("static", static), check_real("warped", warped)
    if static.shape != warped.shape:
        raise ValueError(
            f"Expected images of one shape. Received static.shape={static.shape} and "
            f"warped.shape={warped.shape}."
        )
    thin = -(-max(static.shape) // _MOST_VOXELS)
    # A single slice stays; others lose what lies between.
    step = tuple(slice(None, None, thin) for _ in static.shape)
    static, warped = (metrics.to_unit_range(image[step]) for image in (static, warped))
    if not warped.any():
        return 1.0
    here = best = _squared_correlation(static, warped)
    for axis in range(static.ndim):
        if static.shape[axis] > 2 * _SHIFT:
            for shift in (-_SHIFT, _SHIFT):
                there = _squared_correlation(static, np.roll(warped, shift, axis))
                best = np.maximum(best, there)
    # Where nothing is like it, it is not in place either.
    astray = (best - here > _MARGIN) | (best < _MARGIN)
    return float(np.mean(astray[_structure(static)]))


def _squared_correlation(one, other):
    mean_one, mean_other = (uniform_filter(i, _WINDOW) for i in (one, other))
    covariance = uniform_filter(one * other, _WINDOW) - mean_one * mean_other
    # What is flat correlates with nothing.
    variance = _variance(one, mean_one) + 1e-4, _variance(other, mean_other) + 1e-4
    return covariance**2 / (variance[0] * variance[1])


def _variance(image, mean):
    return uniform_filter(image * image, _WINDOW) - mean**2


def _structure(image):
    """Tell where there is something to be seen."""
    image = metrics.to_unit_range(image)
    variance = _variance(image, uniform_filter(image, _WINDOW))
    return variance >= _STRUCTURE * variance.max()


def _nmi(static, warped):
    """Return the normalised mutual information of Studholme et al. (1999), 1 to 2."""
    of_static, of_warped, of_both = metrics.entropies(static, warped)
    return (of_static + of_warped) / of_both if of_both else 1.0
