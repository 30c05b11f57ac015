"""Two images to be aligned: checked, normalised, and slices in their plane."""

from typing import NamedTuple

from nibabel.affines import apply_affine, voxel_sizes
import numpy as np

from dipy_nn_reg.checks import check_real
from dipy_nn_reg.intensities import normalize, replace_nan
from dipy_nn_reg.mapping.affines import check_affine, lift_affine, plane_affine
from dipy_nn_reg.mapping.prealign.levels import CoarseImage
from dipy_nn_reg.mapping.slices import Slice, axis_across, check_planes
from dipy_nn_reg.mapping.view import shown_part


class CoarsePair(NamedTuple):
    """Two images with a background of 0, in 2D or 3D.

    Attributes
    ----------
    moving, static : CoarseImage
    to_plane : ndarray or None
        For slices, affine of 4 x 4 from world coordinates to those in mm along the axes
        of the static slice, in which the images lie.
    """

    moving: CoarseImage
    static: CoarseImage
    to_plane: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        moving,
        static,
        *,
        moving_affine,
        static_affine,
        moving_mask=None,
        mask=None,
    ):
        """Return images as a CoarsePair.

        See :func:`~dipy_nn_reg.mapping.prealign.estimate_prealign`.
        """
        moving, static = check_real("moving", moving), check_real("static", static)
        if moving.ndim != static.ndim or static.ndim not in (2, 3):
            raise ValueError(
                f"Expected two images of two or three axes. Received moving.shape="
                f"{moving.shape} and static.shape={static.shape}."
            )
        moving, static = _finite("moving", moving), _finite("static", static)
        affines = {"moving_affine": moving_affine, "static_affine": static_affine}
        affines = [
            check_affine(affine, name=name, ndim=static.ndim)
            for name, affine in affines.items()
        ]
        images, masks = [moving, static], [moving_mask, mask]
        to_plane = None
        if axis_across(static.shape) is not None:
            names = "moving", "static"
            slices = [Slice.of(*one, 1) for one in zip(names, images, affines)]
            check_planes(*(np.cross(*one.affine[:3, :2].T) for one in slices))
            sizes = np.diag([*voxel_sizes(slices[1].affine), 1])
            to_plane = sizes @ np.linalg.inv(slices[1].affine)
            affines = [_in_plane(to_plane @ one.affine) for one in slices]
            images = [one.image for one in slices]
            masks = [
                None if mask is None else one.turn(mask)[:, :, 0]
                for one, mask in zip(slices, masks)
            ]
        return cls(*map(_as_coarse, images, affines, masks), to_plane)

    def to_world(self, affine):
        """Return an affine between the images as one of world coordinates."""
        if self.to_plane is None:
            return affine
        return np.linalg.inv(self.to_plane) @ lift_affine(affine) @ self.to_plane

    def from_world(self, affine):
        """Return an affine of world coordinates as one between the images."""
        if self.to_plane is None:
            return affine
        return plane_affine(self.to_plane @ affine @ np.linalg.inv(self.to_plane))

    def point_to_world(self, point):
        """Return the world coordinates of a point."""
        if self.to_plane is None:
            return point
        return apply_affine(np.linalg.inv(self.to_plane), [*point, 0])


def _finite(name, image):
    """Return an image with its background for NaN, if there is something to align."""
    if max(image.shape) < 2:
        raise ValueError(
            f"Expected two voxels or more along an axis of {name}. Received "
            f"{name}.shape={image.shape}."
        )
    image = replace_nan(image, name=name)
    if not np.isfinite(image).all():
        raise ValueError(f"Expected finite values in {name}. Received infinite ones.")
    return image


def _as_coarse(image, affine, mask):
    """Return an image without what it was padded with after it had been cut."""
    image = normalize(image)
    part = shown_part(image[..., None])
    affine = affine.copy()
    affine[:-1, -1] = apply_affine(affine, [along.start for along in part])
    return CoarseImage(image[part], affine, None if mask is None else mask[part] > 0)


def _in_plane(affine):
    """Return an affine from a slice to coordinates in the plane of another one.

    Points of that plane go to the slice by the shortest way, as in
    :func:`~dipy_nn_reg.mapping.slices.in_one_plane`.
    """
    return np.linalg.inv(plane_affine(np.linalg.inv(affine)))
