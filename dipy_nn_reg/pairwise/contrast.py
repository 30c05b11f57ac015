"""Agreement of the contrasts of two images, by which a loss is chosen."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.ndimage import uniform_filter, zoom

from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.transform.functions import warp

# Largest number of voxels along an axis at which images are compared, and width of the
# windows in these voxels.
_MAX_VOXELS, _WINDOW = 96, 5
# Smallest variance of a window with structure, as a fraction of the largest one.
_MIN_VARIANCE = 0.02
# Fraction of a window that has to lie within the masks.
_INSIDE = 0.99
# Agreement, plus its errors below, above which the contrasts count as equal, by number
# of axes. Without the errors, which are 0.01 to 0.02 for brains in 3D, after an affine
# alignment of two people it is 0.86 or more for T1 images beside T1 images and FA; 0.83
# or less for T1 beside an image whose brightness rises and falls with that of T1, as
# proton density may have it; and -0.1 to 0.3 for T1 beside T2 and beside inverted T1.
# In 2D, where fewer windows count, it is 0.66 or more for T1 images, and 0.4 or less
# beside one that rises and falls.
_AGREE = {2: 0.6, 3: 0.87}
# The same in a brain that has a skull in one image alone: the outline of the brain, on
# which two stripped images agree, is not compared. It is 0.8 or more for T1 images, and
# -0.9 or less for T1 beside T2.
_AGREE_IN_BRAIN = 0.7
# Agreement from which contrasts are equal after registration by mutual information,
# which does not depend on it: it is then 0.996 or more for hippocampi of two people,
# 0.97 or less beside images that rise and fall, and -0.99 beside inverted ones.
_AGREE_REGISTERED = 0.99
# Number of standard errors that are added to an agreement, so that contrasts differ
# only where that is certain. In small images few windows count: digits of two hands
# have agreements from -0.5 to 1, at an error of 0.4.
_CERTAIN = 2


def local_agreements(pair):
    """Return how consistent the sign of the correlation in small windows is.

    Parameters
    ----------
    pair : dipy_nn_reg.mapping.pair_on_grid.PairOnGrid

    Returns
    -------
    agreements : list of (float, float)
        Two numbers for each channel.
    agreement : float
        Mean of the correlation, divided by the mean of its size, over the windows with
        structure in both images: 1 if both images are bright at the same places, -1 if
        one is bright where the other one is dark. NaN without such a window.
    error : float
        Its standard error, if windows that do not overlap are independent.
    """
    masks = pair.annotations.mask, pair.annotations.moving_mask
    masks = [mask > 0 for mask in masks if mask is not None]
    inside = np.logical_and.reduce(masks) if masks else None
    channels = zip(np.moveaxis(pair.static, -1, 0), np.moveaxis(pair.moving, -1, 0))
    return [tuple(map(float, _agreement(*images, inside))) for images in channels]


def contrasts_agree(pair):
    """Return whether both images show structures in the same order of brightness.

    They count as such, as most pairs are, unless it is certain that they do not.

    Parameters
    ----------
    pair : dipy_nn_reg.mapping.pair_on_grid.PairOnGrid

    Returns
    -------
    agree : list of bool
        For each channel.
    """
    least = _AGREE_IN_BRAIN if pair.skull else _AGREE[pair.static.ndim - 1]
    return [
        bool(np.isnan(agreement) or agreement + _CERTAIN * error > least)
        for agreement, error in local_agreements(pair)
    ]


def contrasts_agree_after(pair, displacement):
    """Return whether the contrasts of registered images are certainly equal.

    Noise, and structures apart, may hide it before.

    Parameters
    ----------
    pair : dipy_nn_reg.mapping.pair_on_grid.PairOnGrid
    displacement : ndarray, shape (*spatial, ndim)
        In voxels of the grid.

    Returns
    -------
    agree : list of bool
        For each channel.
    """
    moving = warp(pair.moving[None], displacement[None])[0]  # its background is 0
    mask = pair.annotations.moving_mask
    if mask is not None:
        inside = (mask > 0).astype(np.float32)
        mask = warp(inside, displacement, interpolation="nearest")
    annotations = Annotations(mask=pair.annotations.mask, moving_mask=mask)
    registered = pair._replace(moving=moving, annotations=annotations)
    agreements = local_agreements(registered)
    return [agreement > _AGREE_REGISTERED for agreement, _ in agreements]


def _agreement(static, moving, inside):
    images = [static, moving] if inside is None else [static, moving, inside]
    # SciPy lets several threads compute at once.
    with ThreadPoolExecutor() as pool:
        static, moving, *inside = pool.map(_shrink, images)
        products = [static, moving, static * static, moving * moving, static * moving]
        a, b, aa, bb, ab = pool.map(_window_means, products)
    variances = aa - a * a, bb - b * b
    structure = np.ones(static.shape, bool)
    # A window that reaches beyond a mask may hold a skull that one image lacks.
    for mask in inside:
        structure &= _window_means(mask) > _INSIDE
    for variance in variances:
        structure &= variance > _MIN_VARIANCE * variance.max()
    if not structure.any():
        return np.nan, np.nan
    product = variances[0][structure] * variances[1][structure]
    correlation = (ab - a * b)[structure] / np.sqrt(product)
    size = np.abs(correlation)
    agreement = correlation.mean() / size.mean()
    # Error of a ratio of means, by its linear part.
    apart = max(1, correlation.size / _WINDOW**static.ndim)
    deviation = np.sqrt(np.mean((correlation - agreement * size) ** 2) / apart)
    return agreement, deviation / size.mean()


def _window_means(image):
    return uniform_filter(image, _WINDOW)


def _shrink(image):
    """Return an image in float64 of at most ``_MAX_VOXELS`` along each axis."""
    factor = _MAX_VOXELS / max(image.shape)
    image = image.astype(np.float64)
    if factor >= 1:
        return image
    width = int(np.ceil(1 / factor))
    # An axis of few voxels keeps one.
    factors = [max(factor, 1 / size) for size in image.shape]
    return zoom(uniform_filter(image, width), factors, order=1)
