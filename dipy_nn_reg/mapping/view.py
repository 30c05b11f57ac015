"""Field of view of the moving image on the grid of a registration.

Outside of an image its background continues, which is right for an object that lies
within the image. Where a face of the image cuts through the object, nothing is known of
what lies beyond that face.
"""

from itertools import product

import numpy as np
from scipy.ndimage import map_coordinates

# Intensity, on the scale of normalised images, from which a voxel counts as object.
_OBJECT = 0.1
# Smallest area of the object on a face that is cut, as a fraction of the largest area
# in a plane parallel to the face. Fifteen brains in the tightest boxes at 2 mm touch
# their faces by 0.04 at most.
_CUT = 0.25
# Smallest fraction of the static object beyond the cut faces that matters.
_MATTERS = 0.01


def limit_to_view(image, static, moving, to_moving):
    """Return the moving image on the grid, and where it has been seen.

    Parameters
    ----------
    image : ndarray, shape (*grid, channels)
        Moving image on the grid.
    static, moving, to_moving
        As of :func:`find_unseen`.

    Returns
    -------
    image : ndarray, shape (*grid, channels)
        With its border continued where the image has not been seen.
    seen : ndarray of bool, shape (*grid,), or None
        None, with the same image, if no part that matters is unseen.
    """
    unseen = find_unseen(moving, static, to_moving)
    if unseen is None:
        return image, None
    return continue_border(image, unseen, moving, to_moving), ~unseen


def find_unseen(moving, static, to_moving):
    """Return where the grid lies beyond faces that cut through the moving object.

    Parameters
    ----------
    moving : ndarray, shape (*spatial, channels)
        Image as stored, with a background of 0.
    static : ndarray, shape (*grid, channels)
        Image on the grid, with a background of 0.
    to_moving : ndarray, shape (ndim + 1, ndim + 1)
        Affine from voxels of the grid to those of the moving image.

    Returns
    -------
    unseen : ndarray of bool, shape (*grid,), or None
        None if no part of the static object that matters lies there.
    """
    objects = [np.any(np.abs(image) > _OBJECT, axis=-1) for image in (moving, static)]
    faces = list(_cut_faces(objects[0], to_moving, static.shape[:-1]))
    if not faces:
        return None
    unseen = np.zeros(static.shape[:-1], bool)
    for axis, is_last in faces:
        position = _positions(to_moving[axis], unseen.shape)
        if is_last:
            unseen |= position > moving.shape[axis] - 0.5
        else:
            unseen |= position < -0.5
    matters = np.sum(unseen & objects[1]) > _MATTERS * objects[1].sum()
    return unseen if matters else None


def continue_border(image, unseen, moving, to_moving):
    """Return the moving image with its border continued beyond its field of view.

    An edge that no tissue has would otherwise enter coarse images and windows.

    Parameters
    ----------
    image : ndarray, shape (*grid, channels)
        Moving image on the grid.
    unseen, moving, to_moving
        As of :func:`find_unseen`.

    Returns
    -------
    image : ndarray, shape (*grid, channels)
    """
    image = image.copy()
    voxels = np.argwhere(unseen) @ to_moving[:-1, :-1].T + to_moving[:-1, -1]
    for channel in range(image.shape[-1]):
        image[unseen, channel] = map_coordinates(
            moving[..., channel], voxels.T, order=1, mode="nearest"
        )
    return image


def _cut_faces(inside, to_moving, shape):
    """Yield the axis and the end of each cut face that the grid reaches beyond."""
    corners = np.array(list(product(*[(0, size - 1) for size in shape])))
    corners = corners @ to_moving[:-1, :-1].T + to_moving[:-1, -1]
    for axis, size in enumerate(inside.shape):
        areas = inside.sum(axis=tuple(a for a in range(inside.ndim) if a != axis))
        reached = corners[:, axis].min() < -0.5, corners[:, axis].max() > size - 0.5
        for is_last in (False, True):
            area = areas[-1 if is_last else 0]
            if reached[is_last] and area > _CUT * areas.max():
                yield axis, is_last


def _positions(row, shape):
    """Return one coordinate of all voxels of a grid, by the row of an affine."""
    axes = np.ogrid[tuple(map(slice, shape))]
    return sum(factor * axis for factor, axis in zip(row, axes)) + row[-1]
