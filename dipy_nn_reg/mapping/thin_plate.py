"""Splines through control points and landmarks."""

import numpy as np
from scipy.spatial.distance import cdist

from dipy_nn_reg.checks import check_number, check_real, check_shape

# Points evaluated at a time: bounds the memory for their distances to the landmarks.
POINTS_PER_CHUNK = 2**16
# The terms of a spline beyond this are too large for float32.
FARTHEST = 1e15


class ThinPlateSpline:
    r"""Smooth map through pairs of landmarks, in 2D and 3D.

    The map bends as little as possible: among all that meet the landmarks it has the
    least integral of squared second derivatives.

    Parameters
    ----------
    smoothing : float, optional
        0 meets the landmarks; more lets the map miss them to bend less.

    Attributes
    ----------
    weights : ndarray, shape (n, ndim)
        Of the kernel at each static landmark.
    affine : ndarray, shape (ndim + 1, ndim)
        Offset and linear part.

    Notes
    -----
    The kernel is :math:`r^2 \log r^2` in 2D and :math:`-r` in 3D
    :footcite:p:`Bookstein1989`.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> corners = np.array([(0.0, 0.0), (0.0, 9.0), (9.0, 0.0), (9.0, 9.0)])
    >>> spline = ThinPlateSpline().fit(corners + [1, 2], corners)
    >>> spline.evaluate([(4, 4)])
    array([[5., 6.]])
    """

    def __init__(self, *, smoothing=0.0):
        check_number("smoothing", smoothing, or_zero=True)
        self.smoothing = smoothing

    def fit(self, moving, static):
        """Find the map from static to moving landmarks.

        Parameters
        ----------
        moving, static : array-like, shape (n, ndim)
            Pairs of landmarks, in voxels or in mm. At least ndim + 1, and not all on
            one line (3D: in one plane).

        Returns
        -------
        self : ThinPlateSpline

        Raises
        ------
        ValueError
            If the landmarks do not determine a map.
        """
        moving = _as_points("moving landmarks", moving)
        static = _as_points("static landmarks", static)
        _check_landmarks(moving, static)
        if self.smoothing == 0 and len(np.unique(static, axis=0)) < len(static):
            raise ValueError(
                "Expected static landmarks that differ from one another, or "
                "smoothing > 0. Received some that coincide and smoothing=0."
            )
        self.landmarks = static
        self.weights, self.affine = _solve(static, moving, self.smoothing)
        return self

    def evaluate(self, points):
        """Map points from the static to the moving image.

        Parameters
        ----------
        points : array-like, shape (..., ndim)
            In the units of the landmarks.

        Returns
        -------
        mapped : ndarray, shape (..., ndim)

        Raises
        ------
        ValueError
            If there are no landmarks yet, if the points have other axes than they, or
            if they are not finite.
        """
        if not hasattr(self, "landmarks"):
            raise ValueError("Expected landmarks, by fit. Received none yet.")
        points, ndim = _as_points("points", points), self.landmarks.shape[1]
        if points.shape[-1:] != (ndim,):
            raise ValueError(
                f"Expected points of shape (..., {ndim}), as the landmarks are. "
                f"Received points of shape {points.shape}."
            )
        flat = points.reshape(-1, ndim)
        mapped = _with_ones(flat) @ self.affine
        for start in range(0, len(flat), POINTS_PER_CHUNK):
            chunk = slice(start, start + POINTS_PER_CHUNK)
            distances = cdist(flat[chunk], self.landmarks)
            mapped[chunk] += _kernel(distances, ndim) @ self.weights
        return mapped.reshape(points.shape)

    def displacement(self, shape):
        """Return the map as a displacement, for landmarks in voxels.

        Parameters
        ----------
        shape : tuple of int
            Spatial shape of the static grid.

        Returns
        -------
        displacement : ndarray, shape (*shape, ndim)
            Float32, in voxels.

        Raises
        ------
        ValueError
            If the shape is not one of as many axes as the landmarks have.
        """
        axes = self.landmarks.shape[1] if hasattr(self, "landmarks") else None
        shape = check_shape("shape", shape, ndim=axes)
        grid = np.moveaxis(np.indices(shape, np.float64), 0, -1)
        return (self.evaluate(grid) - grid).astype(np.float32)


def thin_plate_influence(landmarks, points):
    """Return the influence of the value at each landmark on a spline at points.

    Parameters
    ----------
    landmarks : ndarray, shape (n, ndim)
        Not all on one line (3D: in one plane), and all different.
    points : ndarray, shape (m, ndim)

    Returns
    -------
    influence : ndarray, shape (m, n)
        Float32. ``influence @ values`` is the spline through the values, at the points.

    Raises
    ------
    ValueError
        If the landmarks do not determine a spline, or if the points do not fit them.
    """
    landmarks = _as_points("landmarks", landmarks)
    points = _as_points("points", points)
    _check_landmarks(landmarks, landmarks)
    if points.ndim != 2 or points.shape[1] != landmarks.shape[1]:
        raise ValueError(
            f"Expected points of shape (m, {landmarks.shape[1]}), as the landmarks "
            f"are. Received points.shape={points.shape}."
        )
    # Solved in float64: the terms of the spline are large and cancel.
    weights, affine = _solve(landmarks, np.eye(len(landmarks)), 0)
    influence = np.empty((len(points), len(landmarks)), np.float32)
    for start in range(0, len(points), POINTS_PER_CHUNK):
        chunk = points[start : start + POINTS_PER_CHUNK]
        kernel = _kernel(cdist(chunk, landmarks), landmarks.shape[1])
        influence[start : start + POINTS_PER_CHUNK] = (
            kernel @ weights + _with_ones(chunk) @ affine
        )
    return influence


def _as_points(name, points):
    """Return points as float64, or raise ValueError."""
    points = check_real(name, points).astype(np.float64)
    if not np.all(np.abs(points) <= FARTHEST):  # NaN neither
        raise ValueError(
            f"Expected finite {name} within {FARTHEST:g}. Received {name} from "
            f"{points.min()} to {points.max()}."
        )
    return points


def _solve(landmarks, values, smoothing):
    """Return weights of the kernel and affine part of the spline through values."""
    n, ndim = landmarks.shape
    system = np.zeros((n + ndim + 1, n + ndim + 1))
    system[:n, :n] = _kernel(cdist(landmarks, landmarks), ndim)
    system[:n, :n] += smoothing * np.eye(n)
    system[:n, n:] = _with_ones(landmarks)
    system[n:, :n] = system[:n, n:].T
    values = np.concatenate([values, np.zeros((ndim + 1, values.shape[1]))])
    solution = np.linalg.solve(system, values)
    return solution[:n], solution[n:]


def _kernel(distances, ndim):
    if ndim == 3:
        return -distances
    squares = distances**2
    return squares * np.log(np.where(squares > 0, squares, 1))


def _with_ones(points):
    return np.concatenate([np.ones((len(points), 1)), points], axis=1)


def _check_landmarks(moving, static):
    if (
        moving.shape != static.shape
        or static.ndim != 2
        or static.shape[1] not in (2, 3)
    ):
        raise ValueError(
            f"Expected pairs of landmarks, two arrays of shape (n, 2) or (n, 3). "
            f"Received moving.shape={moving.shape} and static.shape={static.shape}."
        )
    rank = np.linalg.matrix_rank(_with_ones(static))
    if rank < static.shape[1] + 1:
        raise ValueError(
            f"Expected at least {static.shape[1] + 1} static landmarks that are not "
            f"all on one line or plane. Received {len(static)} that span "
            f"{max(rank - 1, 0)} dimensions."
        )
