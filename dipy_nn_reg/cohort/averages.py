"""Averages of a group of images: intensities, shapes and labels."""

from typing import NamedTuple

from nibabel.affines import apply_affine
import numpy as np
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.annotations import labels_of_one_type
from dipy_nn_reg.intensities import estimate_background, normalize
from dipy_nn_reg.mapping.grid import prealign_of
from dipy_nn_reg.mapping.logarithms import mean_affine, stretch_of, velocity_of
from dipy_nn_reg.mapping.maps import displacement_of, displacement_to_mapping
from dipy_nn_reg.mapping.points import to_moving
from dipy_nn_reg.mapping.resampling import resample
from dipy_nn_reg.mapping.slices import onto_plane, without_thickness

AVERAGES = ("mean", "median")
# Percentile of the voxels of an object that the images are scaled by, and smallest
# intensity of an object, as a fraction of the 99th percentile.
_PERCENTILE, _OBJECT = 90, 0.1
# Width in voxels of the blur that sharpening subtracts.
_BLUR = 1.0
# Standard deviation in voxels of the Gaussian that smooths a mean velocity. What it
# takes off is no shape, and would make the corrected maps rougher and overlap less.
_ROUGHNESS = 0.8


class Correction(NamedTuple):
    """Map from the grid of a new template to the space of the old one.

    Attributes
    ----------
    maps : list
        As :func:`~dipy_nn_reg.mapping.points.to_moving` takes them.
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

    An object that is darker than the background is near -1.

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
    contrast = np.abs(values)
    inside = contrast > _OBJECT * np.percentile(contrast, 99)
    level = float(np.percentile(contrast[inside], _PERCENTILE))
    background = float(estimate_background(np.asarray(image.data, np.float64)))
    # By what normalize has divided; outliers, which it clips, are few.
    factor = np.median((image.data[inside] - background) / values[inside])
    return values / np.float32(level), background, level * float(factor)


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
    in_plane = [without_thickness(affine, grid) for affine in affines]
    stretch = _stretch(mean_affine(in_plane, weights), grid)
    changes = np.abs(np.linalg.eigvalsh(stretch[:-1, :-1]) - 1)
    return Correction([np.linalg.inv(stretch)], stretch=float(changes.max()))


def mean_shape(velocities, grid, weights):
    """Return what corrects a template to the mean shape of a group.

    Parameters
    ----------
    velocities : iterable of ndarray, shape (*spatial, 3)
        Of each person, as :func:`velocity_of_shape` returns them.
    grid : Grid
    weights : sequence of float

    Returns
    -------
    correction : Correction
        The mean of the velocities, smoothed a little, is undone.
    """
    from dipy_nn_reg.transform import integrate

    mean = np.zeros((*grid.shape, 3))
    for velocity, weight in zip(velocities, np.divide(weights, np.sum(weights))):
        mean += weight * velocity
    shape = np.stack(
        [gaussian_filter(part, _ROUGHNESS) for part in np.moveaxis(mean, -1, 0)],
        axis=-1,
    )
    field = displacement_to_mapping(
        np.asarray(integrate(-shape)),
        inverse=np.asarray(integrate(shape)),
        static_affine=grid.affine,
    )
    return Correction([field], velocity=float(np.linalg.norm(mean, axis=-1).mean()))


def velocity_of_shape(mapping, grid):
    """Return the velocity of a map without the rigid part of its affine.

    The rest of the affine counts, lest affine and field undo each other.

    Parameters
    ----------
    mapping : DiffeomorphicMap
        From the template to a person, on its grid.
    grid : Grid

    Returns
    -------
    velocity : ndarray of float32, shape (*spatial, 3)
        In voxels.
    """
    stretch = _stretch(prealign_of(mapping), grid)
    in_voxels = np.linalg.inv(grid.affine) @ stretch @ grid.affine
    voxels = np.moveaxis(np.indices(grid.shape), 0, -1)
    moved = apply_affine(in_voxels, voxels + displacement_of(mapping))
    return velocity_of(moved - voxels)


def _stretch(affine, grid):
    """Return an affine without its rigid part, and without motion across a slice."""
    middle = apply_affine(grid.affine, (np.array(grid.shape) - 1) / 2)
    return stretch_of(without_thickness(affine, grid), middle)


def mean_image(
    images, maps, grid, *, weights, average, sharpen, interpolation="linear"
):
    """Return the mean of images that maps bring to one grid.

    Parameters
    ----------
    images : iterable of dipy_nn_reg.io.nifti.Image
    maps : iterable of list
        For each image, as :func:`~dipy_nn_reg.mapping.points.to_moving` takes them.
    grid : Grid
    weights : sequence of float
    average : {"mean", "median"}
        The median does without the weights.
    sharpen : float
        How much of the difference from a blurred image is added.
    interpolation : {"linear", "cubic"}, optional
        As :func:`~dipy_nn_reg.mapping.resampling.resample` takes it.

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
        parts.append(_on_grid(values, image, steps, grid, interpolation))
        if average == "mean" and len(parts) > 1:  # no more than two are kept
            done = len(levels) - 1
            share = weights[done] / np.sum(weights[: done + 1])
            parts = [(parts[0] * (1 - share) + parts[1] * share).astype(np.float32)]
    mean = parts[0] if average == "mean" else np.median(parts, axis=0)
    if sharpen:
        mean = mean + sharpen * (mean - gaussian_filter(mean, _BLUR))
    background, scale = np.average(levels, axis=0, weights=weights)
    return (background + scale * mean).astype(np.float32)


def _on_grid(values, image, steps, grid, interpolation):
    return resample(
        values,
        image.affine,
        lambda points: onto_plane(to_moving(points, steps), image.grid),
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
        for array, image, steps in zip(labels_of_one_type(*labels), images, maps)
    ]
    names = np.unique(np.concatenate([np.unique(array) for array in mapped]))
    most, winner = np.full(grid.shape, -1.0), np.zeros(grid.shape, mapped[0].dtype)
    for name in names:
        votes = sum(w * (array == name) for w, array in zip(weights, mapped))
        wins = votes > most
        winner[wins], most[wins] = name, votes[wins]
    return winner
