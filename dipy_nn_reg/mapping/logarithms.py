"""Logarithms of displacements and of affines, which can be averaged."""

import numpy as np
from scipy.linalg import expm, logm, polar

# Largest number of corrections of a velocity, and size in voxels of the last one.
_CORRECTIONS, _SMALL = 12, 1e-2


def velocity_of(displacement):
    """Return the stationary velocity that integrates to a displacement.

    Parameters
    ----------
    displacement : ndarray, shape (*spatial, ndim)
        In voxels; without folds.

    Returns
    -------
    velocity : ndarray of float32, shape (*spatial, ndim)
        The difference that is left is below 0.01 voxels, or as small as 12 corrections
        make it.

    Notes
    -----
    The velocity is corrected by what is left of the displacement when it is undone: the
    first term of the formula of Baker, Campbell and Hausdorff, as Bossa et al. (2007)
    use it.
    """
    from dipy_nn_reg.transform import compose, integrate

    velocity = np.asarray(displacement, np.float32)
    for _ in range(_CORRECTIONS):
        left = np.asarray(compose(integrate(-velocity), displacement))
        if np.abs(left).max() < _SMALL:
            break
        velocity = velocity + left
    return velocity


def mean_affine(affines, weights=None):
    """Return the mean of affines, which is the same for their inverses.

    Parameters
    ----------
    affines : sequence of ndarray, shape (ndim + 1, ndim + 1)
        Without reflections.
    weights : sequence of float, optional

    Returns
    -------
    affine : ndarray, shape (ndim + 1, ndim + 1)
        The exponential of the mean of their logarithms, as in the log-Euclidean
        framework of Arsigny et al. (2009).

    Raises
    ------
    ValueError
        If an affine has no real logarithm.
    """
    logarithms = [logm(affine) for affine in affines]
    for affine, logarithm in zip(affines, logarithms):
        if np.abs(np.imag(logarithm)).max() > 1e-6:
            raise ValueError(
                f"Expected affines with real logarithms. Received {affine.tolist()}."
            )
    return expm(np.average(np.real(logarithms), axis=0, weights=weights))


def stretch_of(affine, center):
    """Return an affine without its rigid part: a stretch about a point.

    Parameters
    ----------
    affine : ndarray, shape (ndim + 1, ndim + 1)
    center : ndarray, shape (ndim,)
        Point in world coordinates that the stretch keeps.

    Returns
    -------
    stretch : ndarray, shape (ndim + 1, ndim + 1)
        The symmetric factor of the polar decomposition.
    """
    stretch = np.eye(len(affine))
    stretch[:-1, :-1] = polar(affine[:-1, :-1])[1]
    stretch[:-1, -1] = center - stretch[:-1, :-1] @ center
    return stretch
