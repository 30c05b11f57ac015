"""Single slices of a volume, stored along any axis, in their plane."""

from typing import NamedTuple

from dipy.utils.logging import logger
from nibabel.affines import voxel_sizes
import numpy as np

from dipy_nn_reg.checks import as_array

# Cosine of the largest angle between two slices that are registered in their planes.
_MIN_COSINE = 0.5


def axis_across(shape):
    """Return the axis across an image of one slice, or None for a volume."""
    across = [axis for axis, size in enumerate(shape) if size == 1]
    return across[-1] if len(shape) == 3 and across else None


def normal_of(grid):
    """Return the vector of length 1 at a right angle to a slice, or None for a volume.

    Parameters
    ----------
    grid : dipy_nn_reg.mapping.grid.Grid
        Of three axes.

    Returns
    -------
    normal : ndarray, shape (3,)
        In world coordinates, to the side to which the axis across the slice leads.
    """
    across = axis_across(grid.shape)
    if across is None:
        return None
    normal = np.cross(*np.delete(grid.affine[:3, :3], across, axis=1).T)
    length = np.linalg.norm(normal)
    return normal / np.copysign(length, normal @ grid.affine[:3, across])


def onto_plane(points, grid):
    """Return points moved to the plane of a slice by the shortest way.

    Parameters
    ----------
    points : ndarray, shape (n, 3)
        In world coordinates.
    grid : dipy_nn_reg.mapping.grid.Grid
        Of the slice; points stay where they are if it is that of a volume.

    Returns
    -------
    points : ndarray, shape (n, 3)
    """
    normal = normal_of(grid)
    if normal is None:
        return points
    return points - ((points - grid.affine[:3, 3]) @ normal)[:, None] * normal


def without_thickness(affine, grid):
    """Return an affine that does to a slice what another one does, and no more.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Between world coordinates.
    grid : dipy_nn_reg.mapping.grid.Grid
        Of the slice; the affine is returned as it is if it is that of a volume.

    Returns
    -------
    affine : ndarray, shape (4, 4)
        It maps the plane in the same way, and keeps distances from it.
    """
    normal = normal_of(grid)
    if normal is None:
        return affine
    linear, origin = affine[:3, :3], grid.affine[:3, 3]
    in_plane = np.linalg.svd(normal[None])[2][1:]
    # The order of the two vectors that makes a right-handed frame with the normal.
    in_plane = in_plane if np.cross(*in_plane) @ normal > 0 else in_plane[::-1]
    turned = np.cross(*(in_plane @ linear.T))
    kept = np.eye(4)
    kept[:3, :3] = linear + np.outer(
        turned / np.linalg.norm(turned) - linear @ normal, normal
    )
    kept[:3, 3] = linear @ origin + affine[:3, 3] - kept[:3, :3] @ origin
    return kept


class Slice(NamedTuple):
    """An image of one slice, turned so that its third axis lies across the slice.

    Attributes
    ----------
    image : ndarray, shape (rows, columns) or (rows, columns, channels)
    affine : ndarray, shape (4, 4)
        From voxels of the turned image, with its third axis, to world coordinates.
    order : tuple of int
        Axes of the stored image, in the order of the turned image.
    shape : tuple of int
        Spatial shape of the stored image, of three axes.
    """

    image: np.ndarray
    affine: np.ndarray
    order: tuple
    shape: tuple

    @classmethod
    def of(cls, name, image, affine, num_channels):
        """Return an image as a Slice.

        Parameters
        ----------
        name : str
            Name of the image in an error.
        image : array-like, shape (*spatial,) or (*spatial, channels)
            Image of two axes, or of three with one of size 1. Other images are not
            turned; later checks refuse them.
        affine : ndarray, shape (4, 4)
        num_channels : int
        """
        image = as_array(name, image)
        has_channels = num_channels > 1 or image.ndim == 4
        shape = image.shape[:-1] if has_channels else image.shape
        if len(shape) == 2:
            return cls(image, affine, (0, 1, 2), (*shape, 1))
        across = axis_across(shape)
        if across is None:
            return cls(image, affine, (0, 1, 2), shape)
        order = (*(axis for axis in range(3) if axis != across), across)
        in_plane = np.moveaxis(image, across, 0)[0]  # a view, however large
        return cls(in_plane, affine[:, [*order, 3]], order, shape)

    def turn(self, array):
        """Turn an array of the shape of the stored image as the image was turned."""
        return array.transpose(self.order)

    def field_as_stored(self, field):
        """Return a field in the plane as a field of the stored image.

        Parameters
        ----------
        field : ndarray, shape (rows, columns, 2)
            In voxels.

        Returns
        -------
        field : ndarray, shape (*shape, 3)
        """
        turned = np.zeros((*field.shape[:2], 1, 3), field.dtype)
        turned[:, :, 0, list(self.order[:2])] = field
        back = np.argsort(self.order)
        return turned.transpose(*back, 3)


def check_planes(*normals):
    """Raise ValueError if the planes of two slices are more than 60 degrees apart.

    Parameters
    ----------
    *normals : ndarray, shape (3,)
        At a right angle to each slice, of any length and either sign.
    """
    cosine = abs(np.dot(*(normal / np.linalg.norm(normal) for normal in normals)))
    if cosine < _MIN_COSINE:
        raise ValueError(
            f"Expected slices of similar orientation. Received slices whose planes are "
            f"{np.degrees(np.arccos(min(cosine, 1))):.0f} degrees apart."
        )


def in_one_plane(prealign, moving_affine, static_affine):
    """Return an affine that maps the plane of one slice into that of another.

    Motion across the planes is dropped, since slices are registered in their plane.

    Parameters
    ----------
    prealign : ndarray, shape (4, 4)
        From static to moving world coordinates.
    moving_affine, static_affine : ndarray, shape (4, 4)
        From voxels to world coordinates, for images whose third axis lies across the
        slice.

    Returns
    -------
    prealign : ndarray, shape (4, 4)
        The same array if it maps the planes into each other already.

    Raises
    ------
    ValueError
        If the planes are more than 60 degrees apart.
    """
    affines = moving_affine, prealign @ static_affine
    check_planes(*(np.cross(*affine[:3, :2].T) for affine in affines))
    to_moving = np.linalg.inv(moving_affine) @ prealign @ static_affine
    across = to_moving[2, [0, 1, 3]]
    if np.all(np.abs(across) < 1e-6):
        return prealign
    thickness = voxel_sizes(moving_affine)[2]
    logger.info(
        f"The slices are registered in their plane. They are "
        f"{abs(across[2]) * thickness:.3g} mm apart across it, which is ignored."
    )
    to_moving[2, [0, 1, 3]] = 0
    return moving_affine @ to_moving @ np.linalg.inv(static_affine)
