"""Conventions of programs for tensors and directions: order of values, and axes.

==========  ==============================  ========================================
convention  order of a tensor               axes
==========  ==============================  ========================================
dipy        xx, xy, yy, xz, yz, zz          those of the b-vectors
fsl         xx, xy, xz, yy, yz, zz          those of the b-vectors
mrtrix      xx, yy, zz, xy, xz, yz          world coordinates, RAS+
itk         xx, xy, yy, xz, yz, zz          world coordinates, LPS+
==========  ==============================  ========================================

The order of "dipy" is that of the lower triangle, which NIfTI and ANTs have as well;
DIPY's command writes tensors in that of "fsl" if it is told ``--nifti_tensor False``.
B-vectors are along the voxel axes, with the sign of the first one changed if the
determinant of the affine is positive.
"""

import numpy as np

from dipy_nn_reg.mapping.bvecs import gradient_axes
from dipy_nn_reg.symmetric import PLACES

# Index in the six values of each entry of the symmetric matrix.
ORDERS = {
    "dipy": PLACES,
    "fsl": ((0, 1, 2), (1, 3, 4), (2, 4, 5)),
    "mrtrix": ((0, 3, 4), (3, 1, 5), (4, 5, 2)),
    "itk": PLACES,
}
CONVENTIONS = tuple(ORDERS)
_LPS = np.diag([-1.0, -1.0, 1.0])


def axes_of(convention, affine):
    """Return the world directions of the axes of a convention, as columns.

    Parameters
    ----------
    convention : str
        One of :data:`CONVENTIONS`.
    affine : ndarray, shape (4, 4)
        Of the image.

    Returns
    -------
    axes : ndarray, shape (3, 3)
        Orthogonal.
    """
    if convention in ("dipy", "fsl"):
        return gradient_axes(affine, "affine")
    return _LPS if convention == "itk" else np.eye(3)
