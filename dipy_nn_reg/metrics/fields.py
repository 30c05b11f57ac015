"""Measures of a displacement field and of points, in NumPy."""

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np

from dipy_nn_reg.checks import check_real
from dipy_nn_reg.determinant import determinant
from dipy_nn_reg.metrics.images import check_same_shape

__all__ = [
    "folding",
    "in_plane",
    "is_folded",
    "jacobian_determinant",
    "sd_log",
    "sd_log_jacobian",
    "target_registration_error",
]
# Number of values of a field that are differentiated at a time.
_SLAB = 2**18


def jacobian_determinant(displacement):
    """Return the Jacobian determinant of the map ``x + u(x)``.

    Parameters
    ----------
    displacement : ndarray, shape (*spatial, ndim)
        In voxels; at least two voxels along each axis.

    Returns
    -------
    determinant : ndarray, shape (*spatial,)
        Computed by central differences, one-sided at the border: 1 where volume is
        kept, 0 or less where the field folds, and NaN where a derivative is NaN.

    Raises
    ------
    ValueError
        If the shape is not that of a field.

    Examples
    --------
    >>> x = np.arange(4.0)
    >>> twice = np.stack(np.meshgrid(x, 0 * x, indexing="ij"), axis=-1)
    >>> jacobian_determinant(twice)[1]
    array([2., 2., 2., 2.])
    """
    displacement = _field(displacement)
    ndim, size = displacement.shape[-1], len(displacement)
    determinant = np.empty(displacement.shape[:-1], displacement.dtype)
    # One slab at a time, so that its derivatives stay in the cache.
    step = max(1, _SLAB * size // displacement.size)

    def fill(start):
        first, after = max(start - 1, 0), min(start + step + 1, size)
        slab = displacement[first:after]
        with np.errstate(invalid="ignore", over="ignore"):
            derivatives = [np.gradient(slab, axis=axis) for axis in range(ndim)]
        inner = slice(start - first, start - first + step)
        determinant[start : start + step] = _determinant(derivatives)[inner]

    # NumPy lets several threads compute at once.
    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, range(0, size, step)))
    return determinant


def in_plane(displacement):
    """Remove axes of one voxel, along which there are no differences.

    Parameters
    ----------
    displacement : ndarray, shape (*spatial, ndim)
        Displacement of a volume, or of a slice along any axis.

    Returns
    -------
    displacement : ndarray, shape (*spatial, ndim)
        For a slice, its two axes and the components along them.

    Raises
    ------
    ValueError
        If the shape is not that of a field.
    """
    displacement = check_real("displacement", displacement)
    *shape, ndim = displacement.shape
    if len(shape) != ndim:
        raise ValueError(
            f"Expected one displacement of shape (*spatial, ndim). Received "
            f"displacement.shape={displacement.shape}."
        )
    thick = [axis for axis, size in enumerate(shape) if size > 1]
    in_order = displacement.reshape(*(shape[axis] for axis in thick), len(shape))
    return in_order[..., thick]


def is_folded(determinant):
    """Return where a field folds; NaN counts as folded.

    Parameters
    ----------
    determinant : ndarray
        As :func:`jacobian_determinant` returns it.

    Returns
    -------
    folded : ndarray of bool
        True where the determinant is not positive.

    Raises
    ------
    ValueError
        If the array is empty or does not hold real numbers.
    """
    determinant = check_real("determinant", determinant)
    return ~(determinant > 0)


def folding(displacement, *, strict=False):
    """Return the percentage of voxels at which a field folds.

    Parameters
    ----------
    displacement : ndarray, shape (*spatial, ndim)
        In voxels; at least two voxels along each axis.
    strict : bool, optional
        Count a voxel as folded if any combination of forward and backward
        differences, one for each axis, gives a determinant of 0 or less. A central
        difference spans two voxels, so it can miss a fold between two of them.

    Returns
    -------
    percentage : float
        From 0 to 100. Voxels whose determinant is NaN count as folded.

    Raises
    ------
    ValueError
        If the shape is not that of a field.
    """
    if not strict:
        return 100 * float(np.mean(is_folded(jacobian_determinant(displacement))))
    displacement = _field(displacement)
    one_sided = [
        _one_sided_differences(displacement, axis)
        for axis in range(displacement.shape[-1])
    ]
    folded = [is_folded(_determinant(choice)) for choice in product(*one_sided)]
    return 100 * float(np.mean(np.any(folded, axis=0)))


