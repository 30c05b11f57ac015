"""Measures of a map, whatever made it."""

import numpy as np

from dipy_nn_reg import metrics
from dipy_nn_reg.mapping.grid import static_grid
from dipy_nn_reg.mapping.maps import displacement_of
from dipy_nn_reg.mapping.resampling import inverse_error


def measure_field(mapping, *, roughness=True):
    """Return folding in percent, SDlogJ, and lengths and inverse error in mm.

    SDlogJ is not a number for images of less than five voxels along an axis.

    Parameters
    ----------
    mapping : dipy.align.imwarp.DiffeomorphicMap
        In 2D or 3D, perhaps of one slice along any axis.
    roughness : bool, optional
        Whether SDlogJ is wanted.

    Returns
    -------
    row : dict of float
    """
    displacement = metrics.in_plane(displacement_of(mapping))
    lengths = np.sqrt(np.einsum("...d,...d->...", mapping.backward, mapping.backward))
    determinant = metrics.jacobian_determinant(displacement)
    row = {"folding": 100 * float(np.mean(metrics.is_folded(determinant)))}
    if roughness:
        # Learn2Reg leaves out two voxels on each side: of few slices, none is left.
        thin = min(displacement.shape[:-1]) < 5
        row["sd_log_jacobian"] = np.nan if thin else metrics.sd_log(determinant)
    return {
        **row,
        "mean_displacement_mm": float(lengths.mean()),
        "largest_displacement_mm": float(lengths.max()),
        "inverse_error_mm": inverse_error([mapping], static_grid(mapping)),
    }
