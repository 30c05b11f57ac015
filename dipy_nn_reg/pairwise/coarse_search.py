"""Exhaustive search for large motion between coarse images.

Gradient descent finds the nearest match, which is wrong if structures are displaced by
more than their size. Here every displacement of a few coarse voxels is tried at each
voxel, before any descent.
"""

from itertools import product

from keras import ops
import numpy as np
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.annotations import NO_ANNOTATIONS
from dipy_nn_reg.losses.self_similarity import descriptors
from dipy_nn_reg.transform.pyramid import shrink

# Largest displacement along each axis, in coarse voxels.
_REACH = 3
# Weight of the squared distance between the displacement of a voxel and the smooth
# field, in each round; costs are divided by their standard deviation.
_COUPLINGS = (0.03, 0.2, 1.5, 10.0)
# Standard deviation of the Gaussian that smooths the field, in coarse voxels.
_SIGMA = 1.0
# Radius and dilation of the descriptors, in voxels of the images that they describe.
_RADIUS, _DILATION = 1, 2


def search_displacement(moving, static, level, annotations=NO_ANNOTATIONS):
    """Return a smooth displacement that makes coarse images similar.

    The images are compared by self-similarity, so their contrast may differ.

    Parameters
    ----------
    moving, static : tensor, shape (1, *spatial, channels)
    level : int
        Factor by which the images are shrunk: 2 or a higher power of 2.
    annotations : Annotations, optional
        Masks of shape (1, *spatial, 1). Voxels outside of ``mask``, or where
        ``moving_mask`` is 0 without a displacement, have no cost. A displacement to
        voxels outside of ``moving_mask`` has the mean cost of the other displacements:
        it is neither sought nor avoided.

    Returns
    -------
    displacement : ndarray, float32, shape (1, *coarse, ndim)
        In coarse voxels.

    Notes
    -----
    Two steps alternate: each voxel takes the displacement of lowest cost, to which the
    distance from a smooth field is added; then the smooth field is made from these
    displacements. The weight of the distance rises from round to round. See
    :footcite:t:`Heinrich2014`, and :footcite:t:`Siebert2021`, who also continue by
    gradient descent.

    References
    ----------
    .. footbibliography::
    """
    ndim = len(static.shape) - 2
    features = [_features(image, level) for image in (moving, static)]
    steps = range(-_REACH, _REACH + 1)
    offsets = np.array(list(product(steps, repeat=ndim)), np.float32)
    costs = _costs(*features, offsets.astype(int))
    if annotations.moving_mask is not None:
        _neutralize(costs, _coarse(annotations.moving_mask, level), offsets.astype(int))
    if annotations.mask is not None:
        costs *= _coarse(annotations.mask, level)
    costs /= max(costs.std(), 1e-10)
    field = np.zeros((*costs.shape[:-1], ndim), np.float32)
    lengths = np.square(offsets).sum(axis=-1)
    for coupling in _COUPLINGS:
        # Squared distance to the field, without a term that is equal for all offsets.
        distances = lengths - 2 * field @ offsets.T
        field = offsets[np.argmin(costs + coupling * distances, axis=-1)]
        field = gaussian_filter(field, (*[_SIGMA] * ndim, 0), mode="nearest")
    return field[None]


def _features(image, level):
    """Return descriptors of an image at twice the resolution, then averaged."""
    features = descriptors(shrink(image, level // 2), _RADIUS, _DILATION)
    return ops.convert_to_numpy(shrink(features, 2))[0]


def _coarse(mask, level):
    return ops.convert_to_numpy(shrink(mask, level))[0]


def _costs(moving, static, offsets):
    """Return the squared differences for each offset, shape (*coarse, offsets)."""
    costs = np.empty((*static.shape[:-1], len(offsets)), np.float32)
    for i, shifted in enumerate(_shifted(moving, offsets, mode="edge")):
        difference = shifted - static
        costs[..., i] = np.einsum("...c,...c->...", difference, difference)
    return costs


def _neutralize(costs, moving_mask, offsets):
    """Give offsets that lead out of the moving mask the mean cost of the others.

    Voxels outside of it get no cost: of the few offsets that lead back into it, one
    would be better than their mean.
    """
    inside = np.empty(costs.shape, np.float32)
    for i, shifted in enumerate(_shifted(moving_mask, offsets, mode="constant")):
        inside[..., i] = shifted[..., 0]
    total = inside.sum(axis=-1, keepdims=True)
    mean = (costs * inside).sum(axis=-1, keepdims=True) / np.maximum(total, 1e-6)
    costs += (1 - inside) * (mean - costs)
    costs *= moving_mask


def _shifted(moving, offsets, mode):
    """Yield an image shifted by each offset, with its border continued."""
    shape = moving.shape[:-1]
    padded = np.pad(moving, [*[(_REACH, _REACH)] * len(shape), (0, 0)], mode=mode)
    for offset in offsets:
        window = (slice(_REACH + o, _REACH + o + n) for o, n in zip(offset, shape))
        yield padded[tuple(window)]
