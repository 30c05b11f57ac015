"""Distortion of EPI: its field, from two images with opposite phase encoding.

The field ``b`` is the displacement in voxels along one axis of the array, on the grid
of the undistorted image. An image of sign ``s`` shows the tissue of voxel ``x`` at
``x + s b(x)``, and its intensities pile up where the tissue is compressed:
``undistorted(x) = image(x + s b(x)) (1 + s db/dx)``.
"""

import numpy as np

from dipy_nn_reg.checks import check_real
from dipy_nn_reg.diffusion.distortion_descent import descend
from dipy_nn_reg.diffusion.distortion_levels import bring_to, make_levels
from dipy_nn_reg.diffusion.motion import descend_with_motion
from dipy_nn_reg.diffusion.pair_checks import (
    along,
    balanced,
    check_pair,
    scale_of,
    without_noise_floor,
)
from dipy_nn_reg.diffusion.profiles import Profiles

# Weight of the squared slopes of the field at a smoothness of 1, for intensities up
# to 1: the largest one with the smallest error on phantoms, see doc/distortion.rst.
_WEIGHT = 0.003
# Number of improvements of a motion at each level but the finest.
_ROUNDS = 2


def estimate_distortion(up, down, *, axis, smoothness=1.0):
    """Estimate the field that distorts two images with opposite phase encoding.

    Parameters
    ----------
    up, down : ndarray, shape (*spatial,)
        Images of sign 1 and -1, in 2D or 3D, of the same object and in the same scale;
        a difference of more than a tenth is undone, with a warning.
        Their background is 0, or noise of a magnitude, whose mean square is taken off.
    axis : int
        Axis of the phase encoding, from 0.
    smoothness : float, optional
        Factor of the weight of the smoothness of the field. Noisy images need more.

    Returns
    -------
    field : ndarray, float32, shape (*spatial,)
        Displacement of ``up`` in voxels along the axis. Its slope along the axis is
        between -1 and 1, so that neither image folds.

    Raises
    ------
    ValueError
        If the images differ in shape, have values that are not finite, or have other
        than two or three axes; if there is no such axis, or it has one voxel; if one
        image alone is empty.
    MemoryError
        If more memory is needed than is available.

    Notes
    -----
    The sum of squared differences of both images, corrected, and the squared slopes of
    the field are minimised by Gauss-Newton steps from coarse to fine, as
    :footcite:t:`Ruthotto2012` and :footcite:t:`Macdonald2018` propose, with a barrier
    that keeps the field from folding. The images are compared by their integrals
    between neighbours, so that what one voxel gains another one loses.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> up = np.zeros((24, 24), np.float32)
    >>> up[9:15, 9:15] = 1
    >>> field = estimate_distortion(np.roll(up, 1, 0), np.roll(up, -1, 0), axis=0)
    >>> round(float(field[12, 12]), 1)
    1.0
    """
    return _estimate(up, down, axis, smoothness)[0]


def estimate_distortion_and_motion(up, down, *, axis, voxel_sizes=None, smoothness=1.0):
    """Estimate the field that distorts two images, and how the object moved between.

    Parameters
    ----------
    up, down : ndarray, shape (*spatial,)
        As for :func:`estimate_distortion`.
    axis : int
        Axis of the phase encoding, from 0.
    voxel_sizes : sequence of float, optional
        Size of a voxel along each axis. By default all are equal.
    smoothness : float, optional
        As for :func:`estimate_distortion`.

    Returns
    -------
    field : ndarray, float32, shape (*spatial,)
        As from :func:`estimate_distortion`, where the object is in ``up``.
    motion : ndarray, float64, shape (ndim + 1, ndim + 1)
        From voxels of ``up`` to those of ``down``, both undistorted: rigid, of a few
        degrees and voxels.

    Raises
    ------
    ValueError, MemoryError
        As :func:`estimate_distortion`, or if the sizes are not positive numbers.

    Notes
    -----
    A shift along the axis cannot be told from a constant field: it is left in the
    field. The field is taken to move with the object, and its direction is taken to
    stay, which holds for small rotations.
    """
    ndim = np.ndim(up)
    sizes = np.ones(ndim) if voxel_sizes is None else check_real("sizes", voxel_sizes)
    if sizes.shape != (ndim,) or not np.all(np.isfinite(sizes) & (sizes > 0)):
        raise ValueError(
            f"Expected voxel_sizes to be {ndim} positive numbers. Received "
            f"{voxel_sizes!r}."
        )
    return _estimate(up, down, axis, smoothness, sizes.astype(np.float64))


def _estimate(up, down, axis, smoothness, sizes=None):
    """Return the field, and the motion if there are sizes of voxels."""
    pair = check_pair(("up", up), ("down", down), axis, smoothness)
    up, down = balanced(*(without_noise_floor(image) for image in pair))
    motion = np.eye(up.ndim + 1)
    scale = scale_of(up, down)
    if scale == 0:
        return np.zeros(up.shape, np.float32), motion
    levels = make_levels(*(along(image, axis, scale) for image in (up, down)))
    field = np.zeros(levels[0].up.shape, np.float32)
    order = [axis, *(d for d in range(up.ndim) if d != axis)]
    factors = levels[0].factors
    for level in levels:
        field = bring_to(level, field, factors)
        factors = level.factors
        weights = level.weights(_WEIGHT * smoothness)
        if sizes is None:
            pair = Profiles(level.up), Profiles(level.down)
            field = descend(pair, field, weights)
            continue
        rounds = 1 if level is levels[-1] else _ROUNDS
        options = {"sizes": sizes[order], "rounds": rounds}
        field, motion = descend_with_motion(level, field, motion, weights, **options)
    back = [*np.argsort(order), up.ndim]
    field = np.ascontiguousarray(np.moveaxis(field, 0, axis))
    return field, motion[np.ix_(back, back)]
