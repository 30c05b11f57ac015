"""Random displacements: affine motion plus a smooth B-spline field."""

from keras import ops
import numpy as np

from dipy_nn_reg.backend import compiled
from dipy_nn_reg.transform.control_points import bspline
from dipy_nn_reg.transform.sampling import voxel_grid

# Spacing of the control points as a fraction of the longest axis, and standard
# deviation of their displacement as a fraction of that spacing: roughly the variation
# between people, and small enough that the field does not fold.
_SPACING, _MOTION = 1 / 6, 0.15
# Standard deviation of the entries of the affine matrix, and of its translation as a
# fraction of the longest axis.
_LINEAR, _TRANSLATION = 0.03, 0.01


def random_displacements(shape, rng):
    """Return a random displacement for each image: affine plus smooth B-spline.

    Parameters
    ----------
    shape : tuple of int
        Number of images, and their spatial shape: (n, *spatial).
    rng : numpy.random.Generator

    Returns
    -------
    displacement : ndarray, shape (n, *spatial, ndim)
        Float32, in voxels.
    """
    n, *spatial = shape
    ndim, longest = len(spatial), max(spatial)
    spacing = max(2, round(_SPACING * longest))
    points = [-(-size // spacing) for size in spatial]
    parts = (
        _MOTION * spacing * rng.normal(size=(n, *points, ndim)),
        _LINEAR * rng.normal(size=(n, ndim, ndim)),
        _TRANSLATION * longest * rng.normal(size=(n, ndim)),
    )
    parts = [part.astype(np.float32) for part in parts]
    return ops.convert_to_numpy(_displace(*parts, tuple(spatial), spacing))


@compiled
def _displace(motion, linear, translation, spatial, spacing):
    centre = ops.convert_to_tensor([(size - 1) / 2 for size in spatial], "float32")
    offset = voxel_grid(spatial) - centre
    affine = ops.einsum("...j,nij->n...i", offset, linear)
    affine += ops.reshape(translation, (-1, *[1] * len(spatial), len(spatial)))
    return bspline(motion, spatial, spacing) + affine
