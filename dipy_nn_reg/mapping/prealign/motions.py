"""Affine motions about a centre, by parameters in mm, with their derivatives."""

from functools import partial

import numpy as np
from scipy.spatial.transform import Rotation

# Number of parameters besides those of the shift, by kind and number of axes.
PARAMETERS = {
    "rigid": {2: 1, 3: 3},
    "similarity": {2: 2, 3: 4},
    "affine": {2: 4, 3: 9},
}
# Step of the differences that give the derivatives of rotations, in radians.
_STEP = 1e-5


def linear_part(kind, parameters, ndim):
    """Return the linear part of a motion and its derivatives by the parameters.

    Parameters
    ----------
    kind : {"rigid", "similarity", "affine"}
    parameters : ndarray, shape (n,)
        Angles in radians, the logarithm of the scale, or the linear part minus the
        identity. All are 0 for the identity.
    ndim : {2, 3}

    Returns
    -------
    matrix : ndarray, shape (ndim, ndim)
    derivatives : ndarray, shape (n, ndim, ndim)
    """
    if kind == "affine":
        units = np.eye(ndim * ndim).reshape(-1, ndim, ndim)
        return np.eye(ndim) + parameters.reshape(ndim, ndim), units
    angles = parameters[: PARAMETERS["rigid"][ndim]]
    rotation, derivatives = _rotation(angles, ndim)
    if kind == "rigid":
        return rotation, derivatives
    matrix = np.exp(parameters[-1]) * rotation
    return matrix, np.concatenate([np.exp(parameters[-1]) * derivatives, matrix[None]])


def _rotation(angles, ndim):
    steps = _STEP * np.concatenate([np.eye(len(angles)), -np.eye(len(angles))])
    vectors = angles + np.concatenate([np.zeros((1, len(angles))), steps])
    if ndim == 2:
        vectors = np.concatenate([np.zeros((len(vectors), 2)), vectors], axis=1)
    matrices = Rotation.from_rotvec(vectors).as_matrix()[:, :ndim, :ndim]
    forward, backward = np.split(matrices[1:], 2)
    return matrices[0], (forward - backward) / (2 * _STEP)


class Motion:
    """Affines of one kind near a start, as functions of parameters in mm.

    Parameters
    ----------
    kind : {"rigid", "similarity", "affine"}
    start : ndarray, shape (ndim + 1, ndim + 1)
        Affine of the parameters 0.
    points : ndarray, shape (ndim, n)
        Points whose mean is the centre of rotation. All parameters are divided by
        their root mean square distance from it, so that they are all lengths.

    Attributes
    ----------
    size : int
        Number of parameters.
    """

    def __init__(self, kind, start, points):
        self._kind, self._start, self._ndim = kind, start, len(points)
        self._center = points.mean(axis=1)
        distances = np.linalg.norm(points - self._center[:, None], axis=0)
        self._radius = np.sqrt(np.mean(distances**2)) or 1.0
        self.size = self._ndim + PARAMETERS[kind][self._ndim]

    def at(self, parameters):
        """Return the affine of parameters, and the way to derivatives by them.

        Parameters
        ----------
        parameters : ndarray, shape (size,)

        Returns
        -------
        affine : ndarray, shape (ndim + 1, ndim + 1)
        chain : callable
            Takes the derivative of a function by the entries of the affine, shape
            (ndim, ndim + 1), and returns that by the parameters, shape (size,).
        """
        shift, others = parameters[: self._ndim], parameters[self._ndim :]
        linear, derivatives = linear_part(self._kind, others / self._radius, self._ndim)
        affine = np.eye(self._ndim + 1)
        affine[:-1, :-1] = linear @ self._start[:-1, :-1]
        target = self._start[:-1, :-1] @ self._center + self._start[:-1, -1] + shift
        affine[:-1, -1] = target - affine[:-1, :-1] @ self._center
        return affine, partial(self._chain, derivatives @ self._start[:-1, :-1])

    def _chain(self, by_others, derivative):
        linear, shift = derivative[:, :-1], derivative[:, -1]
        about = linear - np.outer(shift, self._center)
        turned = np.tensordot(by_others, about, 2)
        return np.concatenate([shift, turned / self._radius])
