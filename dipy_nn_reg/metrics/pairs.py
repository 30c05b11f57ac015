"""Measures of one registered pair of images."""

import numpy as np

from dipy_nn_reg.metrics.fields import folding
from dipy_nn_reg.metrics.images import check_same_shape, ncc


def measure_pair(static, warped, displacement, *, moving=None):
    """Return the correlation of the images and the folding of the field.

    Parameters
    ----------
    static, warped : ndarray, shape (*spatial,) or (*spatial, channels)
    displacement : ndarray, shape (*spatial, ndim)
        In voxels; at least two voxels along each axis.
    moving : ndarray, shape as ``static``, optional
        The image before registration, on the grid of the static image.

    Returns
    -------
    row : dict of float
        ``ncc_before``, the correlation of the static and the moving image, if that is
        passed; ``ncc_after``, that of the static and the warped image, see
        :func:`~dipy_nn_reg.metrics.ncc`, the mean over channels; ``folding`` and
        ``strict_folding`` in percent of the voxels, see
        :func:`~dipy_nn_reg.metrics.folding`.

    Raises
    ------
    ValueError
        As :func:`~dipy_nn_reg.metrics.ncc` and :func:`~dipy_nn_reg.metrics.folding`.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.eye(3)
    >>> row = measure_pair(image, image, np.zeros((3, 3, 2)), moving=image[::-1])
    >>> row["ncc_before"] < row["ncc_after"], row["folding"], row["strict_folding"]
    (True, 0.0, 0.0)
    """
    has_channels = np.ndim(static) == np.ndim(displacement)
    correlation = _ncc_of_channels if has_channels else ncc
    before = {} if moving is None else {"ncc_before": correlation(static, moving)}
    return {
        **before,
        "ncc_after": correlation(static, warped),
        "folding": folding(displacement),
        "strict_folding": folding(displacement, strict=True),
    }


def _ncc_of_channels(static, other):
    """Return the mean correlation of the channels, whose intensities differ."""
    static, other = check_same_shape(static, other)
    channels = range(static.shape[-1])
    return float(np.mean([ncc(static[..., c], other[..., c]) for c in channels]))
