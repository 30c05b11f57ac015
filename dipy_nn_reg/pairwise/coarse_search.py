"""Find large motion between coarse images by trying all that is possible.

Going down a gradient finds the nearest match, which is a wrong one where structures
are apart by more than their size. Here every displacement of a few coarse voxels is
tried at each voxel, before any descent.
"""

from itertools import product

from keras import ops
import numpy as np
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.losses.self_similarity import descriptors
from dipy_nn_reg.transform.pyramid import shrink

# Farthest displacement along each axis, in coarse voxels.
_REACH = 3
# How strongly a voxel is drawn to the smooth field, round after round; the cost of a
# displacement has a standard deviation of one. And how smooth that is, in voxels.
_COUPLINGS, _SMOOTH = (0.03, 0.2, 1.5, 10.0), 1.0
# Of the descriptors, in voxels of the images that they are made of.
_RADIUS, _DILATION = 1, 2


def search_displacement(moving, static, level, mask=None):
    """Return a smooth displacement under which coarse images are alike.

    They are compared by self-similarity, so that their contrast may differ.

    Parameters
    ----------
    moving, static : tensor, shape (1, *spatial, channels)
    level : int
        2 or another power of it: what the images are shrunk by.
    mask : tensor, shape (1, *spatial, 1), optional
        Outside of it the static image counts for nothing.

    Returns
    -------
    displacement : ndarray, float32, shape (1, *coarse, ndim)
        In coarse voxels.

    Notes
    -----
    Each voxel takes the displacement that is best for it alone and not far from a
    smooth field, which then follows: in turns, ever closer to each other. See
    :footcite:t:`Heinrich2014`, and :footcite:t:`Siebert2021`, who go on from it as we
    do.

    References
    ----------
    .. footbibliography::
    """
    ndim = len(static.shape) - 2
    features = [_features(image, level) for image in (moving, static)]
    steps = range(-_REACH, _REACH + 1)
    offsets = np.array(list(product(steps, repeat=ndim)), np.float32)
    costs = _costs(*features, offsets.astype(int))
    if mask is not None:
        costs *= ops.convert_to_numpy(shrink(mask, level))[0]
    costs /= max(costs.std(), 1e-10)
    field = np.zeros((*costs.shape[:-1], ndim), np.float32)
    lengths = np.square(offsets).sum(axis=-1)
    for coupling in _COUPLINGS:
        # The squared distance to the field, but for a part that is the same for all.
        far = lengths - 2 * field @ offsets.T
        field = offsets[np.argmin(costs + coupling * far, axis=-1)]
        field = gaussian_filter(field, (*[_SMOOTH] * ndim, 0), mode="nearest")
    return field[None]


def _features(image, level):
    """Describe an image of twice the resolution, and average: it costs little."""
    described = descriptors(shrink(image, level // 2), _RADIUS, _DILATION)
    return ops.convert_to_numpy(shrink(described, 2))[0]


def _costs(moving, static, offsets):
    """Return how much voxels differ for each offset, shape (*coarse, offsets)."""
    shape = static.shape[:-1]
    moving = np.pad(moving, [*[(_REACH, _REACH)] * len(shape), (0, 0)], mode="edge")
    costs = np.empty((*shape, len(offsets)), np.float32)
    for i, offset in enumerate(offsets):
        window = tuple(slice(_REACH + o, _REACH + o + n) for o, n in zip(offset, shape))
        difference = moving[window] - static
        costs[..., i] = np.einsum("...c,...c->...", difference, difference)
    return costs
