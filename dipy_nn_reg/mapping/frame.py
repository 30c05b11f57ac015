"""The grid on which two images are compared, and the ways to it and from it."""

from functools import cached_property

import numpy as np
from scipy.ndimage import map_coordinates

from dipy_nn_reg.checks import check_images, check_number
from dipy_nn_reg.intensities import normalize
from dipy_nn_reg.mapping.maps import (
    check_affine,
    displacement_to_mapping,
    grid_points,
    lift_affine,
    plane_affine,
)
from dipy_nn_reg.mapping.prealign import estimate_prealign
from dipy_nn_reg.mapping.regridding import read_on_grid, working_grid
from dipy_nn_reg.mapping.resampling import resample, to_moving
from dipy_nn_reg.mapping.slices import Slice, in_one_plane

# Memory that reading an image takes: float64 values, and some copies in float32.
_BYTES = 24


class Frame:
    """The grid on which two images are compared, and the ways to it and from it.

    Parameters
    ----------
    moving, static : array-like, shape (*spatial,) or (*spatial, channels)
    ndim, num_channels : int
        Number of axes in which the images are registered, and of channels.
    moving_affine, static_affine : ndarray, shape (dim + 1, dim + 1), optional
        From voxels to world coordinates in mm; affines of 4 x 4 with ``ndim=2`` are
        those of slices, which may be stored along any axis.
    voxel_size : float, optional
        In mm, of the grid; by default that of the static image.

    Attributes
    ----------
    dim : int
        Number of axes of the world.
    shape : tuple of int
        Of the images on the grid: (*spatial, channels).
    nbytes : int
        Memory that reading the images takes.

    Raises
    ------
    ValueError
        If an image, an affine or the voxel size is not as said above.
    """

    def __init__(
        self,
        moving,
        static,
        *,
        ndim,
        num_channels,
        moving_affine,
        static_affine,
        voxel_size,
    ):
        self.ndim, in_slice = ndim, ndim == 2 and np.shape(static_affine) == (4, 4)
        self.dim = 3 if in_slice else ndim
        affines = _check_affines(static_affine, moving_affine, self.dim)
        if voxel_size is not None:
            check_number("voxel_size", voxel_size)
        images = {"moving": moving, "static": static}
        self.affines = dict(zip(("static", "moving"), affines))
        self.slices = {}
        if in_slice:
            self.slices = {
                name: Slice.of(image, self.affines[name], num_channels)
                for name, image in images.items()
            }
            images = {name: one.image for name, one in self.slices.items()}
        self.images = {
            name: _check_image(image, name, ndim, num_channels)
            for name, image in images.items()
        }
        grid_shape = self._grid_shape("static")
        self.grid = grid_shape, self._affine("static")
        if voxel_size is not None:
            self.grid = working_grid(*self.grid, voxel_size)
        self.shape = (*self.grid[0][:ndim], num_channels)
        self.nbytes = sum(_BYTES * image.size for image in self.images.values())

    def check_annotations(self, annotations):
        """Return label maps and masks by name as arrays of the shape of their images.

        Raises
        ------
        ValueError
            If a shape is another, or values are not integers; a mask may hold other
            finite numbers.
        """
        return {
            name: _check_annotation(array, name, self._given_shape(_image_of(name)))
            for name, array in annotations.items()
            if array is not None
        }

    def align(self, prealign):
        """Return the affine from static to moving world coordinates.

        Parameters
        ----------
        prealign : {"rigid", "affine"}, ndarray or None
            How it is to be estimated, or the affine itself. Slices stay in their
            plane, however far they are apart across it.
        """
        if isinstance(prealign, str):
            moving, static = (
                self._as_stored(self._normalized[name].mean(-1))
                for name in ("moving", "static")
            )
            prealign = estimate_prealign(
                moving,
                static,
                kind=prealign,
                moving_affine=self._affine("moving"),
                static_affine=self._affine("static"),
            )
        prealign = (
            np.eye(self.dim + 1) if prealign is None else np.array(prealign, float)
        )
        if self.slices:
            return in_one_plane(
                prealign, self._affine("moving"), self._affine("static")
            )
        return prealign

    def read_images(self, prealign):
        """Return the moving and the static image on the grid, (*spatial, channels).

        Raises
        ------
        ValueError
            If no part of the moving image is on it.
        """
        moving, static = (
            self._in_plane(
                read_on_grid(
                    self._as_stored(self._normalized[name]),
                    self._affine(name),
                    [prealign] if name == "moving" else [],
                    *self.grid,
                )
            )
            for name in ("moving", "static")
        )
        if moving.min() == moving.max() and self._normalized["moving"].any():
            raise ValueError(
                "Expected images that overlap. Received a moving image of which no "
                "part lies on the grid of the static one. Align them first, for "
                'example with prealign="affine".'
            )
        return moving, static

    def read_annotations(self, annotations, prealign):
        """Return label maps and masks on the grid, shape (*spatial,)."""
        return {
            name: self._in_plane(self._read_annotation(name, array, prealign))
            for name, array in annotations.items()
        }

    def to_mapping(self, parts, prealign):
        """Return the map that :class:`Parts`, on the grid, are of.

        Returns
        -------
        mapping : dipy.align.imwarp.DiffeomorphicMap
        """
        fields = parts.displacement, parts.invert()
        affine, static_affine = self.grid[1], self._affine("static")
        if parts.matrix is not None:
            matrix = lift_affine(parts.matrix) if self.slices else parts.matrix
            prealign = prealign @ affine @ matrix @ np.linalg.inv(affine)
        if not np.array_equal(affine, static_affine):
            to_grid = np.linalg.inv(affine) @ static_affine
            to_grid = plane_affine(to_grid) if self.slices else to_grid
            size = self.images["static"].shape[:-1]
            fields = [_field_at(field, size, to_grid) for field in fields]
        if self.slices:
            fields = [self.slices["static"].field_as_given(field) for field in fields]
        displacement, inverse = fields
        return displacement_to_mapping(
            displacement,
            inverse=inverse,
            static_affine=self.affines["static"],
            moving_affine=self.affines["moving"],
            moving_shape=self._given_shape("moving"),
            prealign=prealign,
        )

    @cached_property
    def _normalized(self):
        """Both images in float32, with their background at 0."""
        return {
            name: np.stack([normalize(c) for c in np.moveaxis(image, -1, 0)], axis=-1)
            for name, image in self.images.items()
        }

    def _affine(self, name):
        """Return the affine of an image whose slice, if it is one, lies along z."""
        return self.slices[name].affine if self.slices else self.affines[name]

    def _grid_shape(self, name):
        shape = self.images[name].shape[:-1]
        return (*shape, 1) if self.slices else shape

    def _given_shape(self, name):
        if self.slices:
            return self.slices[name].shape
        return self.images[name].shape[:-1]

    def _as_stored(self, array):
        """Give an image in a plane its third axis."""
        return array[:, :, None] if self.slices else array

    def _in_plane(self, array):
        return array[:, :, 0] if self.slices else array

    def _read_annotation(self, name, array, prealign):
        """Read a label map or a mask where its image was read."""
        image = _image_of(name)
        if self.slices:
            array = self.slices[image].turn(array)
        affine, maps = self._affine(image), [prealign] if image == "moving" else []
        unmoved = all(np.array_equal(m, np.eye(len(m))) for m in maps)
        shape, grid_affine = self.grid
        if unmoved and shape == array.shape and np.array_equal(affine, grid_affine):
            return array
        return resample(
            array,
            affine,
            lambda points: to_moving(points, maps),
            shape=shape,
            grid_affine=grid_affine,
            interpolation="nearest",
        )


