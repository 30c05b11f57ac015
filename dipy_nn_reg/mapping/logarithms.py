"""Logarithms of displacements and of affines, which can be averaged."""

import numpy as np
from scipy.linalg import expm, logm, polar
from scipy.ndimage import gaussian_filter

# Largest number of corrections of a velocity, size in voxels of what may be left, and
# smallest fraction by which a correction lessens it.
_CORRECTIONS, _SMALL, _GAIN = 20, 1e-2, 0.05
# Width in voxels of the smoothing of corrections, without which they would grow where a
# displacement is rough.
_SMOOTHING = 1.0


def velocity_of(displacement):
    """Return the stationary velocity that integrates to a displacement.

    Parameters
    ----------
    displacement : ndarray, shape (*spatial, ndim)
        In voxels; without folds.

    Returns
    -------
    velocity : ndarray of float32, shape (*spatial, ndim)
        No velocity integrates to a rough displacement; this one comes close.

    Notes
    -----
    The velocity is corrected by what is left of the displacement when it is undone: the
    first term of the formula of Baker, Campbell and Hausdorff, as Bossa et al. (2007)
    use it. The corrections are smoothed, and end when they help no more.
    """
    from dipy_nn_reg.transform import compose, integrate

    displacement = np.asarray(displacement, np.float32)
    width = [_SMOOTHING] * displacement.shape[-1] + [0]
    best = velocity = displacement
    smallest = np.inf
    for _ in range(_CORRECTIONS):
        left = np.asarray(compose(integrate(-velocity), displacement))
        size = np.linalg.norm(left, axis=-1).mean()
        if size > (1 - _GAIN) * smallest:
            break
        best, smallest = velocity, size
        if np.abs(left).max() < _SMALL:
            break
        velocity = velocity + gaussian_filter(left, width, mode="nearest")
    return best


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
