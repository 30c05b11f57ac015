"""Align two images before a network sees them, by DIPY's affine registration."""

from nibabel.affines import voxel_sizes
import numpy as np

from dipy_nn_reg.mapping import check_affine, lift_affine, plane_affine
from dipy_nn_reg.progress import progress_bar
from dipy_nn_reg.resampling import read_on_grid, working_grid

_STEPS = ("Translation", "Rigid", "Affine")
KINDS = ("rigid", "affine")
# Voxels along the longest axis: with more, DIPY takes minutes, and gains what the
# network sees to anyway.
FINE_ENOUGH = 64


def check_prealign(prealign, *, ndim):
    """Raise ValueError unless this says how to align images.

    Parameters
    ----------
    prealign : {"rigid", "affine"}, ndarray of shape (ndim + 1, ndim + 1), or None
    ndim : int
    """
    if isinstance(prealign, str):
        if prealign not in KINDS:
            raise ValueError(
                f"Expected prealign to be one of {list(KINDS)}, or an affine. "
                f"Received {prealign!r}."
            )
    elif prealign is not None:
        check_affine(prealign, name="prealign", ndim=ndim)


def estimate_prealign(moving, static, *, moving_affine, static_affine, kind="affine"):
    """Align two images by DIPY: centres of mass, then ever more parameters.

    Parameters
    ----------
    moving, static : ndarray, shape (*spatial,)
        In 2D or 3D, or of one slice in 3D.
    moving_affine, static_affine : ndarray
        From voxels to world coordinates in mm.
    kind : {"rigid", "affine"}, optional

    Returns
    -------
    prealign : ndarray, shape (ndim + 1, ndim + 1)
        From static to moving world coordinates.
    """
    if static.ndim == 3 and static.shape[2] == 1:
        return _estimate_in_plane(moving, static, moving_affine, static_affine, kind)
    # Imported here for the reason given in dipy_nn_reg.mapping.
    from dipy.align import imaffine, transforms

    ndim = static.ndim
    static, static_affine = _coarsen(static, static_affine)
    moving, moving_affine = _coarsen(moving, moving_affine)
    grids = {"static_grid2world": static_affine, "moving_grid2world": moving_affine}
    registration = imaffine.AffineRegistration(
        metric=imaffine.MutualInformationMetric(nbins=32, sampling_proportion=None),
        level_iters=[1000, 200, 50],
        sigmas=[3.0, 1.0, 0.0],
        factors=[4, 2, 1],
        verbosity=0,
    )
    result = imaffine.transform_centers_of_mass(
        static, static_affine, moving, moving_affine
    )
    steps = _STEPS[: KINDS.index(kind) + 2]
    for step in progress_bar(steps, desc="Aligning"):
        transform = getattr(transforms, f"{step}Transform{ndim}D")()
        result = registration.optimize(
            static, moving, transform, None, starting_affine=result.affine, **grids
        )
    return np.asarray(result.affine)


def _coarsen(image, affine):
    """Bring an image of many voxels to fewer ones, as long as wide."""
    sizes = voxel_sizes(affine)
    size = max(sizes * image.shape) / FINE_ENOUGH
    if size <= min(sizes):
        return image, affine
    shape, coarse = working_grid(image.shape, affine, size, image.ndim)
    return read_on_grid(image, affine, [], shape, coarse), coarse


def _estimate_in_plane(moving, static, moving_affine, static_affine, kind):
    """Align slices in 2D, in mm along the axes of the static one."""
    sizes = np.diag([*voxel_sizes(static_affine), 1])
    to_plane = sizes @ np.linalg.inv(static_affine)
    in_plane = estimate_prealign(
        moving[:, :, 0],
        static[:, :, 0],
        static_affine=plane_affine(sizes),
        moving_affine=plane_affine(to_plane @ moving_affine),
        kind=kind,
    )
    return np.linalg.inv(to_plane) @ lift_affine(in_plane) @ to_plane
