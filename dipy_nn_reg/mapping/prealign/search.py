"""Search for the affine between two images, from starts in all directions."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from dipy_nn_reg.mapping.affine_summary import describe_affine
from dipy_nn_reg.mapping.prealign.levels import Level

# Number of voxels along the structure of the smaller image, and largest number of
# samples, of the levels at which starts are compared, rigid motions are refined, and
# the affine is found.
_COARSE, _MIDDLE = (20, 4000), (40, 15000)
_FINE = {2: (128, 40000), 3: (60, 40000)}
# Number of rotations that are tried: about 30 degrees apart in 3D, 5 degrees in 2D.
_ROTATIONS = {2: 72, 3: 500}
# Number of starts that are refined, and of their results that are refined further.
_REFINED, _KEPT = 12, 3
# Decrease of the information of a result that is turned by 180 degrees, in proportion
# to the angle. Of two results of almost equal information, as those of a symmetric
# object, the one nearer to the headers is preferred.
_PREFERENCE = 0.1
# Root mean square distance above which two affines count as different starts and as
# different results, as a fraction of the radius of the structure.
_DIFFERENT_STARTS, _DIFFERENT_ENDS = 0.25, 0.15
# The same for two alignments that are rivals: a turn by about 20 degrees.
_RIVALS = 0.3


class Candidate(NamedTuple):
    """An affine from static to moving world coordinates, and its information."""

    affine: np.ndarray
    information: float


class Levels:
    """Two images at several resolutions.

    Parameters
    ----------
    moving, static : CoarseImage
        Images of at least two voxels along each axis.
    """

    def __init__(self, moving, static):
        self.ndim = static.values.ndim
        self.moving, self.static = moving.coarsened(0), static.coarsened(0)
        self._extent = min(self.moving.extent, self.static.extent)
        self.coarse = self._level(*_COARSE)

    @cached_property
    def middle(self):
        """Return the level at which results are compared."""
        return self._level(*_MIDDLE)

    @cached_property
    def fine(self):
        """Return the level at which the affine is found."""
        return self._level(*_FINE[self.ndim])

    def _level(self, voxels, max_points):
        size = self._extent / voxels
        images = self.moving.coarsened(size), self.static.coarsened(size)
        return Level(*images, max_points)


def search(levels):
    """Return rigid and affine candidates from starts in all directions.

    Parameters
    ----------
    levels : Levels

    Returns
    -------
    candidates : list of Candidate
        Results at the middle level that differ from each other, the best one first.
    number : int
        Number of starts.

    Notes
    -----
    All starts are compared at the coarse level; those of most information are refined
    by rigid motions, and the best of these at the middle level by affines.
    """
    level = levels.coarse
    starts = _starts(levels)
    values = [level.information(start) for start in starts]
    best_first = [starts[i] for i in np.argsort(values)[::-1]]
    # The headers and the centres are refined in any case.
    chosen = _distinct([*starts[:3], *best_first], level, _DIFFERENT_STARTS)[:_REFINED]
    ends = [
        Candidate(*level.ascend(start, "rigid", max_iterations=12, tolerance=1e-3))
        for start in chosen
    ]
    middle, candidates = levels.middle, []
    for end in _best_distinct(ends, level)[:_KEPT]:
        affine = end.affine
        for kind in ("rigid", "affine"):
            affine, information = middle.ascend(
                affine, kind, max_iterations=15, tolerance=1e-4
            )
        candidates.append(Candidate(affine, information))
    candidates = _best_distinct(candidates, middle)
    return sorted(candidates, key=_preference, reverse=True), len(starts)


def _preference(candidate):
    """Return the information, lowered by the angle to the headers."""
    center = np.zeros(len(candidate.affine) - 1)
    angle = describe_affine(candidate.affine, center).angle_degrees
    return candidate.information * (1 - _PREFERENCE * angle / 180)


def distance(one, other, level):
    """Return the root mean square distance between points that two affines move."""
    difference = (one - other)[:-1]
    moved = difference[:, :-1] @ level.points + difference[:, -1:]
    return float(np.sqrt(np.mean(np.sum(moved**2, axis=0))))


def rate(affine, candidates, level):
    """Return the information of an affine, and that of the best one unlike it.

    Parameters
    ----------
    affine : ndarray, shape (ndim + 1, ndim + 1)
    candidates : list of Candidate
        As :func:`search` finds them.
    level : Level
        The middle one.

    Returns
    -------
    information : float
        In nats, after a small correction of the affine, as candidates have had it.
    rival : float
        That of the best candidate that turns or shifts the object in a clearly
        different way; 0 without one.
    """
    refined, information = level.ascend(
        affine, "affine", max_iterations=15, tolerance=1e-4
    )
    apart = _RIVALS * _radius(level)
    if distance(refined, affine, level) > apart:
        information = level.information(affine)
    others = [
        c.information for c in candidates if distance(c.affine, affine, level) > apart
    ]
    return information, max(others, default=0.0)


def _radius(level):
    """Return the root mean square distance of the samples from their centre."""
    return np.sqrt(np.sum(np.var(level.points, axis=1)))


def _starts(levels):
    """Return the headers, shifts between centres, and rotations about these."""
    moving, static = levels.moving, levels.static
    rotations = _rotations(levels.ndim)
    return [
        np.eye(levels.ndim + 1),
        _about(rotations[0], static.middle, moving.middle),
        *(_about(r, static.center, moving.center) for r in rotations),
    ]


def _about(rotation, static_center, moving_center):
    """Return the affine that turns about a centre and moves it to another one."""
    affine = np.eye(len(rotation) + 1)
    affine[:-1, :-1] = rotation
    affine[:-1, -1] = moving_center - rotation @ static_center
    return affine


def _rotations(ndim):
    """Return rotations spread evenly, the identity first: the spirals of Alexa (2022).

    Alexa, Super-Fibonacci spirals: fast, low-discrepancy sampling of SO(3), CVPR 2022.
    """
    number = _ROTATIONS[ndim]
    if ndim == 2:
        angles = 2 * np.pi * np.arange(number) / number
        vectors = np.stack([0 * angles, 0 * angles, angles], axis=1)
        return Rotation.from_rotvec(vectors).as_matrix()[:, :2, :2]
    steps = np.arange(number) + 0.5
    inner, outer = np.sqrt(steps / number), np.sqrt(1 - steps / number)
    # The constants of the spirals: the root of 2, and a root of psi**4 = psi + 4.
    first, second = (2 * np.pi * steps / c for c in (2**0.5, 1.5337511687552043))
    quaternions = np.stack(
        [
            inner * np.sin(first),
            inner * np.cos(first),
            outer * np.sin(second),
            outer * np.cos(second),
        ],
        axis=1,
    )
    return np.concatenate(
        [np.eye(3)[None], Rotation.from_quat(quaternions).as_matrix()]
    )


def _best_distinct(candidates, level):
    """Return candidates that differ from better ones, the best one first."""
    candidates = sorted(candidates, key=lambda candidate: -candidate.information)
    affines = _distinct([c.affine for c in candidates], level, _DIFFERENT_ENDS)
    return [c for c in candidates if any(c.affine is affine for affine in affines)]


def _distinct(affines, level, fraction):
    """Return affines that differ from those before them."""
    radius, kept = _radius(level), []
    for affine in affines:
        if all(distance(affine, one, level) > fraction * radius for one in kept):
            kept.append(affine)
        if len(kept) == _REFINED:
            break
    return kept
