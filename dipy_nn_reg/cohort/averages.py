"""Averages of a group of images: intensities, shapes and labels."""

from typing import NamedTuple

from nibabel.affines import apply_affine, voxel_sizes
import numpy as np
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.intensities import estimate_background, normalize
from dipy_nn_reg.mapping.grid import Grid, prealign_of
from dipy_nn_reg.mapping.logarithms import mean_affine, stretch_of, velocity_of
from dipy_nn_reg.mapping.maps import displacement_of, displacement_to_mapping
from dipy_nn_reg.mapping.resampling import resample, to_moving

AVERAGES = ("mean", "median")
# Percentile of the voxels of an object that the images are scaled by, and smallest
# intensity of an object, as a fraction of the 99th percentile.
_PERCENTILE, _OBJECT = 90, 0.1
# Width in voxels of the blur that sharpening subtracts.
_BLUR = 1.0
# Largest difference between affines of one grid, in mm or without unit.
_SAME = 1e-4


class Correction(NamedTuple):
    """Map from the grid of a new template to the space of the old one.

    Attributes
    ----------
    maps : list
        As :func:`~dipy_nn_reg.mapping.resampling.to_moving` takes them.
    velocity : float, optional
        Mean length of the mean velocity, in voxels.
    stretch : float, optional
        Largest change of a length by the mean affine, as a fraction.
    """

    maps: list
    velocity: float | None = None
    stretch: float | None = None


def scaled(image):
    """Return an image with its background at 0 and its object near 1, and both levels.

    Parameters
    ----------
    image : dipy_nn_reg.io.nifti.Image

    Returns
    -------
    values : ndarray of float32
    background, scale : float
        ``image.data`` is ``background + scale * values``, but for outliers.
    """
    values = normalize(image.data)
    inside = values > _OBJECT * np.percentile(values, 99)
    if not inside.any():
        inside = values != 0
    level = float(np.percentile(values[inside], _PERCENTILE))
    background = float(estimate_background(np.asarray(image.data, np.float64)))
    # By what normalize has divided; outliers, which it clips, are few.
    factor = np.median((image.data[inside] - background) / values[inside])
    return values / np.float32(level), background, level * float(factor)


def common_grid(images, voxel_size=None):
    """Return a grid for the mean of images, and where each of them lies in its space.

    Parameters
    ----------
    images : list of dipy_nn_reg.io.nifti.Image
    voxel_size : float, optional
        In mm; by default that of the images, of several sizes the smallest.

    Returns
    -------
    grid : Grid
        That of the images if it is the same for all, else one along the world axes.
    affines : list of ndarray, shape (4, 4)
        From the world of the grid to that of each image: the identity, or a shift that
        brings the centre of mass of each to the middle.
    """
    grids = [image.grid for image in images]
    if all(_is_same(grids[0], grid) for grid in grids):
        grid, affines = grids[0], [np.eye(4)] * len(images)
    else:
        size = min(float(np.cbrt(np.prod(voxel_sizes(g.affine)))) for g in grids)
        extent = np.max([np.ptp(g.box(), axis=0) for g in grids], axis=0)
        shape = tuple(int(n) for n in np.ceil(extent / size))
        affine = np.diag([size, size, size, 1.0])
        affine[:3, 3] = -size * (np.array(shape) - 1) / 2
        grid, affines = Grid(shape, affine), [_shift(_center(i)) for i in images]
    return (grid if voxel_size is None else grid.with_voxel_size(voxel_size)), affines


def _is_same(one, other):
    return one.shape == other.shape and np.allclose(
        one.affine, other.affine, rtol=0, atol=_SAME
    )


def _center(image):
    """Return the centre of mass of an image, in world coordinates."""
    weights = np.clip(normalize(image.data), 0, None).astype(np.float64)
    total = weights.sum()
    index = [
        (weights.sum(tuple(a for a in range(3) if a != axis)) @ np.arange(size)) / total
        for axis, size in enumerate(weights.shape)
    ]
    return apply_affine(image.affine, index)


def _shift(vector):
    affine = np.eye(4)
    affine[:3, 3] = vector
    return affine


