"""Alignment of two images by DIPY's affine registration, before deformation."""

from dipy.utils.logging import logger
from nibabel.affines import voxel_sizes
import numpy as np

from dipy_nn_reg.checks import check_name, check_real
from dipy_nn_reg.intensities import normalize
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.maps import check_affine, lift_affine, plane_affine
from dipy_nn_reg.mapping.regridding import read_on_grid
from dipy_nn_reg.mapping.resampling import resample, to_moving
from dipy_nn_reg.metrics.images import entropies
from dipy_nn_reg.progress import progress_bar

# Transforms of DIPY that are estimated one after another.
_STEPS = ("Translation", "Rigid", "Affine")
KINDS = ("rigid", "affine")
# Number of voxels along the longest axis: with more, DIPY's registration takes minutes
# and gains nothing that the deformable stage does not correct.
FINE_ENOUGH = 64
# Number of bins of the histograms in which intensities are compared.
_BINS = 32


def check_prealign(prealign, *, ndim):
    """Raise ValueError unless ``prealign`` is a kind of alignment, an affine or None.

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
    """Align two images by DIPY, by transforms of more and more parameters.

    Parameters
    ----------
    moving, static : ndarray, shape (*spatial,)
        Images in 2D or 3D; or 3D images of one slice, whose third axis lies across it.
    moving_affine, static_affine : ndarray
        From voxels to world coordinates in mm.
    kind : {"rigid", "affine"}, optional

    Returns
    -------
    prealign : ndarray, shape (ndim + 1, ndim + 1)
        From static to moving world coordinates. The identity, with a warning, if the
        images have more mutual information at the positions in their headers.

    Notes
    -----
    The start is the positions in the headers or the alignment of the centres of mass,
    whichever gives more mutual information. Mass is the difference from the background,
    so that the offset and the sign of the intensities do not matter.
    """
    check_name("kind", kind, KINDS)
    moving, static = check_real("moving", moving), check_real("static", static)
    if moving.ndim != static.ndim or static.ndim not in (2, 3):
        raise ValueError(
            f"Expected two images of two or three axes. Received moving.shape="
            f"{moving.shape} and static.shape={static.shape}."
        )
    moving_affine, static_affine = (
        check_affine(affine, name=name, ndim=static.ndim)
        for name, affine in (
            ("moving_affine", moving_affine),
            ("static_affine", static_affine),
        )
    )
    if static.ndim == 3 and static.shape[2] == 1:
        return _estimate_in_plane(moving, static, moving_affine, static_affine, kind)
    static, static_affine = _coarsen(normalize(static), static_affine)
    moving, moving_affine = _coarsen(normalize(moving), moving_affine)
    images = moving, static, moving_affine, static_affine
    headers = np.eye(static.ndim + 1)
    starts = [headers, _between_centers_of_mass(*images)]
    start = max(starts, key=lambda affine: _mutual_information(affine, *images))
    affine = _optimize(start, kind, *images)
    if _mutual_information(affine, *images) < _mutual_information(headers, *images):
        logger.warning(
            "The alignment by DIPY makes the images less similar than the positions in "
            "their headers. The headers are used."
        )
        return headers
    return affine


def _between_centers_of_mass(moving, static, moving_affine, static_affine):
    """Return the affine that aligns the centres of mass."""
    # Imported here, since it takes most of a second, see dipy_nn_reg.mapping.maps.
    from dipy.align import imaffine

    masses = np.abs(static), static_affine, np.abs(moving), moving_affine
    if not masses[0].any() or not masses[2].any():
        return np.eye(static.ndim + 1)
    return np.asarray(imaffine.transform_centers_of_mass(*masses).affine)


def _optimize(start, kind, moving, static, moving_affine, static_affine):
    """Return the affine that DIPY finds from a start."""
    from dipy.align import imaffine, transforms

    registration = imaffine.AffineRegistration(
        metric=imaffine.MutualInformationMetric(nbins=_BINS, sampling_proportion=None),
        level_iters=[1000, 200, 50],
        sigmas=[3.0, 1.0, 0.0],
        factors=[4, 2, 1],
        verbosity=0,
    )
    affine = start
    for step in progress_bar(_STEPS[: KINDS.index(kind) + 2], desc="Aligning"):
        transform = getattr(transforms, f"{step}Transform{static.ndim}D")()
        affine = registration.optimize(
            static,
            moving,
            transform,
            None,
            starting_affine=affine,
            static_grid2world=static_affine,
            moving_grid2world=moving_affine,
        ).affine
    return np.asarray(affine)


def _mutual_information(affine, moving, static, moving_affine, static_affine):
    """Return the mutual information of images that an affine aligns, in nats."""
    warped = resample(
        moving,
        moving_affine,
        lambda points: to_moving(points, [affine]),
        Grid(static.shape, static_affine),
    )
    of_static, of_warped, of_both = entropies(static, warped, bins=_BINS)
    return of_static + of_warped - of_both


def _coarsen(image, affine):
    """Return an image of many voxels on a grid of fewer, isotropic voxels."""
    sizes = voxel_sizes(affine)
    size = max(sizes * image.shape) / FINE_ENOUGH
    if size <= min(sizes):
        return image, affine
    grid = Grid(image.shape, affine).with_voxel_size(size)
    return read_on_grid(image, affine, [], grid), grid.affine


def _estimate_in_plane(moving, static, moving_affine, static_affine, kind):
    """Return the alignment of slices in 2D, in mm along the axes of the static one."""
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
