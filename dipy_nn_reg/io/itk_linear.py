"""Linear transforms of ITK: affines of the parameters that its files hold."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dipy_nn_reg.mapping.affines import check_affine


class _Kind(NamedTuple):
    """Kind of a linear transform.

    Attributes
    ----------
    size : int
        Number of parameters.
    parts : callable
        Takes the parameters and the fixed parameters, and returns a matrix, shape
        (ndim, ndim), and a translation, shape (ndim,).
    fixed : tuple of int, optional
        Possible numbers of fixed parameters, of which the first ndim are the centre.
        There may always be none; by default there may be ndim.
    """

    size: int
    parts: Callable
    fixed: tuple = ()


def affine_of(kind, ndim, parameters, fixed):
    """Return the affine of a linear transform of ITK.

    Parameters
    ----------
    kind : str
        Name of its class, as "Euler3DTransform".
    ndim : {2, 3}
    parameters, fixed : ndarray of float, shape (n,) and (m,)
        As ITK stores them.

    Returns
    -------
    affine : ndarray, shape (ndim + 1, ndim + 1)
        Between points in mm (LPS+).

    Raises
    ------
    ValueError
        If the kind is not one of those that are read, if there are other numbers of
        parameters, if a value is not finite, or if the affine cannot be inverted.
    """
    if (kind, ndim) not in _KINDS:
        names = sorted(name for name, axes in _KINDS if axes == ndim)
        raise ValueError(
            f"expected displacement fields and linear transforms, {', '.join(names)}, "
            f"received a {kind} of {ndim} axes"
        )
    row = _KINDS[kind, ndim]
    numbers = row.fixed or (ndim,)
    if len(parameters) != row.size or len(fixed) not in (*numbers, 0):
        raise ValueError(
            f"expected a {kind} of {row.size} parameters and "
            f"{', '.join(map(str, numbers))} or 0 fixed ones, received one of "
            f"{len(parameters)} and {len(fixed)}"
        )
    affine = np.eye(ndim + 1)
    matrix, translation = row.parts(parameters, fixed)
    centre = fixed[:ndim] if len(fixed) else np.zeros(ndim)
    affine[:-1, :-1] = matrix
    affine[:-1, -1] = translation + centre - matrix @ centre
    return check_affine(affine, name=f"a {kind}", ndim=ndim)


def _identity(ndim):
    return _Kind(0, lambda p, fixed: (np.eye(ndim), np.zeros(ndim)))


def _translation(ndim):
    return _Kind(ndim, lambda p, fixed: (np.eye(ndim), p))


def _scale(ndim):
    return _Kind(ndim, lambda p, fixed: (np.diag(p), np.zeros(ndim)))


def _matrix(ndim):
    n = ndim**2
    return _Kind(n + ndim, lambda p, fixed: (p[:n].reshape(ndim, ndim), p[n:]))


def _turn_2d(angle):
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])


def _turn_by_angles(angles, fixed):
    """Return a rotation by angles about x, y and z; a number tells their order."""
    from scipy.spatial.transform import Rotation

    if not np.all(np.isfinite(angles)):
        return np.full((3, 3), np.nan)
    order = "ZYX" if len(fixed) > 3 and fixed[3] else "ZXY"
    ordered = [angles["XYZ".index(axis)] for axis in order]
    return Rotation.from_euler(order, ordered).as_matrix()


def _turn_by_versor(versor):
    """Return a rotation by the vector part of a quaternion of length 1."""
    from scipy.spatial.transform import Rotation

    if not np.all(np.isfinite(versor)):
        return np.full((3, 3), np.nan)
    scalar = np.sqrt(max(0.0, 1 - versor @ versor))
    return Rotation.from_quat([*versor, scalar]).as_matrix()


_KINDS = {
    ("Euler2DTransform", 2): _Kind(3, lambda p, fixed: (_turn_2d(p[0]), p[1:])),
    ("Euler3DTransform", 3): _Kind(
        6, lambda p, fixed: (_turn_by_angles(p[:3], fixed), p[3:]), fixed=(3, 4)
    ),
    ("Rigid2DTransform", 2): _Kind(3, lambda p, fixed: (_turn_2d(p[0]), p[1:])),
    ("Similarity2DTransform", 2): _Kind(
        4, lambda p, fixed: (p[0] * _turn_2d(p[1]), p[2:])
    ),
    ("Similarity3DTransform", 3): _Kind(
        7, lambda p, fixed: (p[6] * _turn_by_versor(p[:3]), p[3:6])
    ),
    ("VersorRigid3DTransform", 3): _Kind(
        6, lambda p, fixed: (_turn_by_versor(p[:3]), p[3:])
    ),
    ("VersorTransform", 3): _Kind(
        3, lambda p, fixed: (_turn_by_versor(p), np.zeros(3))
    ),
} | {
    (f"{name}Transform", ndim): make(ndim)
    for ndim in (2, 3)
    for name, make in {
        "Affine": _matrix,
        "Identity": _identity,
        "Scale": _scale,
        "Translation": _translation,
    }.items()
}
# ANTs also writes the class from which that of affines is derived.
for _ndim in (2, 3):
    _KINDS["MatrixOffsetTransformBase", _ndim] = _matrix(_ndim)
