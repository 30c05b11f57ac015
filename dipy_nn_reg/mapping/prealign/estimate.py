"""Estimation of the affine between two images, and choice of its kind."""

from dataclasses import dataclass, replace
from threading import Lock
from time import perf_counter

from dipy.utils.logging import logger
from nibabel.affines import apply_affine
import numpy as np
from threadpoolctl import threadpool_limits

from dipy_nn_reg.checks import check_name
from dipy_nn_reg.mapping.affine_summary import describe_affine
from dipy_nn_reg.mapping.affines import check_affine
from dipy_nn_reg.mapping.prealign.images import CoarsePair
from dipy_nn_reg.mapping.prealign.search import Levels, distance, rate, search

# Kinds of alignment that are estimated; "auto" chooses among the others and none.
KINDS = ("auto", "rigid", "similarity", "affine")
# Smallest and largest scale along an axis, largest ratio of two scales and largest
# shear of an affine between two images of the same kind of object.
_MIN_SCALE, _MAX_SCALE, _MAX_RATIO, _MAX_SHEAR = 0.6, 1.6, 1.4, 0.25
# Ratio of the volumes of two objects below which samples are taken of the moving one.
_MUCH_SMALLER = 0.8
# Motion below which "auto" keeps the headers, in voxels of the finest level.
_STILL = 0.25
# Number of samples along each axis below which "auto" keeps the headers.
_FEW = 6
# Relative increase of the information below which fewer parameters are preferred.
_GAIN = 0.005
# The number of threads of BLAS is that of the whole process: of two alignments in two
# threads, the second to end would restore what the first had set.
_BLAS = Lock()


@dataclass(frozen=True)
class Alignment:
    """An affine between two images, and how it was found.

    Attributes
    ----------
    affine : ndarray, shape (ndim + 1, ndim + 1)
        From static to moving world coordinates in mm.
    kind : {"none", "rigid", "similarity", "affine"}
        "none" if the positions in the headers were kept.
    starts : int
        Number of starts that were compared.
    information : float
        Mutual information of the images after the alignment, in nats.
    runner_up : float
        Largest information of a result that differs from this one, as a fraction of
        that of this one: near 1 or above, the alignment is uncertain. 0 without one.
    center : ndarray, shape (ndim,)
        World coordinates of the centre of the static structure.
    seconds : float
        Time that the estimation took.
    """

    affine: np.ndarray
    kind: str
    starts: int
    information: float
    runner_up: float
    center: np.ndarray
    seconds: float = 0.0

    def inverted(self):
        """Return the alignment from moving to static world coordinates."""
        return replace(
            self,
            affine=np.linalg.inv(self.affine),
            center=apply_affine(self.affine, self.center),
        )

    def __str__(self):
        how = f"best of {self.starts} starts"
        if self.runner_up > 0:
            how += f"; the next one has {self.runner_up:.0%} of its information"
        if self.kind == "none":
            return f"Aligned: none, as in the headers ({how})"
        summary = describe_affine(self.affine, self.center)
        return f"Aligned: {self.kind}, {summary} ({how})"


def check_prealign(prealign, *, ndim):
    """Raise ValueError unless ``prealign`` is a kind of alignment, an affine or None.

    Parameters
    ----------
    prealign : str, Alignment, ndarray of shape (ndim + 1, ndim + 1), or None
        One of :data:`KINDS`, an estimated alignment, or an affine.
    ndim : int
    """
    if isinstance(prealign, Alignment):
        prealign = prealign.affine
    if isinstance(prealign, str):
        if prealign not in KINDS:
            raise ValueError(
                f"Expected prealign to be one of {list(KINDS)}, or an affine. "
                f"Received {prealign!r}."
            )
    elif prealign is not None:
        check_affine(prealign, name="prealign", ndim=ndim)