def _image_of(name):
    """Tell which image an annotation goes with."""
    return "moving" if name.startswith("moving") else "static"


def _check_annotation(array, name, shape):
    """Return integers of the shape of their image; a slice may lack its last axis."""
    array = np.asarray(array)
    if array.shape not in (shape, shape[:-1] if shape[-1] == 1 else shape):
        raise ValueError(
            f"Expected {name} of the shape of its image, {shape}. "
            f"Received {name}.shape={array.shape}."
        )
    if name == "mask" and array.dtype.kind in "iuf" and np.all(np.isfinite(array)):
        array = array != 0
    if array.dtype.kind not in "biu":
        raise ValueError(
            f"Expected integers in {name}. Received {name}.dtype={array.dtype}"
            f"{', or values that are not finite' if name == 'mask' else ''}."
        )
    if not array.any():
        what = (
            "labels other than 0" if name.endswith("labels") else "voxels other than 0"
        )
        raise ValueError(f"Expected {what} in {name}. Received 0 everywhere.")
    array = array.astype(np.uint8) if array.dtype.kind == "b" else array
    return array.reshape(shape)


def _check_affines(static_affine, moving_affine, ndim):
    """Return both; without any, those of one grid of voxels."""
    if (static_affine is None) != (moving_affine is None):
        raise ValueError(
            "Expected affines of both images or of none. Received "
            f"{'moving' if static_affine is None else 'static'}_affine alone."
        )
    if static_affine is None:
        return np.eye(ndim + 1), np.eye(ndim + 1)
    return (
        check_affine(static_affine, name="static_affine", ndim=ndim),
        check_affine(moving_affine, name="moving_affine", ndim=ndim),
    )


def _check_image(image, name, ndim, num_channels):
    """Return one image with a channel axis, after looking for what would go wrong."""
    image = np.asarray(image)[None]
    image = check_images(image, name=name, ndim=ndim, num_channels=num_channels)[0]
    if image.min() == image.max():
        raise ValueError(
            f"Expected a {name} image with contrast. Received one whose values are all "
            f"{image.flat[0]}."
        )
    return image


def _field_at(field, shape, to_grid):
    """Read a field of the working grid at the voxels of the static one."""
    positions = grid_points(shape, to_grid).T
    values = [
        map_coordinates(component, positions, order=1, mode="nearest")
        for component in np.moveaxis(field, -1, 0)
    ]
    to_static = np.linalg.inv(to_grid[:-1, :-1]).T
    return (np.stack(values, axis=-1) @ to_static).reshape(*shape, len(shape))
