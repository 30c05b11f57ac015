"""Distortion of EPI: its field, from an undistorted image of another contrast."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from dipy_nn_reg.diffusion.correction import correct_distortion
from dipy_nn_reg.diffusion.distortion_descent import descend
from dipy_nn_reg.diffusion.distortion_levels import bring_to, make_levels
from dipy_nn_reg.diffusion.pair_checks import (
    along,
    check_pair,
    scale_of,
    without_noise_floor,
)
from dipy_nn_reg.diffusion.profiles import Profiles, place

# Weight of the squared slopes of the field at a smoothness of 1: more than for a pair
# of one contrast, since two contrasts leave more errors.
_WEIGHT = 0.03
# Number of times that intensities are predicted anew at each level.
_ROUNDS = 6
# Number of bins of intensities of the reference, and the largest one of them, in units
# of a bright intensity.
_BINS, _LARGEST = 64, 1.5


def estimate_distortion_to(image, reference, *, axis, smoothness=1.0):
    """Estimate the field that distorts an image, from an undistorted image.

    Parameters
    ----------
    image : ndarray, shape (*spatial,)
        Distorted image of sign 1, in 2D or 3D, with a background of 0 or noise.
    reference : ndarray, shape (*spatial,)
        Undistorted image of the same head in any contrast, on the same grid and
        aligned: T1, T2 or a b0 that is synthesised.
    axis : int
        Axis of the phase encoding, from 0.
    smoothness : float, optional
        Factor of the weight of the smoothness of the field.

    Returns
    -------
    field : ndarray, float32, shape (*spatial,)
        Displacement of ``image`` in voxels along the axis, as
        :func:`~dipy_nn_reg.diffusion.distortion.estimate_distortion` returns it.

    Raises
    ------
    ValueError, MemoryError
        As :func:`~dipy_nn_reg.diffusion.distortion.estimate_distortion`.

    Notes
    -----
    The mean intensity of the corrected image where the reference has some intensity
    predicts the image without distortion. The field is fitted to this prediction, and
    the prediction to the field, in turn: what they leave is the correlation ratio
    :footcite:p:`Roche1998`. Where tissues look alike in the reference, errors stay; a
    pair with opposite phase encoding is several times as exact.

    References
    ----------
    .. footbibliography::
    """
    names = ("image", image), ("reference", reference)
    image, reference = check_pair(*names, axis, smoothness)
    image = without_noise_floor(image)
    scales = scale_of(image), scale_of(reference)
    if 0 in scales:
        return np.zeros(image.shape, np.float32)
    levels = make_levels(
        along(image, axis, scales[0]), along(reference, axis, scales[1])
    )
    field = np.zeros(levels[0].up.shape, np.float32)
    factors = levels[0].factors
    for level in levels:
        field = bring_to(level, field, factors)
        factors = level.factors
        weights = level.weights(_WEIGHT * smoothness)
        profiles = Profiles(level.up)
        for _ in range(_ROUNDS):
            corrected = correct_distortion(level.up, field, axis=0)
            still = _Still(_predict(corrected, level.down))
            field = descend((profiles, still), field, weights)
    return np.ascontiguousarray(np.moveaxis(field, 0, axis))


class _Still:
    """Profiles of an image that no field distorts, in place of a second image."""

    def __init__(self, image):
        positions = np.broadcast_to(place(image.shape), image.shape)
        self._integrals, _ = Profiles(image).read(positions)
        self._nothing = np.zeros_like(image)

    def read(self, positions):
        """Return the integrals up to each voxel, and 0: no position changes them."""
        return self._integrals, self._nothing


def _predict(image, reference):
    """Return the mean of an image where a reference has the intensity of each voxel."""
    position = np.clip(reference * np.float32((_BINS - 1) / _LARGEST), 0, _BINS - 1)
    lower = np.minimum(position.astype(np.intp), _BINS - 2)
    upper = (position - lower).astype(np.float32)
    sums = []
    for values in (image, np.ones_like(image)):
        below = np.bincount(lower.ravel(), ((1 - upper) * values).ravel(), _BINS)
        above = np.bincount(lower.ravel() + 1, (upper * values).ravel(), _BINS)
        sums.append(gaussian_filter1d(below + above, 1, mode="constant"))
    means = (sums[0] / np.maximum(sums[1], 1e-6)).astype(np.float32)
    return means[lower] * (1 - upper) + means[lower + 1] * upper