def mean_stretch(affines, grid, weights):
    """Return what corrects a template by the mean of affines.

    Parameters
    ----------
    affines : list of ndarray, shape (4, 4)
        From the template to each person, in world coordinates.
    grid : Grid
    weights : sequence of float

    Returns
    -------
    correction : Correction
        The mean of the affines, without its rigid part, is undone.
    """
    stretch = stretch_of(mean_affine(affines, weights), _middle(grid))
    changes = np.abs(np.linalg.eigvalsh(stretch[:-1, :-1]) - 1)
    return Correction([np.linalg.inv(stretch)], stretch=float(changes.max()))


def mean_shape(mappings, grid, weights):
    """Return what corrects a template to the mean shape of a group.

    Parameters
    ----------
    mappings : iterable of DiffeomorphicMap
        From the template to each person, on its grid.
    grid : Grid
    weights : sequence of float

    Returns
    -------
    correction : Correction
        The mean of the velocities of the maps is undone. The rigid part of each is left
        out; the rest of its affine counts, lest affine and field undo each other.
    """
    from dipy_nn_reg.transform import integrate

    mean = np.zeros((*grid.shape, 3))
    for mapping, weight in zip(mappings, np.divide(weights, np.sum(weights))):
        mean += weight * velocity_of(_without_rigid_part(mapping, grid))
    field = displacement_to_mapping(
        np.asarray(integrate(-mean)),
        inverse=np.asarray(integrate(mean)),
        static_affine=grid.affine,
    )
    return Correction([field], velocity=float(np.linalg.norm(mean, axis=-1).mean()))


def _without_rigid_part(mapping, grid):
    """Return the displacement in voxels of a map whose affine is made a stretch."""
    stretch = stretch_of(prealign_of(mapping), _middle(grid))
    in_voxels = np.linalg.inv(grid.affine) @ stretch @ grid.affine
    voxels = np.moveaxis(np.indices(grid.shape), 0, -1)
    return apply_affine(in_voxels, voxels + displacement_of(mapping)) - voxels


def _middle(grid):
    return apply_affine(grid.affine, (np.array(grid.shape) - 1) / 2)


def mean_image(images, maps, grid, *, weights, average, sharpen):
    """Return the mean of images that maps bring to one grid.

    Parameters
    ----------
    images : iterable of dipy_nn_reg.io.nifti.Image
    maps : iterable of list
        For each image, as :func:`~dipy_nn_reg.mapping.resampling.to_moving` takes them.
    grid : Grid
    weights : sequence of float
    average : {"mean", "median"}
        The median does without the weights.
    sharpen : float
        How much of the difference from a blurred image is added.

    Returns
    -------
    mean : ndarray of float32, shape (*spatial,)
        With the mean background and the mean scale of the images, each of which is
        interpolated once.
    """
    parts, levels = [], []
    for image, steps in zip(images, maps):
        values, *level = scaled(image)
        levels.append(level)
        parts.append(_on_grid(values, image, steps, grid))
        if average == "mean" and len(parts) > 1:  # no more than two are kept
            done = len(levels) - 1
            share = weights[done] / np.sum(weights[: done + 1])
            parts = [(parts[0] * (1 - share) + parts[1] * share).astype(np.float32)]
    mean = parts[0] if average == "mean" else np.median(parts, axis=0)
    if sharpen:
        mean = mean + sharpen * (mean - gaussian_filter(mean, _BLUR))
    background, scale = np.average(levels, axis=0, weights=weights)
    return (background + scale * mean).astype(np.float32)


def _on_grid(values, image, steps, grid, interpolation="linear"):
    return resample(
        values,
        image.affine,
        lambda points: to_moving(points, steps),
        grid,
        interpolation=interpolation,
    )


def vote(labels, images, maps, grid, weights):
    """Return the label that most people have at each voxel of a template.

    Parameters
    ----------
    labels : list of ndarray of int
        On the grids of the images.
    images, maps, grid, weights
        As for :func:`mean_image`.

    Returns
    -------
    winner : ndarray of int, shape (*spatial,)
        Of labels with as many votes, the lowest one.
    """
    mapped = [
        _on_grid(array, image, steps, grid, "nearest")
        for array, image, steps in zip(labels, images, maps)
    ]
    names = np.unique(np.concatenate([np.unique(array) for array in mapped]))
    most, winner = np.full(grid.shape, -1.0), np.zeros(grid.shape, mapped[0].dtype)
    for name in names:
        votes = sum(w * (array == name) for w, array in zip(weights, mapped))
        wins = votes > most
        winner[wins], most[wins] = name, votes[wins]
    return winner
