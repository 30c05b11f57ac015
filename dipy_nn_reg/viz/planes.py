"""Planes in which images are drawn, in radiological orientation.

A volume is turned so that its axes lead to the left, to the back and down. A plane
then shows two of these axes, rows from the top and columns from the left, so that the
right side of a person is at the left of the picture. An image of two axes is one
plane of rows and columns, whose directions are unknown.
"""

from typing import NamedTuple

import nibabel as nib
from nibabel.affines import voxel_sizes
import numpy as np

from dipy_nn_reg.mapping.affines import check_affine

# Directions of the axes of a turned volume: left, posterior, inferior.
ORIENTATION = "LPI"


class Plane(NamedTuple):
    """Plane of an image whose axes have been turned.

    Attributes
    ----------
    name : str
        "axial", "coronal", "sagittal", or "" for an image of two axes.
    normal : int or None
        Axis that is cut; None for an image of two axes.
    rows, columns : int
        Axes that are drawn.
    edges : tuple of str
        Letters for left, right, top and bottom; empty if the directions are unknown.
    aspect : float
        Height of a voxel divided by its width.
    """

    name: str
    normal: int | None
    rows: int
    columns: int
    edges: tuple
    aspect: float


class Planes:
    """Planes in which images of one shape are drawn.

    Parameters
    ----------
    shape : tuple of int
        Shape of the images, of two or three axes.
    affine : ndarray, shape (4, 4), optional
        Affine of images of three axes, from voxels to world coordinates in mm (RAS+).
        Without it, the axes are assumed to lead to the right, to the front and up.

    Attributes
    ----------
    planes : list of Plane
        The planes with two voxels or more along both axes.

    Raises
    ------
    ValueError
        If no plane has two voxels or more along both axes, or if the affine is
        invalid.
    """

    def __init__(self, shape, affine=None):
        self.ndim = len(shape)
        if self.ndim not in (2, 3) or sum(size > 1 for size in shape) < 2:
            raise ValueError(
                f"Expected an image in 2D or 3D, of two voxels or more along two axes. "
                f"Received shape={tuple(shape)}."
            )
        if affine is not None:
            affine = check_affine(affine, name="affine", ndim=self.ndim)
        if self.ndim == 2:
            sizes = [1, 1] if affine is None else voxel_sizes(affine)
            self.planes = [Plane("", None, 0, 1, (), sizes[0] / sizes[1])]
            return
        has_directions = affine is not None
        affine = np.eye(4) if affine is None else affine
        self._turn = nib.orientations.ornt_transform(
            nib.io_orientation(affine), nib.orientations.axcodes2ornt(ORIENTATION)
        )
        order = self._turn[:, 0].astype(int)
        turned, sizes = np.empty(3, int), np.empty(3)
        turned[order], sizes[order] = shape, voxel_sizes(affine)
        planes = [
            ("axial", 2, 1, 0, ("R", "L", "A", "P")),
            ("coronal", 1, 2, 0, ("R", "L", "S", "I")),
            ("sagittal", 0, 2, 1, ("A", "P", "S", "I")),
        ]
        self.planes = [
            Plane(n, normal, r, c, edges if has_directions else (), sizes[r] / sizes[c])
            for n, normal, r, c, edges in planes
            if turned[r] > 1 and turned[c] > 1
        ]

    def turn(self, array):
        """Turn the axes of an image.

        Parameters
        ----------
        array : ndarray, shape (*spatial,) or (*spatial, any)

        Returns
        -------
        turned : ndarray
            With axes that lead along :data:`ORIENTATION`; of two axes, as it was.
        """
        if self.ndim == 2:
            return array
        return nib.orientations.apply_orientation(array, self._turn)

    def turn_affine(self, affine, shape):
        """Return the affine of an image whose axes have been turned.

        Parameters
        ----------
        affine : ndarray, shape (ndim + 1, ndim + 1)
            From voxels to world coordinates.
        shape : tuple of int
            Shape of the image before it is turned.

        Returns
        -------
        affine : ndarray, shape (ndim + 1, ndim + 1)
        """
        if self.ndim == 2:
            return affine
        return affine @ nib.orientations.inv_ornt_aff(self._turn, shape)

    def turn_field(self, displacement):
        """Turn the axes and the components of a displacement field.

        Parameters
        ----------
        displacement : ndarray, shape (*spatial, ndim)
            In voxels.

        Returns
        -------
        turned : ndarray
        """
        displacement = np.asarray(displacement)
        if self.ndim == 2:
            return displacement
        turned = np.empty_like(displacement)
        for axis, (new_axis, sign) in enumerate(self._turn):
            turned[..., int(new_axis)] = sign * displacement[..., axis]
        return self.turn(turned)


def cut(turned, plane, index):
    """Return a slice of a turned array.

    Parameters
    ----------
    turned : ndarray
        As :meth:`Planes.turn` returns it.
    plane : Plane
    index : int
        Index of the slice; ignored for an image of two axes.

    Returns
    -------
    image : ndarray, shape (rows, columns) or (rows, columns, any)
    """
    image = turned
    if plane.normal is not None:
        # np.take would copy a whole array whose axes are turned.
        image = turned[(slice(None),) * plane.normal + (index,)]
    return np.swapaxes(image, 0, 1) if plane.rows > plane.columns else image


def middle(turned):
    """Return the centre of the bounding box of a mask, as an index for each axis.

    Parameters
    ----------
    turned : ndarray of bool, shape (*spatial,)
        An empty mask has the centre of the array.

    Returns
    -------
    index : list of int
    """
    occupied = [
        np.flatnonzero(np.any(turned, _all_but(axis, turned.ndim)))
        for axis in range(turned.ndim)
    ]
    return [
        int(indices[0] + indices[-1]) // 2 if len(indices) else size // 2
        for indices, size in zip(occupied, turned.shape)
    ]


def _all_but(axis, ndim):
    return tuple(other for other in range(ndim) if other != axis)
