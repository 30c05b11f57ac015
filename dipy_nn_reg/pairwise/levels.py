"""Levels of a descent for one pair: from coarse images to fine ones."""

from math import inf, isfinite, prod
from typing import NamedTuple

from dipy_nn_reg.losses.objective import ObjectiveOptions
from dipy_nn_reg.transform.pyramid import coarse_shape, enlarge, shrink

# Default number of levels; number of updates in each, iterations times voxels; and most
# and fewest iterations, which limit it. A start from a model needs fewer.
_LEVELS, _UPDATES, _MOST, _FEWEST = 4, 6 * 10**6, 25, 5
_LEAST_LEVELS, _UPDATES_AFTER_MODEL, _MOST_AFTER_MODEL = 2, 3 * 10**6, 20
# Smallest size of an image along each axis, divided by the factor of a level and
# rounded down.
_MIN_SIZE = 12
# Largest number of voxels of the coarsest images for which the exhaustive search is
# run.
MAX_SEARCHED = 2**15


class DescentOptions(NamedTuple):
    """Options of the descent for one pair.

    Attributes
    ----------
    objective : ObjectiveOptions
        Without penalties for a displacement.
    transform : {"displacement", "velocity", "bspline_velocity"}
    spacing : int
        Distance of the control points in voxels; 1 without control points.
    field_stride : int
        Distance in voxels of the values of the field.
    smoothness : float
        Of a displacement: factor of what smooths it.
    symmetric : bool
        Whether both directions are registered to the end.
    """

    objective: ObjectiveOptions
    transform: str
    spacing: int
    field_stride: int
    smoothness: float = 1.0
    symmetric: bool = False


def levels_of(shape, level_iters):
    """Return the factor by which images are shrunk, and the iterations, of each level.

    Parameters
    ----------
    shape : tuple of int
        Spatial shape.
    level_iters : sequence of int
        Largest number of iterations of each level. The last one is for the images in
        full resolution, the one before for images shrunk by 2, and so on.

    Returns
    -------
    levels : list of (int, int)
        From coarse to fine, without levels on which the images would be too small.
    """
    levels = [(2**i, iterations) for i, iterations in enumerate(reversed(level_iters))]
    return [
        (level, iterations)
        for level, iterations in reversed(levels)
        if level == 1 or min(shape) // level >= _MIN_SIZE
    ]


def iterations_for(shape, stride=None):
    """Return the default numbers of iterations for a displacement, coarse to fine.

    Where images are small, iterations cost little.

    Parameters
    ----------
    shape : tuple of int
        Spatial shape of the images.
    stride : int, optional
        Distance in voxels of the values that a model has predicted, a power of two: the
        first level is shrunk by as much, or by two.

    Returns
    -------
    level_iters : list of int
    """
    levels, updates, most = _LEVELS, _UPDATES, _MOST
    if stride is not None:
        levels = max(_LEAST_LEVELS, stride.bit_length())
        updates, most = _UPDATES_AFTER_MODEL, _MOST_AFTER_MODEL
    sizes = (prod(coarse_shape(shape, 2**i)) for i in reversed(range(levels)))
    return [min(most, max(_FEWEST, int(updates / size))) for size in sizes]


def best_end(ends):
    """Return the field of least loss; one whose loss is not finite comes last.

    Parameters
    ----------
    ends : list of (field, float)
        Fields, or anything else, and the losses of the images at the end of a descent.

    Returns
    -------
    field
    """
    field, _ = min(ends, key=lambda end: end[1] if isfinite(end[1]) else inf)
    return field


def is_searched(shape, level):
    """Return whether the exhaustive search is run on images of a shape and level."""
    return level > 1 and prod(shape) <= MAX_SEARCHED


def on_grid(field, stride, grid, reference):
    """Resample a field from a grid of one stride to that of another.

    Parameters
    ----------
    field : tensor, shape (1, *coarse, ndim)
        Displacement or velocity in voxels of a grid of ``stride``.
    stride, grid : int
        Distances of the values before and after, powers of two.
    reference : tensor, shape (1, *spatial, any)
        Something on the grid after; only its shape is used.

    Returns
    -------
    field : tensor, shape (1, *spatial, ndim)
        In voxels of that grid.
    """
    if grid > stride:
        return shrink(field, grid // stride) * (stride / grid)
    return enlarge(field, reference, stride // grid)
