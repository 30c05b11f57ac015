"""The planes in which images are drawn: radiological, with their directions.

A volume is turned so that its axes lead to the left, to the back and down. A plane is
then two of its axes as they are, rows from above and columns from the left: the right
side of a person is at the left of the picture. An image of two axes is one plane of
rows and columns, and of its directions nothing is known.
"""

from typing import NamedTuple

import nibabel as nib
from nibabel.affines import voxel_sizes
import numpy as np

from dipy_nn_reg.mapping.maps import check_affine

ORIENTATION = "LPI"


class Plane(NamedTuple):
    """One plane of an image whose axes have been turned.

    Attributes
    ----------
    name : str
    normal : int or None
        Axis that is cut; None for an image of two axes.
    rows, columns : int
        Axes that are drawn.
    edges : tuple of str
        Letters for left, right, top and bottom; none where that is not known.
    aspect : float
        Height of a voxel by its width.
    """

    name: str
    normal: int | None
    rows: int
    columns: int
    edges: tuple
    aspect: float


class Planes:
    """How an image of a shape is drawn.

    Parameters
    ----------
    shape : tuple of int
        Two axes or three.
    affine : ndarray, shape (4, 4), optional
        From voxels to world coordinates in mm (RAS+), of an image of three axes.
        Without it they are taken as leading to the right, to the front and up.

    Raises
    ------
    ValueError
        If there is no plane of two voxels or more along two axes, or if the affine is
        none.
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
        known = affine is not None
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
            Plane(name, normal, r, c, edges if known else (), sizes[r] / sizes[c])
            for name, normal, r, c, edges in planes
            if turned[r] > 1 and turned[c] > 1
        ]

    def turn(self, array):
        """Turn the axes of an image.

        Parameters
        ----------
        array : ndarray, shape (*spatial,) or (*spatial, any)
        """
        if self.ndim == 2:
            return array
        return nib.orientations.apply_orientation(array, self._turn)

    def turn_field(self, displacement):
        """Turn a displacement in voxels, shape (*spatial, ndim), and its components."""
        displacement = np.asarray(displacement)
        if self.ndim == 2:
            return displacement
        turned = np.empty_like(displacement)
        for axis, (new_axis, sign) in enumerate(self._turn):
            turned[..., int(new_axis)] = sign * displacement[..., axis]
        return self.turn(turned)


def cut(turned, plane, index):
    """Return a slice of what was turned: shape (rows, columns) or (rows, columns, any).

    Parameters
    ----------
    turned : ndarray
        As :meth:`Planes.turn` returns it.
    plane : Plane
    index : int
        Of the slice; of no matter for an image of two axes.
    """
    image = turned if plane.normal is None else np.take(turned, index, plane.normal)
    return np.swapaxes(image, 0, 1) if plane.rows > plane.columns else image


def middle(turned):
    """Return the index of the slice in the middle of what is there, for each axis."""
    box = [
        np.flatnonzero(np.any(turned, _but(turned.ndim, a))) for a in range(turned.ndim)
    ]
    return [
        int(places[0] + places[-1]) // 2 if len(places) else size // 2
        for places, size in zip(box, turned.shape)
    ]


def _but(ndim, axis):
    return tuple(other for other in range(ndim) if other != axis)
