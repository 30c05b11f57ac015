"""Thin-plate splines through landmarks, by ``scipy.interpolate``."""

import numpy as np
from scipy.interpolate import RBFInterpolator

from dipy_nn_reg.checks import check_number, check_real, check_shape

# Name of SciPy's kernel and factor on ``smoothing``, by the number of axes: in 2D
# SciPy's kernel is half of Bookstein's.
KERNELS = {2: ("thin_plate_spline", 0.5), 3: ("linear", 1.0)}
# Largest coordinate. The terms of a spline with larger ones overflow float32.
_MAX_COORDINATE = 1e15


class ThinPlateSpline:
    r"""Smooth map through pairs of landmarks, in 2D and 3D.

    Among all maps through the landmarks it has the smallest bending energy, the
    integral of the squared second derivatives.

    Parameters
    ----------
    smoothing : float, optional
        With 0 the map passes through the landmarks. Larger values allow distances from
        them, for less bending.

    Notes
    -----
    The kernel is :math:`r^2 \log r^2` in 2D and :math:`-r` in 3D
    :footcite:p:`Bookstein1989`; ``scipy.interpolate.RBFInterpolator`` evaluates it.

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
        self._spline = self._ndim = None

    def fit(self, moving, static):
        """Fit the map from static to moving landmarks.

        Parameters
        ----------
        moving, static : array-like, shape (n, ndim)
            Pairs of landmarks, in voxels or in mm: at least ndim + 1, not all on one
            line (in 3D: in one plane).

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
                "smoothing > 0. Received coinciding landmarks and smoothing=0."
            )
        kernel, factor = KERNELS[static.shape[1]]
        self._ndim, self._spline = (
            static.shape[1],
            RBFInterpolator(
                static,
                moving,
                kernel=kernel,
                smoothing=factor * self.smoothing,
                degree=1,
            ),
        )
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
            Before :meth:`fit`, or if the points have another number of coordinates
            than the landmarks, or are not finite.
        """
        if self._spline is None:
            raise ValueError("Expected landmarks, by fit. Received no call of fit yet.")
        points = _as_points("points", points)
        if points.shape[-1:] != (self._ndim,):
            raise ValueError(
                f"Expected points of shape (..., {self._ndim}), as the landmarks have. "
                f"Received points of shape {points.shape}."
            )
        return self._spline(points.reshape(-1, self._ndim)).reshape(points.shape)

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
            If the shape has another number of axes than the landmarks.
        """
        shape = check_shape("shape", shape, ndim=self._ndim)
        grid = np.moveaxis(np.indices(shape, np.float64), 0, -1)
        return (self.evaluate(grid) - grid).astype(np.float32)


def _as_points(name, points):
    """Return points as float64, or raise ValueError."""
    points = check_real(name, points).astype(np.float64)
    if not np.all(np.abs(points) <= _MAX_COORDINATE):  # also False for NaN
        raise ValueError(
            f"Expected finite {name} within {_MAX_COORDINATE:g}. Received {name} from "
            f"{points.min()} to {points.max()}."
        )
    return points


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
    rank = np.linalg.matrix_rank(static - static.mean(0))
    if rank < static.shape[1]:
        raise ValueError(
            f"Expected at least {static.shape[1] + 1} static landmarks that are not "
            f"all on one line or plane. Received {len(static)} that span "
            f"{rank} dimensions."
        )