def estimate_prealign(
    moving,
    static,
    *,
    moving_affine,
    static_affine,
    kind="auto",
    moving_mask=None,
    mask=None,
):
    """Align two images that lie anywhere and are turned in any way.

    Parameters
    ----------
    moving, static : ndarray, shape (*spatial,)
        Images in 2D or 3D; or 3D images of one slice each, stored along any axis. NaN
        counts as background.
    moving_affine, static_affine : ndarray
        From voxels to world coordinates in mm.
    kind : {"auto", "rigid", "similarity", "affine"}, optional
        With "auto", the kind of fewest parameters that the images support, or none.
    moving_mask, mask : ndarray, shape (*spatial,), optional
        Masks of the moving and the static image: where they are not above 0, the
        images are not compared.

    Returns
    -------
    alignment : Alignment

    Raises
    ------
    ValueError
        If an image or an affine is invalid.

    Notes
    -----
    Images are compared by mutual information, so that their contrast may differ. Some
    500 starts in 3D, 70 in 2D, are compared on small images: the positions in the
    headers, the middles and the centres of mass, and rotations about the latter. The
    best are refined. The result has no less information than the headers.
    """
    begin = perf_counter()
    check_name("kind", kind, KINDS)
    pair = CoarsePair.of(
        moving,
        static,
        moving_affine=moving_affine,
        static_affine=static_affine,
        moving_mask=moving_mask,
        mask=mask,
    )
    # Matrices are small: threads of BLAS would wait for each other, which doubles the
    # processor's time, and triples the seconds where other processes compute.
    with _BLAS, threadpool_limits(1, user_api="blas"):
        alignment = _align(pair.moving, pair.static, kind)
    return replace(
        alignment,
        affine=pair.to_world(alignment.affine),
        center=pair.point_to_world(alignment.center),
        seconds=perf_counter() - begin,
    )


def _align(moving, static, kind):
    """Return the alignment of two images, by samples of the smaller one."""
    levels = Levels(moving, static)
    if levels.moving.volume < _MUCH_SMALLER * levels.static.volume:
        return _align(static, moving, kind).inverted()
    candidates, number = search(levels)
    fine = levels.fine
    headers = np.eye(levels.ndim + 1)
    at_headers = fine.information(headers)
    results = {"none": (headers, at_headers), **_fits(fine, candidates[0].affine, kind)}
    chosen = _choose(results, fine) if kind == "auto" else kind
    if kind == "auto" and fine.points.shape[1] < _FEW**levels.ndim:
        logger.warning(
            f"Images are not aligned: {fine.points.shape[1]} voxels, as within a mask, "
            "are too few. Name a kind of alignment, or give an affine."
        )
        chosen = "none"
    is_still = distance(results[chosen][0], headers, fine) < _STILL * fine.size
    if results[chosen][1] <= at_headers or (kind == "auto" and is_still):
        chosen = "none"
    affine, information = results[chosen]
    rated, rival = rate(affine, candidates, levels.middle)
    return Alignment(
        affine=affine,
        kind=chosen,
        starts=number,
        information=information,
        runner_up=rival / max(rated, 1e-3),
        center=levels.static.center,
    )


def _fits(level, start, kind):
    """Return the affine and the information of each kind that is needed, by name."""
    kinds = ("rigid", "similarity", "affine") if kind == "auto" else (kind,)
    fits, rigid = {}, _nearest_rigid(start, level.points.mean(axis=1))
    for name in kinds:
        # A stretch would stay in a motion of fewer parameters.
        begin = start if name == "affine" else rigid
        fits[name] = level.ascend(begin, name, max_iterations=50, tolerance=1e-6)
    return fits


def _nearest_rigid(affine, center):
    """Return the rigid motion that turns as an affine does, and moves the centre so."""
    left, _, right = np.linalg.svd(affine[:-1, :-1])
    rigid = np.eye(len(affine))
    rigid[:-1, :-1] = left @ right
    rigid[:-1, -1] = apply_affine(affine, center) - rigid[:-1, :-1] @ center
    return rigid


def _choose(results, level):
    """Return the name of the kind of fewest parameters that the images support."""
    chosen = "none"
    for name in ("rigid", "similarity", "affine"):
        affine, information = results[name]
        gain = information / max(results[chosen][1], 1e-12) - 1
        if gain > _GAIN and _is_plausible(affine, level):
            chosen = name
    return chosen


def _is_plausible(affine, level):
    """Return whether an affine could map one object to another of its kind."""
    summary = describe_affine(affine, level.points.mean(axis=1))
    scales = np.array(summary.scales)
    return bool(
        scales.min() >= _MIN_SCALE
        and scales.max() <= _MAX_SCALE
        and scales.max() / scales.min() <= _MAX_RATIO
        and np.abs(summary.shears).max() <= _MAX_SHEAR
    )
