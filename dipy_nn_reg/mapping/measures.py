"""Measures of a map, by any registration."""

import numpy as np

from dipy_nn_reg import metrics
from dipy_nn_reg.mapping.grid import static_grid
from dipy_nn_reg.mapping.maps import displacement_of
from dipy_nn_reg.mapping.points import inverse_error


def measure_field(mapping, *, roughness=True):
    """Return the folding, roughness, displacement and inverse error of a map.

    Parameters
    ----------
    mapping : dipy.align.imwarp.DiffeomorphicMap
        Map in 2D or 3D, or of one slice along any axis.
    roughness : bool, optional
        Whether to compute SDlogJ.

    Returns
    -------
    row : dict of float
        ``folding`` in percent of the voxels; ``sd_log_jacobian``, NaN for images of
        fewer than five voxels along an axis; ``mean_displacement_mm``,
        ``largest_displacement_mm`` and ``inverse_error_mm``.
    """
    displacement = metrics.in_plane(displacement_of(mapping))
    lengths = lengths_of(mapping.backward)
    determinant = metrics.jacobian_determinant(displacement)
    row = {"folding": 100 * float(np.mean(metrics.is_folded(determinant)))}
    if roughness:
        row["sd_log_jacobian"] = _sd_log(determinant)
    return {
        **row,
        "mean_displacement_mm": float(lengths.mean()),
        "largest_displacement_mm": float(lengths.max()),
        "inverse_error_mm": inverse_error([mapping], static_grid(mapping)),
    }


def roughness_of(mapping):
    """Return SDlogJ of a map, as :func:`measure_field` does, without the rest."""
    displacement = metrics.in_plane(displacement_of(mapping))
    return _sd_log(metrics.jacobian_determinant(displacement))


def lengths_of(displacement, affine=None):
    """Return the lengths of vectors, in mm if an affine converts them from voxels.

    Parameters
    ----------
    displacement : ndarray, shape (*spatial, ndim)
    affine : ndarray, shape (ndim + 1, ndim + 1), optional
        Affine of the static grid, for a displacement in voxels.

    Returns
    -------
    lengths : ndarray, shape (*spatial,)
    """
    dtype = np.result_type(displacement.dtype, np.float32)
    displacement = displacement.astype(dtype, copy=False)
    if affine is not None:
        displacement = displacement @ np.asarray(affine, dtype)[:-1, :-1].T
    return np.sqrt(np.einsum("...d,...d->...", displacement, displacement))


def _sd_log(determinant):
    # Learn2Reg leaves out two voxels on each side, so few slices leave none.
    return np.nan if min(determinant.shape) < 5 else metrics.sd_log(determinant)
