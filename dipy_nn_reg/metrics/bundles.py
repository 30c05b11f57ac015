"""Measures of bundles of streamlines after registration: overlap and distance."""

from nibabel.affines import apply_affine
import numpy as np

from dipy_nn_reg.checks import check_real

# Number of points of each streamline between which distances are measured.
_POINTS = 20
# Number of streamlines whose voxels are found at a time.
_BLOCK = 500
# Shortest part of a segment, in voxels, that counts. Where a segment passes through an
# edge of voxels, rounding makes shorter ones.
_SHORTEST = 1e-6


def bundle_density(bundle, affine, shape):
    """Return the number of streamlines that pass through each voxel.

    Parameters
    ----------
    bundle : sequence of ndarray, shape (n, 3)
        Points of each streamline, in world coordinates (mm).
    affine : ndarray, shape (4, 4)
        From voxels of the grid to world coordinates.
    shape : tuple of int
        Shape of the grid, of three axes.

    Returns
    -------
    density : ndarray of int, shape (*shape,)
        A streamline counts once in each voxel that it passes through, also between
        two of its points. Parts outside of the grid do not count.

    Raises
    ------
    ValueError
        If there are no streamlines, if one is not of finite points, or if the grid is
        not one of three axes.

    See Also
    --------
    dipy.tracking.utils.density_map : Counts where points lie, all inside of the grid.

    Examples
    --------
    >>> bundle_density([[[0, 0, 0], [2, 0, 0]]], np.eye(4), (4, 1, 1)).ravel()
    array([1, 1, 1, 0])
    """
    bundle, to_voxels = _check_bundle(bundle, "bundle"), _to_voxels(affine, shape)
    density = np.zeros(shape, np.int64)
    for start in range(0, len(bundle), _BLOCK):
        block = bundle[start : start + _BLOCK]
        lines = np.repeat(np.arange(len(block)), [len(line) for line in block])
        corners = apply_affine(to_voxels, np.concatenate(block)) + 0.5
        voxels, lines = _passed(corners, lines, shape)
        inside = np.all((voxels >= 0) & (voxels < shape), axis=1)
        flat = np.ravel_multi_index(tuple(voxels[inside].astype(np.intp).T), shape)
        once = np.unique(lines[inside] * density.size + flat)
        flat, counts = np.unique(once % density.size, return_counts=True)
        density.flat[flat] += counts
    return density


def bundle_dice(static, moving, affine, shape, *, weighted=False):
    """Return the Dice overlap of the voxels that two bundles pass through.

    Parameters
    ----------
    static, moving : sequence of ndarray, shape (n, 3)
        Points of each streamline, in world coordinates (mm) of the static image.
    affine, shape
        Grid of the static image, as for :func:`bundle_density`.
    weighted : bool, optional
        Weight each voxel by the fraction of the streamlines of a bundle that pass
        through it, the weighted Dice of :footcite:t:`Cousineau2017`. A few streamlines
        that stray then count little.

    Returns
    -------
    dice : float
        From 0 to 1.

    Raises
    ------
    ValueError
        As :func:`bundle_density`, and if the static bundle lies outside of the grid.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> lines = [[[0, 0, 0], [2, 0, 0]]], [[[1, 0, 0], [3, 0, 0]]]
    >>> round(bundle_dice(*lines, np.eye(4), (4, 1, 1)), 3)
    0.667
    """
    weights = (_fractions(bundle, affine, shape) for bundle in (static, moving))
    return _dice(*weights, weighted=weighted)


def bundle_distance(static, moving):
    """Return the mean distance of the streamlines of two bundles to the closest ones.

    Parameters
    ----------
    static, moving : sequence of ndarray, shape (n, 3)
        Points of each streamline, in world coordinates (mm).

    Returns
    -------
    distance : float
        In mm: the mean over the streamlines of each bundle of the distance to the
        closest streamline of the other one, averaged over both bundles. The distance of
        two streamlines is the minimum average direct-flip distance (MDF) of 20 points
        at equal intervals. This is the square root of the bundle-based minimum distance
        (BMD) of :footcite:t:`Garyfallidis2015`. The time grows with the product of both
        numbers of streamlines.

    Raises
    ------
    ValueError
        If a bundle has no streamlines, or if one is not of finite points.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> line = np.array([[0.0, 0, 0], [9, 0, 0]])
    >>> bundle_distance([line], [line[::-1] + [0, 3, 4], line + [0, 0, 9]])
    6.0
    """
    # Imported here: DIPY takes a second, for which the other measures need not wait.
    from dipy.align.streamlinear import bundle_min_distance_fast
    from dipy.tracking.streamline import set_number_of_points

    bundles = []
    for name, bundle in (("static", static), ("moving", moving)):
        lines = _check_bundle(bundle, name)
        # DIPY returns arbitrary points for a streamline without length.
        points = [
            set_number_of_points(line, nb_points=_POINTS)
            if np.ptp(line, axis=0).any()
            else np.repeat(line[:1], _POINTS, axis=0)
            for line in lines
        ]
        bundles.append(np.concatenate(points))
    return float(np.sqrt(bundle_min_distance_fast(np.zeros(6), *bundles, _POINTS)))


