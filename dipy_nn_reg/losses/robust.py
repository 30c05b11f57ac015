"""Local correlation that leaves out the windows without a counterpart."""

import keras
from keras import ops

from dipy_nn_reg.backend import compiled
from dipy_nn_reg.checks import check_number
from dipy_nn_reg.losses.averages import masked_mean
from dipy_nn_reg.losses.images import correlation_of_means, lncc, local_means
from dipy_nn_reg.transform.tensors import check_image_pair

# Product of the variances of both images in a window, from 0 to 1, above which the
# window has contrast: standard deviations of 0.02. Noise in air has less.
_CONTRAST = 0.02**4
# Number of bisections of the correlation that separates what is left out.
_BISECTIONS = 16


@keras.saving.register_keras_serializable(package="dipy_nn_reg")
def robust_lncc(static, warped, *, mask=None, window=5, trim=0.2):
    """Return one minus the squared correlation of windows, without the lowest ones.

    A lesion or a resection in one image has no counterpart in the other. Its windows
    correlate least, and do not contribute.

    Parameters
    ----------
    static, warped : tensor, shape (batch, *spatial, channels)
    mask : tensor, shape (batch, *spatial, 1), optional
        As for :func:`~dipy_nn_reg.losses.lncc`.
    window : int, optional
        As for :func:`~dipy_nn_reg.losses.lncc`.
    trim : float, optional
        Share of the windows with contrast that is left out, from 0 to less than 1.

    Returns
    -------
    loss : tensor, shape (batch,)
        From 0 to 1. The squared correlation of the windows that are left out counts
        as 0, and so does that of windows without contrast that correlate less than all
        others. With ``trim=0`` it is :func:`~dipy_nn_reg.losses.lncc`.

    Raises
    ------
    ValueError
        If the window is not odd, or larger than the longest axis, or if ``trim`` is
        not in its range.

    Notes
    -----
    Least trimmed squares :footcite:p:`Rousseeuw1984`, for correlations: the windows
    are chosen anew whenever the loss is computed. A window has contrast if the product
    of the standard deviations of both images in it is above 0.02 squared, where both
    images range from 0 to 1.

    References
    ----------
    .. footbibliography::
    """
    static, warped, mask = check_image_pair(static, warped, mask)
    check_number("trim", trim, or_zero=True)
    if trim >= 1:
        raise ValueError(f"Expected trim to be less than 1. Received trim={trim!r}.")
    if not trim:
        return lncc(static, warped, mask=mask, window=window)
    means, epsilon = local_means(static, warped, mask, window)
    squared = correlation_of_means(*means, 0 * epsilon, 0 * epsilon, epsilon)
    limit = _limit(squared, means[:-1], mask, float(trim))
    kept = ops.cast(squared >= ops.stop_gradient(limit), "float32")
    return 1 - masked_mean(squared * kept, mask)


@compiled
def _limit(squared, means, mask, trim):
    """Return the correlation below which a share of the windows lies, (batch, 1, ...).

    Bisection takes a fraction of the time of sorting.
    """
    a, b, aa, bb = means
    contrast = ops.maximum(aa - a * a, 0) * ops.maximum(bb - b * b, 0)
    weights = ops.cast(contrast > _CONTRAST, "float32")
    weights = weights if mask is None else weights * mask
    axes = tuple(range(1, len(squared.shape)))
    total = ops.sum(weights, axis=axes, keepdims=True)
    low = ops.zeros_like(total)
    for i in range(_BISECTIONS):
        middle = low + 0.5 ** (i + 1)
        below = ops.cast(squared < middle, "float32") * weights
        share = ops.sum(below, axis=axes, keepdims=True)
        low = ops.where(share <= trim * total, middle, low)
    # Without contrast anywhere, nothing is left out.
    return ops.where(total > 0, low, ops.zeros_like(low))
