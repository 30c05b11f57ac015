"""What is measured of a map, whatever made it."""

import numpy as np

from dipy_nn_reg import metrics
from dipy_nn_reg.mapping import mapping_to_displacement, world_affine
from dipy_nn_reg.resampling import inverse_error


def measure_field(mapping):
    """Return folding in percent, SDlogJ, and lengths and inverse error in mm.

    SDlogJ is not a number for images of less than five voxels along an axis.

    Parameters
    ----------
    mapping : dipy.align.imwarp.DiffeomorphicMap
        In 2D or 3D, perhaps of one slice.

    Returns
    -------
    row : dict of float
    """
    displacement, _ = mapping_to_displacement(mapping)
    shape = displacement.shape[:-1]
    if shape[2:] == (1,):
        displacement = displacement[:, :, 0, :2]
    affine = world_affine(mapping.codomain_grid2world, mapping.dim)
    # Learn2Reg leaves out two voxels on each side: of few slices, none is left.
    thin = min(displacement.shape[:-1]) < 5
    field = mapping.backward
    lengths = np.sqrt(np.einsum("...d,...d->...", field, field))
    determinant = metrics.jacobian_determinant(displacement)
    return {
        "folding": 100 * float(np.mean(metrics.is_folded(determinant))),
        "sd_log_jacobian": np.nan if thin else metrics.sd_log(determinant),
        "mean_displacement_mm": float(lengths.mean()),
        "largest_displacement_mm": float(lengths.max()),
        "inverse_error_mm": inverse_error([mapping], shape, affine),
    }
