"""Images that are computed from a DWI series: its b0, brain, tensors and anisotropy."""

import numpy as np
from scipy.ndimage import binary_closing, binary_fill_holes

from dipy_nn_reg.checks import check_name

# What of a series can be registered.
IMAGES = ("b0", "fa")
# Half of the width in voxels of clefts that are filled in the mask of a brain.
_CLEFT = 3


def mean_b0(data, gtab):
    """Return the mean of the volumes without weighting: float32, shape (*spatial,)."""
    return np.asarray(data[..., gtab.b0s_mask], np.float32).mean(axis=-1)


def brain_mask(b0):
    """Return a mask of the brain by DIPY's median_otsu, or of all if it finds none.

    Clefts of a few voxels and holes are filled: dark tissue is not left out.

    Parameters
    ----------
    b0 : ndarray, shape (x, y, z)

    Returns
    -------
    mask : ndarray of bool, shape (x, y, z)
    """
    from dipy.segment.mask import median_otsu

    if b0.min() == b0.max():
        return np.ones(b0.shape, bool)
    _, mask = median_otsu(b0, median_radius=2, numpass=2)
    # A margin lets the closing reach the faces of the image.
    wide = np.pad(mask, _CLEFT)
    wide = binary_fill_holes(binary_closing(wide, iterations=_CLEFT))
    mask = wide[(slice(_CLEFT, -_CLEFT),) * 3]
    return mask if mask.any() else np.ones(b0.shape, bool)


def check_for_tensors(gtab):
    """Raise ValueError unless gradients determine tensors.

    Parameters
    ----------
    gtab : dipy.core.gradients.GradientTable
    """
    from dipy.reconst.dti import design_matrix

    unknown = 7  # six of a tensor, and the signal without weighting
    rank = np.linalg.matrix_rank(design_matrix(gtab))
    if rank < unknown:
        raise ValueError(
            f"Expected gradients in six directions or more, which determine tensors. "
            f"Received a series that determines {rank} of {unknown} values."
        )


def fit_tensors(data, gtab, mask):
    """Fit diffusion tensors by weighted least squares, with DIPY.

    Parameters
    ----------
    data : ndarray, shape (x, y, z, volumes)
    gtab : dipy.core.gradients.GradientTable
    mask : ndarray of bool, shape (x, y, z)

    Returns
    -------
    tensors : ndarray of float32, shape (x, y, z, 6)
        In DIPY's order, see :mod:`dipy_nn_reg.diffusion.conventions`; 0 outside of the
        mask.

    Raises
    ------
    ValueError
        As :func:`check_for_tensors`.
    """
    from dipy.reconst.dti import TensorModel, lower_triangular

    check_for_tensors(gtab)
    fit = TensorModel(gtab).fit(data, mask=mask)
    tensors = lower_triangular(fit.quadratic_form).astype(np.float32)
    tensors[~mask] = 0
    return tensors


def anisotropy_of(tensors):
    """Return the fractional anisotropy of tensors: float32, shape (*spatial,).

    Parameters
    ----------
    tensors : ndarray, shape (*spatial, 6)
        In DIPY's order.
    """
    from dipy.reconst.dti import fractional_anisotropy, from_lower_triangular

    values = np.linalg.eigvalsh(from_lower_triangular(tensors))
    return np.nan_to_num(fractional_anisotropy(values.clip(0))).astype(np.float32)


def image_of_series(data, gtab, *, image="b0", mask=None, with_tensors=False):
    """Return the image of a series that is registered, its mask, and tensors if fitted.

    Parameters
    ----------
    data : ndarray, shape (x, y, z, volumes)
    gtab : dipy.core.gradients.GradientTable
    image : {"b0", "fa"}, optional
    mask : ndarray, shape (x, y, z), optional
        By default that of :func:`brain_mask`.
    with_tensors : bool, optional
        Fit tensors even if the image does not need them.

    Returns
    -------
    values : ndarray of float32, shape (x, y, z)
        0 outside of the mask.
    mask : ndarray of bool, shape (x, y, z)
    tensors : ndarray or None
        As :func:`fit_tensors` returns them, if they were fitted.

    Raises
    ------
    ValueError
        If the image has no such name, the mask is of another shape, the image is
        constant within it, or the gradients do not determine tensors.
    """
    check_name("image", image, IMAGES)
    b0 = mean_b0(data, gtab)
    mask = brain_mask(b0) if mask is None else np.asarray(mask) > 0
    if mask.shape != b0.shape:
        raise ValueError(
            f"Expected a mask of shape {b0.shape}, as a volume. Received {mask.shape}."
        )
    fits = with_tensors or image == "fa"
    tensors = fit_tensors(data, gtab, mask) if fits else None
    values = anisotropy_of(tensors) if image == "fa" else b0
    values = np.where(mask, values, np.float32(0))
    if values.min() == values.max():
        raise ValueError("Expected a series of some contrast. Received a constant one.")
    return values, mask, tensors