def sd_log_jacobian(displacement):
    """Return the standard deviation of the logarithm of the Jacobian determinant.

    Parameters
    ----------
    displacement : ndarray, shape (*spatial, ndim)
        In voxels; at least five voxels along each axis.

    Returns
    -------
    deviation : float
        0 if volume changes by the same factor everywhere; NaN if the field has NaN.

    Raises
    ------
    ValueError
        If the shape is not that of a field, or if an axis is too short.

    Notes
    -----
    The measure is that of the challenge Learn2Reg :footcite:p:`Hering2023`, so that
    results can be compared: 3 is added to the determinant, the sum is clipped to 1e-9
    ... 1e9, and the two outermost voxels on each side are left out.

    References
    ----------
    .. footbibliography::
    """
    return sd_log(jacobian_determinant(displacement))


def sd_log(determinant):
    """Return SDlogJ from a Jacobian determinant, see :func:`sd_log_jacobian`.

    Parameters
    ----------
    determinant : ndarray, shape (*spatial,)
        As :func:`jacobian_determinant` returns it.

    Returns
    -------
    deviation : float

    Raises
    ------
    ValueError
        If an axis has fewer than five voxels.
    """
    determinant = check_real("determinant", determinant)
    inner = determinant[(slice(2, -2),) * determinant.ndim]
    if inner.size == 0:
        raise ValueError(
            f"Expected a displacement with five voxels or more along each axis. "
            f"Received displacement.shape={(*determinant.shape, determinant.ndim)}."
        )
    return float(np.std(np.log(np.clip(inner + 3, 1e-9, 1e9))))


def target_registration_error(static_points, warped_points):
    """Return the mean distance of corresponding points.

    Parameters
    ----------
    static_points, warped_points : array-like, shape (n, ndim)
        World coordinates in mm, after registration.

    Returns
    -------
    error : float
        In mm; NaN if a coordinate is not finite.

    Raises
    ------
    ValueError
        If the shapes differ, if they are not (n, ndim), or if there are no points.

    Examples
    --------
    >>> target_registration_error([[0, 0, 0], [1, 0, 0]], [[0, 3, 4], [1, 0, 0]])
    2.5
    """
    static_points, warped_points = check_same_shape(
        static_points, warped_points, "static_points", "warped_points"
    )
    if static_points.ndim != 2:
        raise ValueError(
            f"Expected points of shape (n, ndim). Received static_points.shape="
            f"{static_points.shape}."
        )
    if not (np.all(np.isfinite(static_points)) and np.all(np.isfinite(warped_points))):
        return np.nan
    return float(np.linalg.norm(static_points - warped_points, axis=-1).mean())


def _field(displacement):
    displacement = check_real("displacement", displacement)
    if displacement.dtype != np.float32:  # the type of most fields, kept
        displacement = displacement.astype(np.float64)
    *spatial, ndim = displacement.shape
    if len(spatial) != ndim or min(spatial) < 2:
        raise ValueError(
            f"Expected one displacement of shape (*spatial, ndim), with two voxels or "
            f"more along each axis. Received displacement.shape={displacement.shape}."
        )
    return displacement


def _determinant(derivatives):
    """Return ``det(1 + du/dx)`` from the derivatives along each axis.

    It is written out, since ``np.linalg.det`` of each small matrix takes ten times as
    long.
    """
    ndim = len(derivatives)
    rows = [
        [derivatives[a][..., d] + (a == d) for a in range(ndim)] for d in range(ndim)
    ]
    with np.errstate(invalid="ignore", over="ignore"):  # NaN stays NaN, not a warning
        return determinant(rows)


def _one_sided_differences(displacement, axis):
    """Return forward and backward differences; at the border both are the same."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.diff(displacement, axis=axis)
    first = np.take(difference, [0], axis=axis)
    last = np.take(difference, [-1], axis=axis)
    forward = np.concatenate([difference, last], axis=axis)
    backward = np.concatenate([first, difference], axis=axis)
    return forward, backward
