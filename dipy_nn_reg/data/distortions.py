"""Distortions of EPI with known truth: smooth fields, and images that they distort."""

import numpy as np
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.checks import check_integer, check_number, check_real, check_shape

# Standard deviations of the Gaussian that smooths a field, as fractions of the size of
# an axis. The first one is used whose field is not too steep.
_WIDTHS = 0.08, 0.1, 0.12, 0.15, 0.19, 0.24, 0.3
# Steepest slope of a field, in voxels a voxel; from 1 on, images would fold.
_STEEPEST = 0.85


def make_distortion(shape, *, largest=8.0, seed=None):
    """Make a smooth random field, as differences of susceptibility cause it in EPI.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image.
    largest : float, optional
        Largest absolute displacement in voxels. It is less if the image is so small
        that the field would be too steep.
    seed : int, optional
        Seed of the random numbers. The same seed gives the same field.

    Returns
    -------
    field : ndarray, float32, shape (*shape,)
        Displacement in voxels along any one of the axes. Neighbours along any axis
        differ by less than 0.9, so that no image folds.

    Raises
    ------
    ValueError
        If a parameter is invalid.

    Examples
    --------
    >>> field = make_distortion((64, 64), seed=0)
    >>> float(abs(field).max()), bool(abs(np.diff(field, axis=0)).max() < 0.9)
    (8.0, True)
    """
    shape = check_shape("shape", shape)
    check_number("largest", largest, or_zero=True)
    if seed is not None:
        check_integer("seed", seed, lowest=0)
    noise = np.random.default_rng(seed).normal(size=shape)
    for width in _WIDTHS:
        field = gaussian_filter(noise, [width * size for size in shape])
        field -= field.mean()
        # The field of a single voxel is 0.
        field *= largest / (np.abs(field).max() or 1)
        steepest = _steepest(field)
        if steepest <= _STEEPEST:
            break
    return (field * min(1, _STEEPEST / max(steepest, _STEEPEST))).astype(np.float32)


def distort(image, field, *, axis, sign=1):
    """Distort an image as EPI does: shifted along an axis, with intensity pile-up.

    Parameters
    ----------
    image : ndarray, shape (*spatial,)
        Undistorted image.
    field : ndarray, shape (*spatial,)
        Displacement in voxels, on the grid of the undistorted image.
    axis : int
        Axis of the phase encoding, from 0.
    sign : {1, -1}, optional
        Direction of the phase encoding.

    Returns
    -------
    distorted : ndarray, float32, shape (*spatial,)
        The tissue of voxel ``x`` is shown at ``x + sign * field(x)``. Intensities of
        voxels that come to lie together add up; what leaves the image is lost.

    Raises
    ------
    ValueError
        If shapes differ, or if the field folds the image.

    Notes
    -----
    A voxel is a box whose two faces move by the mean of the field in the voxels beside
    them. What a voxel of the distorted image receives is a difference of the cumulative
    sum of intensities, so that the sum along a line is kept.

    Examples
    --------
    >>> line = np.array([[0, 0, 4, 4, 0, 0]])
    >>> distort(line, np.full(line.shape, 1.5), axis=1)
    array([[0., 0., 0., 2., 4., 2.]], dtype=float32)
    """
    image, field = check_real("image", image), check_real("field", field)
    if image.shape != field.shape:
        raise ValueError(
            f"Expected image and field of one shape. Received {image.shape} and "
            f"{field.shape}."
        )
    check_integer("axis", axis, lowest=0, highest=image.ndim - 1)
    if sign not in (1, -1):
        raise ValueError(f"Expected sign to be 1 or -1. Received {sign!r}.")
    lines = np.moveaxis(image, axis, -1).reshape(-1, image.shape[axis])
    moves = sign * np.moveaxis(field.astype(np.float64), axis, -1).reshape(lines.shape)
    if np.abs(np.diff(moves)).max(initial=0) >= 1:
        raise ValueError(
            "Expected a field whose neighbours along the axis differ by less than 1. "
            "Received one that folds."
        )
    distorted = np.stack([_push(*pair) for pair in zip(lines, moves)])
    others = [size for d, size in enumerate(image.shape) if d != axis]
    distorted = distorted.reshape(*others, image.shape[axis])
    return np.moveaxis(distorted, -1, axis).astype(np.float32)


def _steepest(field):
    """Return the largest difference of neighbours along any axis."""
    slopes = (np.diff(field, axis=axis) for axis in range(field.ndim))
    return max(np.abs(slope).max(initial=0) for slope in slopes)


def _push(line, moves):
    """Return a line whose voxels are moved, with all that they hold."""
    faces = np.arange(len(line) + 1) - 0.5
    ends = np.pad(moves, 1, mode="edge")
    moved = faces + (ends[1:] + ends[:-1]) / 2
    sums = np.concatenate([[0], np.cumsum(line, dtype=np.float64)])
    return np.diff(np.interp(faces, moved, sums))
