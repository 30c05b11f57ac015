"""Thin-plate splines through landmarks, over those of SciPy."""

import numpy as np
from scipy.interpolate import RBFInterpolator

from dipy_nn_reg.checks import check_number, check_real, check_shape

# Kernel of SciPy for each number of axes, and factor on ``smoothing``: in 2D SciPy's
# kernel is half of Bookstein's.
KERNELS = {2: ("thin_plate_spline", 0.5), 3: ("linear", 1.0)}
# Largest coordinate: beyond it the terms of a spline are too large for float32.
_MAX_COORDINATE = 1e15


class ThinPlateSpline:
    r"""Smooth map through pairs of landmarks, in 2D and 3D.

    Among all maps that meet the landmarks it bends least: it has the smallest integral
    of squared second derivatives.

    Parameters
    ----------
    smoothing : float, optional
        0 meets the landmarks; larger values let the map miss them to bend less.

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
            raise ValueError("Expected landmarks, by fit. Received none yet.")
        points = _as_points("points", points)
        if points.shape[-1:] != (self._ndim,):
            raise ValueError(
                f"Expected points of shape (..., {self._ndim}), as the landmarks are. "
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
    if not np.all(np.abs(points) <= _MAX_COORDINATE):  # NaN neither
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
