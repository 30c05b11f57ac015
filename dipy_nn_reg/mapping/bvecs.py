"""Rotation of diffusion gradient directions (b-vectors) after a registration."""

import numpy as np
from scipy.linalg import polar

from dipy_nn_reg.checks import check_real
from dipy_nn_reg.mapping.affines import check_affine


def rotate_bvecs(bvecs, *, moving_affine, static_affine, prealign=None):
    """Rotate the b-vectors of a DWI series that is registered to a static image.

    Parameters
    ----------
    bvecs : array-like, shape (n, 3)
        Unit vectors, or zeros, as FSL and DIPY store them: along the voxel axes of the
        moving series, with the sign of the first component changed if the affine has a
        positive determinant.
    moving_affine, static_affine : ndarray, shape (4, 4)
        From voxels to world coordinates.
    prealign : ndarray, shape (4, 4), optional
        From static to moving world coordinates: the affine part of the registration.

    Returns
    -------
    rotated : ndarray, float64, shape (n, 3)
        The same directions in the tissue, along the voxel axes of the static image.

    Raises
    ------
    ValueError
        If a shape differs, a value is not finite, or an affine cannot be inverted.

    Notes
    -----
    The rotation of the polar decomposition of an affine is applied: "finite strain"
    :footcite:p:`Alexander2001`. The deformation is ignored, since its rotation differs
    from voxel to voxel, and all voxels share the b-vectors.

    References
    ----------
    .. footbibliography::
    """
    bvecs = check_real("bvecs", bvecs).astype(np.float64)
    if bvecs.ndim != 2 or bvecs.shape[1] != 3:
        raise ValueError(f"Expected bvecs of shape (n, 3). Received {bvecs.shape}.")
    if not np.all(np.isfinite(bvecs)):
        raise ValueError("Expected finite bvecs. Received values that are not.")
    moving_axes = gradient_axes(moving_affine, "moving_affine")
    static_axes = gradient_axes(static_affine, "static_affine")
    rotation = np.eye(3)
    if prealign is not None:
        rotation = _rotation(check_affine(prealign, name="prealign", ndim=3))
    # From right to left: series to world, moving to static, world to static voxels.
    to_static = static_axes.T @ rotation.T @ moving_axes
    return bvecs @ to_static.T


def gradient_axes(affine, name):
    """Return the world directions of b-vectors that are unit vectors, as columns."""
    affine = check_affine(affine, name=name, ndim=3)
    axes = _rotation(affine)
    if np.linalg.det(affine[:3, :3]) > 0:
        axes = axes * [-1, 1, 1]
    return axes


def _rotation(affine):
    """Return the orthogonal part of an affine, which has the directions of its axes."""
    return polar(affine[:3, :3])[0]