def measure_bundles(static, moving, affine, shape):
    """Return the measures of two bundles in the space of the static image.

    Parameters
    ----------
    static, moving, affine, shape
        As for :func:`bundle_dice`.

    Returns
    -------
    row : dict of float
        ``bundle_dice`` and ``bundle_weighted_dice``, see :func:`bundle_dice`;
        ``bundle_distance_mm``, see :func:`bundle_distance`.

    Raises
    ------
    ValueError
        As :func:`bundle_dice`.
    """
    weights = [_fractions(bundle, affine, shape) for bundle in (static, moving)]
    return {
        "bundle_dice": _dice(*weights),
        "bundle_weighted_dice": _dice(*weights, weighted=True),
        "bundle_distance_mm": bundle_distance(static, moving),
    }


def _fractions(bundle, affine, shape):
    """Return the fraction of the streamlines that pass through each voxel."""
    # Streamlines without points pass nowhere.
    number = sum(len(line) > 0 for line in bundle)
    return bundle_density(bundle, affine, shape) / max(number, 1)


def _dice(static, moving, *, weighted=False):
    if not static.any():
        raise ValueError(
            f"Expected a static bundle within the grid. Received one that passes "
            f"through none of its voxels, shape={static.shape}."
        )
    both = (static > 0) & (moving > 0)
    if weighted:
        shared, total = (static + moving)[both].sum(), static.sum() + moving.sum()
        return float(shared / total)
    number = np.count_nonzero(static) + np.count_nonzero(moving)
    return float(2 * np.count_nonzero(both) / number)


def _passed(points, lines, shape):
    """Return the voxels that streamlines pass through, and the line of each.

    Voxel ``i`` is from ``i`` to ``i + 1``. Each segment is cut where it meets a plane
    between voxels, so that each part lies in one voxel.
    """
    first = np.flatnonzero(lines[1:] == lines[:-1])
    start, step = points[first], points[first + 1] - points[first]
    segments = [np.arange(len(first))] * 2
    times = [np.zeros(len(first)), np.ones(len(first))]
    for axis in range(3):
        segment, plane = _planes(start[:, axis], points[first + 1, axis], shape[axis])
        segments.append(segment)
        times.append((plane - start[segment, axis]) / step[segment, axis])
    segments, times = np.concatenate(segments), np.concatenate(times)
    order = np.lexsort((times, segments))
    segments, times = segments[order], times[order]
    lengths = np.diff(times) * np.linalg.norm(step, axis=1)[segments[1:]]
    is_part = (segments[1:] == segments[:-1]) & (lengths > _SHORTEST)
    of = segments[1:][is_part]
    middles = (times[1:] + times[:-1])[is_part, None] / 2
    voxels = np.concatenate([points, start[of] + middles * step[of]])
    return np.floor(voxels), np.concatenate([lines, lines[first][of]])


def _planes(start, end, size):
    """Return the planes of a grid, across one axis, that each segment meets."""
    low, high = np.floor(
        np.clip([np.minimum(start, end), np.maximum(start, end)], -1, size)
    )
    number = (high - low).astype(np.intp)
    segment = np.repeat(np.arange(len(start)), number)
    count = np.arange(len(segment)) - np.repeat(np.cumsum(number) - number, number)
    return segment, low[segment] + 1 + count


def _check_bundle(bundle, name):
    """Return streamlines as a list of arrays, or raise ValueError."""
    lines = [np.asarray(line) for line in bundle]
    if not lines:
        raise ValueError(f"Expected streamlines in {name}. Received none.")
    for line in lines:
        if line.dtype.kind not in "iuf" or line.ndim != 2 or line.shape[1] != 3:
            raise ValueError(
                f"Expected each streamline in {name} to be of shape (n, 3). Received "
                f"one of shape {line.shape} and type {line.dtype}."
            )
    lines = [line.astype(np.float64) for line in lines if len(line)]
    if not lines or not np.isfinite(np.concatenate(lines)).all():
        raise ValueError(
            f"Expected finite points in {name}. Received "
            f"{'some that are not finite' if lines else 'none'}."
        )
    return lines


def _to_voxels(affine, shape):
    """Return the inverse of the affine of a grid, or raise ValueError."""
    affine = check_real("affine", affine).astype(np.float64)
    is_affine = affine.shape == (4, 4) and np.isfinite(affine).all()
    if not is_affine or np.linalg.matrix_rank(affine) < 4 or len(shape) != 3:
        raise ValueError(
            f"Expected a grid of three axes, with an affine of 4 x 4 that can be "
            f"inverted. Received affine={affine.tolist()} and shape={tuple(shape)}."
        )
    return np.linalg.inv(affine)
