"""Measures of a registration, for NumPy arrays of one image or one field.

Nothing here needs Keras: a SyN result is measured with the same functions.
"""

from itertools import product

import numpy as np

from dipy_nn_reg.checks import check_real
from dipy_nn_reg.determinant import determinant
from dipy_nn_reg.metrics.images import (
    check_same_shape,
    dice,
    entropies,
    ncc,
    to_unit_range,
)

__all__ = [
    "dice",
    "entropies",
    "folding",
    "in_plane",
    "is_folded",
    "jacobian_determinant",
    "ncc",
    "sd_log",
    "sd_log_jacobian",
    "target_registration_error",
    "to_unit_range",
]
# Values of a field whose derivatives are taken at a time.
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
        By central differences, one-sided at the border: 1 where volume is kept,
        0 or less where the field folds, and not a number where its derivatives are
        none.

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
    # A slab at a time, whose derivatives stay in the cache.
    step = max(1, _SLAB * size // displacement.size)
    for start in range(0, size, step):
        first, after = max(start - 1, 0), min(start + step + 1, size)
        slab = displacement[first:after]
        with np.errstate(invalid="ignore", over="ignore"):
            derivatives = [np.gradient(slab, axis=axis) for axis in range(ndim)]
        inner = slice(start - first, start - first + step)
        determinant[start : start + step] = _determinant(derivatives)[inner]
    return determinant


def in_plane(displacement):
    """Leave out axes of one voxel, along which nothing can be compared.

    Parameters
    ----------
    displacement : ndarray, shape (*spatial, ndim)
        Of a slice along any axis, or of a volume.

    Returns
    -------
    displacement : ndarray, shape (*spatial, ndim)
        Of two axes for a slice, and its components along these.
    """
    *shape, _ = displacement.shape
    thick = [axis for axis, size in enumerate(shape) if size > 1]
    in_order = displacement.reshape(*(shape[axis] for axis in thick), len(shape))
    return in_order[..., thick]


def is_folded(determinant):
    """Tell where a field folds; what is not a number must not look perfect.

    Parameters
    ----------
    determinant : ndarray
        As :func:`jacobian_determinant` returns it.

    Returns
    -------
    folded : ndarray of bool

    Raises
    ------
    ValueError
        If it is empty or does not hold real numbers.
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
        Count a voxel as soon as any choice of forward or backward differences, one
        for each axis, gives a determinant of 0 or less. A central difference
        spans two voxels, so a fold between two of them can escape it.

    Returns
    -------
    percentage : float
        From 0 to 100. Where the field is not a number it counts as folded.

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
        0 where volume changes by one factor everywhere; not a number where the field
        is none.

    Raises
    ------
    ValueError
        If the shape is not that of a field, or an axis too short.

    Notes
    -----
    As the challenge Learn2Reg evaluates it :footcite:p:`Hering2023`, so that figures
    can be compared: 3 is added to the determinant, which is then clipped to 1e-9 ...
    1e9, and the two outermost voxels on each side are left out.

    References
    ----------
    .. footbibliography::
    """
    return sd_log(jacobian_determinant(displacement))


def sd_log(determinant):
    """Return what :func:`sd_log_jacobian` does, of a Jacobian determinant."""
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
        In world coordinates, after registration.

    Returns
    -------
    error : float
        In mm; not a number if a coordinate is none, or infinite.

    Raises
    ------
    ValueError
        If the shapes differ, if they are not those of points, or if there is no point.

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
    if displacement.dtype != np.float32:  # which is what fields come in
        displacement = displacement.astype(np.float64)
    *spatial, ndim = displacement.shape
    if len(spatial) != ndim or min(spatial) < 2:
        raise ValueError(
            f"Expected one displacement of shape (*spatial, ndim), with two voxels or "
            f"more along each axis. Received displacement.shape={displacement.shape}."
        )
    return displacement


def _determinant(derivatives):
    """Return ``det(1 + du/dx)`` from the derivatives along each axis."""
    ndim = len(derivatives)
    rows = [
        [derivatives[a][..., d] + (a == d) for a in range(ndim)] for d in range(ndim)
    ]
    with np.errstate(invalid="ignore", over="ignore"):  # NaN stays NaN, not a warning
        return determinant(rows)


def _one_sided_differences(displacement, axis):
    """Return forward and backward differences; at the border, the one there is."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.diff(displacement, axis=axis)
    first = np.take(difference, [0], axis=axis)
    last = np.take(difference, [-1], axis=axis)
    forward = np.concatenate([difference, last], axis=axis)
    backward = np.concatenate([first, difference], axis=axis)
    return forward, backward
