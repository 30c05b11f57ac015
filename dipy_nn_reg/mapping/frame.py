"""Frame of a registration: two images brought to one grid, and a map back."""

from functools import cached_property, partial

from dipy.utils.logging import logger
import numpy as np

from dipy_nn_reg.annotations import NO_ANNOTATIONS, PLACES
from dipy_nn_reg.checks import check_number
from dipy_nn_reg.intensities import normalize
from dipy_nn_reg.mapping.affines import lift_affine, plane_affine
from dipy_nn_reg.mapping.fibre_support import supported_by_fibres
from dipy_nn_reg.mapping.frame_checks import (
    check_affines,
    check_annotation,
    check_image,
    check_on_grid,
    check_overlap,
    check_room,
)
from dipy_nn_reg.mapping.grid import FEWEST_VOXELS, Grid
from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.mapping.pair_on_grid import PairOnGrid, source_of
from dipy_nn_reg.mapping.prealign import Alignment, check_prealign
from dipy_nn_reg.mapping.regridding import (
    field_on_grid,
    labels_on_grid,
    orientations_on_grid,
    read_on_grid,
    smoothed_for,
)
from dipy_nn_reg.mapping.skull import Heads
from dipy_nn_reg.mapping.slices import Slice, in_one_plane
from dipy_nn_reg.mapping.view import limit_to_views


