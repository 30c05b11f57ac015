"""Pair of images as tensors, for a descent and for the choice of its result."""

from typing import Any, NamedTuple

from keras import ops
import numpy as np

from dipy_nn_reg.annotations import Annotations, find_label_values
from dipy_nn_reg.losses.supervision import one_hot
from dipy_nn_reg.transform.functions import warp
from dipy_nn_reg.transform.kernels import then_affine
from dipy_nn_reg.transform.layers import intensity_range, rescale
from dipy_nn_reg.transform.orientations import turn
from dipy_nn_reg.transform.pyramid import shrink


class PairTensors(NamedTuple):
    """Two images on one grid as tensors, with their backgrounds and annotations.

    Attributes
    ----------
    moving, static : tensor, shape (1, *spatial, channels)
        Intensities from 0 to 1.
    moving_fill, static_fill : tensor, shape (1, channels)
        Background of each image, with which it continues outside of the grid.
    annotations : Annotations
        Labels as the fraction of each label in each voxel, shape
        (1, *spatial, labels); masks, shape (1, *spatial, 1); and orientations, shape
        (1, *spatial, 6).
    source : tuple of tensor, shapes (1, *stored, channels) and (1, ndim, ndim + 1)
        Moving image before it was interpolated onto the grid, with more background at
        the end of each axis, and the affine from voxels of the grid to its own; None if
        it was not, or if that is unknown.
    """

    moving: Any
    static: Any
    moving_fill: Any
    static_fill: Any
    annotations: Annotations = Annotations()
    source: tuple | None = None

    @property
    def shape(self):
        """Spatial shape."""
        return tuple(self.static.shape[1:-1])

    def shrunk(self, level):
        """Return the pair with images shrunk by a power of two."""
        return self._replace(
            moving=shrink(self.moving, level),
            static=shrink(self.static, level),
            annotations=self.annotations.map(lambda array, _: shrink(array, level)),
            source=self.source if level == 1 else None,
        )

    def swapped(self):
        """Return the pair with moving and static exchanged."""
        return PairTensors(
            self.static,
            self.moving,
            self.static_fill,
            self.moving_fill,
            self.annotations.swapped(),
        )

    def warped(self, displacement):
        """Return the pair whose moving image is warped, with its annotations."""

        def follow(array, place):
            if place.image == "static":
                return array
            warped = warp(array, displacement)
            turns = place.kind == "orientations"
            return turn(warped, displacement) if turns else warped

        images, fills, _ = self.as_dicts()
        return self._replace(
            moving=warp_moving(images, fills["moving"], displacement),
            annotations=self.annotations.map(follow),
            source=None,
        )

    def as_dicts(self):
        """Return images, backgrounds and annotations by name."""
        images = {"moving": self.moving, "static": self.static}
        if self.source is not None:
            images |= zip(("source", "to_source"), self.source)
        fills = {"moving": self.moving_fill, "static": self.static_fill}
        return images, fills, self.annotations.as_dict()


def warp_moving(images, fill, displacement):
    """Warp the moving image of a pair, with one interpolation where that is possible.

    An image that was interpolated before is blurred, which costs overlap and smoothness
    (doc/experiments.md).

    Parameters
    ----------
    images : dict of tensor
        Those of :meth:`PairTensors.as_dicts`.
    fill : tensor, shape (1, channels)
        Background of the moving image.
    displacement : tensor, shape (1, *spatial, ndim)
        In voxels of the grid.

    Returns
    -------
    warped : tensor, shape (1, *spatial, channels)
    """
    image = images["moving"]
    if "source" in images:
        image = images["source"]
        displacement = then_affine(displacement, images["to_source"])
    return warp(image, displacement, fill=fill, image_is_constant=True)


def as_tensors(pair):
    """Return a pair as tensors, with intensities from 0 to 1.

    Parameters
    ----------
    pair : dipy_nn_reg.mapping.pair_on_grid.PairOnGrid

    Returns
    -------
    tensors : PairTensors
    """
    ends = [intensity_range(_tensor(image)) for image in (pair.moving, pair.static)]
    annotations, values = pair.annotations, None
    if annotations.moving_labels is not None:
        both = annotations.moving_labels, annotations.static_labels
        values = find_label_values(*both)

    def to_tensor(array, place):
        if place.kind == "orientations":
            return _tensor(array)
        if place.kind == "labels":
            return ops.convert_to_tensor(one_hot(array[None], values))
        return _tensor(array[..., None] > 0)

    return PairTensors(
        rescale(_tensor(pair.moving), *ends[0]),
        rescale(_tensor(pair.static), *ends[1]),
        *(_background(*of_image) for of_image in ends),
        annotations.map(to_tensor),
        _source(pair.source, ends[0]),
    )


def _tensor(array):
    """Return an array as a tensor of float32, with a batch axis."""
    return ops.convert_to_tensor(array[None].astype(np.float32))


def _background(low, high):
    """Return a background of 0 on the scale of a rescaled image, (1, channels)."""
    fill = rescale(ops.zeros_like(low), low, high)
    return ops.reshape(fill, (1, low.shape[-1]))


def _source(source, ends):
    """Return the moving image as stored, on the scale of that on the grid.

    Each shape is compiled for, and takes memory until the process ends. So the
    background is continued to one of few shapes, as that of a static image is the same
    for all people of a study, and those of moving images are not.
    """
    if source is None:
        return None
    *spatial, _ = source.image.shape
    margins = [(0, _usual_size(size) - size) for size in spatial]
    image = np.pad(source.image, [*margins, (0, 0)])
    return rescale(_tensor(image), *ends), _tensor(source.affine[:-1])


def _usual_size(size):
    """Return the next size among 2, 3, 4, 6, 8, 12 and so on to 128, 144, 160."""
    power = 1 << (size - 1).bit_length()
    # Large images are padded less, since they would take too much memory.
    step = max(1, power // (4 if size <= 128 else 16))
    return -(-size // step) * step