class Frame:
    """Grid on which two images are compared, with the transforms to it and back.

    Parameters
    ----------
    moving, static : array-like, shape (*spatial,) or (*spatial, channels)
    ndim, num_channels : int
        Number of axes in which the images are registered, and of channels.
    moving_affine, static_affine : ndarray, shape (dim + 1, dim + 1), optional
        From voxels to world coordinates in mm; affines of 4 x 4 with ``ndim=2`` are
        those of slices, which may be stored along any axis.
    prealign : str, Alignment, ndarray or None, optional
        Kind of alignment to be estimated, as ``estimate_prealign`` takes it; an
        estimated alignment; or the affine from static to moving world coordinates.
        Slices stay in their plane, whatever their distance across it.
    voxel_size : float or "cubic", optional
        Voxel size of the grid in mm; by default that of the static image. With "cubic",
        voxels of the same volume are cubic if its slices are thick.

    Attributes
    ----------
    dim : int
        Number of world axes.
    shape : tuple of int
        Shape of the images on the grid: (*spatial, channels).

    Raises
    ------
    ValueError
        If an image, an affine, ``prealign`` or the voxel size is invalid.
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
        prealign=None,
        voxel_size=None,
    ):
        self.ndim, in_slice = ndim, ndim == 2 and np.shape(static_affine) == (4, 4)
        self.dim = 3 if in_slice else ndim
        affines = check_affines(static_affine, moving_affine, self.dim)
        cubic = isinstance(voxel_size, str) and voxel_size == "cubic"
        if not (voxel_size is None or cubic):
            check_number("voxel_size", voxel_size)
        check_prealign(prealign, ndim=self.dim)
        self.prealign = prealign
        images = {"moving": moving, "static": static}
        self.affines = dict(zip(("static", "moving"), affines))
        self.slices = {}
        if in_slice:
            self.slices = {
                name: Slice.of(name, image, self.affines[name], num_channels)
                for name, image in images.items()
            }
            images = {name: one.image for name, one in self.slices.items()}
        self.images = {
            name: check_image(image, name, ndim, num_channels)
            for name, image in images.items()
        }
        self.grid = Grid(self._grid_shape("static"), self._affine("static"))
        if cubic:
            voxel_size = self.grid.cubic_size
        if voxel_size is not None:
            self.grid = self.grid.with_voxel_size(voxel_size, fewest=FEWEST_VOXELS)
        self.shape = (*self.grid.shape[:ndim], num_channels)

    def check_annotations(self, annotations):
        """Return label maps and masks as arrays of the shape of their images.

        Raises
        ------
        ValueError
            If a shape differs from that of the image, or if values are not integers;
            a mask may hold any finite numbers.
        """
        return annotations.map(
            lambda array, place: check_annotation(
                array, place, self._stored_shape(place.image)
            )
        )

    def read(self, annotations=NO_ANNOTATIONS, *, masked=False):
        """Align the images, and resample them to the grid with their annotations.

        Parameters
        ----------
        annotations : Annotations, optional
            As :meth:`check_annotations` returns them.
        masked : bool, optional
            Mask what the moving image has not seen, and what lies around the brain if
            one image has a skull.

        Returns
        -------
        pair : PairOnGrid

        Raises
        ------
        ValueError
            If no part of the moving image, or of both masks, is on the grid.
        MemoryError
            If there is not enough memory.
        """
        heads = self._heads()
        alignment = self._align(heads, annotations)
        prealign = self._affine_of(alignment)
        maps = {"moving": [prealign], "static": []}
        sources = {name: self._smoothed(name, maps[name]) for name in maps}
        moving, static = (self._read(n, sources[n], maps[n]) for n in maps)
        check_on_grid(moving, self._normalized["moving"])
        to_moving, skull = self._to_moving(prealign), None
        if masked:
            annotations, skull = heads.limit(annotations, prealign)
        annotations = annotations.map(partial(self._read_annotation, maps))
        if masked:
            stored = self._normalized["moving"]
            moving, static, annotations = limit_to_views(
                moving, static, stored, to_moving, annotations
            )
        check_overlap(annotations)
        source = source_of(self._in_plane(sources["moving"]), to_moving)
        return PairOnGrid(
            moving, static, annotations, prealign, alignment, skull, source
        )

    def _to_moving(self, prealign):
        """Return the affine from voxels of the grid to those of the moving image."""
        affine = np.linalg.inv(self._affine("moving")) @ prealign @ self.grid.affine
        return plane_affine(affine) if self.slices else affine

    def to_mapping(self, parts, prealign):
        """Return the map of :class:`~dipy_nn_reg.mapping.parts.Parts` on the grid.

        Parameters
        ----------
        parts : Parts
        prealign : ndarray
            That of the :class:`PairOnGrid`.

        Returns
        -------
        mapping : dipy.align.imwarp.DiffeomorphicMap
        """
        fields = parts.displacement, parts.invert()
        affine, static_affine = self.grid.affine, self._affine("static")
        if parts.matrix is not None:
            matrix = lift_affine(parts.matrix) if self.slices else parts.matrix
            prealign = prealign @ affine @ matrix @ np.linalg.inv(affine)
        if not np.array_equal(affine, static_affine):
            to_grid = np.linalg.inv(affine) @ static_affine
            to_grid = plane_affine(to_grid) if self.slices else to_grid
            size = self.images["static"].shape[:-1]
            fields = [field_on_grid(field, size, to_grid) for field in fields]
        if self.slices:
            fields = [self.slices["static"].field_as_stored(field) for field in fields]
        return displacement_to_mapping(
            fields[0],
            inverse=fields[1],
            static_affine=self.affines["static"],
            moving_affine=self.affines["moving"],
            moving_shape=self._stored_shape("moving"),
            prealign=prealign,
        )

    def align(self, annotations=NO_ANNOTATIONS):
        """Return the alignment of the images within their masks, which fibres support.

        Parameters
        ----------
        annotations : Annotations, optional
            As :meth:`check_annotations` returns them.

        Returns
        -------
        alignment : Alignment or None
            None if ``prealign`` is an affine or None.
        """
        return self._align(self._heads(), annotations)

    def _align(self, heads, annotations):
        if not isinstance(self.prealign, str):
            return self.prealign if isinstance(self.prealign, Alignment) else None
        masks = {
            name: self._turned(array, PLACES[name].image)
            for name, array in annotations.as_dict().items()
            if PLACES[name].kind == "mask"
        }
        alignment = heads.align(self.prealign, **masks)
        alignment = supported_by_fibres(alignment, annotations, self.affines, self.grid)
        logger.info(str(alignment))
        return alignment

    def _heads(self):
        """Return both images as one channel each, of which one may have a skull."""
        pair = {}
        for name, image in self._normalized.items():
            image = image[..., 0] if image.shape[-1] == 1 else image.mean(-1)
            pair |= {name: self._in_world(image), f"{name}_affine": self._affine(name)}
        return Heads(**pair)

    def _affine_of(self, alignment):
        """Return the affine from static to moving world coordinates."""
        prealign = self.prealign if alignment is None else alignment.affine
        headers = np.eye(self.dim + 1)
        prealign = headers if prealign is None else np.array(prealign, float)
        if not self.slices:
            return prealign
        return in_one_plane(prealign, self._affine("moving"), self._affine("static"))

    def _smoothed(self, name, maps):
        """Return an image in the world, smoothed where voxels become larger."""
        image = self._in_world(self._normalized[name])
        return smoothed_for(image, self._affine(name), maps, self.grid)

    def _read(self, name, image, maps):
        """Return a smoothed image on the grid, (*spatial, channels)."""
        place = self._affine(name), maps, self.grid
        return self._in_plane(read_on_grid(image, *place, fill=0.0, smooth=False))

    @cached_property
    def _normalized(self):
        """Both images in float32, with their background at 0."""
        check_room(**self.images)
        return {
            name: np.stack([normalize(c) for c in np.moveaxis(image, -1, 0)], axis=-1)
            for name, image in self.images.items()
        }

    def _affine(self, name):
        """Return the affine of an image; the third axis of a slice is across it."""
        return self.slices[name].affine if self.slices else self.affines[name]

    def _grid_shape(self, name):
        shape = self.images[name].shape[:-1]
        return (*shape, 1) if self.slices else shape

    def _stored_shape(self, name):
        """Return the spatial shape of an image as the user passed it."""
        return self.slices[name].shape if self.slices else self.images[name].shape[:-1]

    def _turned(self, array, image):
        """Return an annotation whose third axis lies across the slice."""
        return self.slices[image].turn(array) if self.slices else array

    def _in_world(self, array):
        """Return an image with as many axes as the world: a slice gets a third one."""
        return array[:, :, None] if self.slices else array

    def _in_plane(self, array):
        """Return an image without the axis across a slice."""
        return array[:, :, 0] if self.slices else array

    def _read_annotation(self, maps, array, place):
        """Return an annotation on the grid."""
        array = self._turned(array, place.image)
        read = orientations_on_grid if place.kind == "orientations" else labels_on_grid
        at = self._affine(place.image), maps[place.image], self.grid
        return self._in_plane(read(array, *at))
