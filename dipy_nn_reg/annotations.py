"""Annotations of a pair of images: label maps, landmarks, masks and orientations."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np


class Place(NamedTuple):
    """Name of an annotation, its kind, and the image that it belongs to."""

    name: str
    kind: str
    image: str


PLACES = {
    place.name: place
    for place in (
        Place("moving_labels", "labels", "moving"),
        Place("static_labels", "labels", "static"),
        Place("moving_landmarks", "landmarks", "moving"),
        Place("static_landmarks", "landmarks", "static"),
        Place("mask", "mask", "static"),
        Place("moving_mask", "mask", "moving"),
        Place("moving_orientations", "orientations", "moving"),
        Place("static_orientations", "orientations", "static"),
    )
}


@dataclass(frozen=True)
class Annotations:
    """Annotations of a pair of images, or of a batch of pairs, beside the intensities.

    Each is an array or a tensor, or None. The functions that take annotations state the
    shapes.

    Attributes
    ----------
    moving_labels, static_labels
        Label maps: integers, or fractions of each label in each voxel.
    moving_landmarks, static_landmarks
        Corresponding points, in voxels.
    mask, moving_mask
        Voxels of the static and of the moving image at which the images are compared:
        only where both masks are, the moving one after warping.
    moving_orientations, static_orientations
        :mod:`Orientation tensors <dipy_nn_reg.transform.orientations>` of fibres.
    label_values : ndarray of int, optional
        Labels other than 0 that occur in the label maps.
    """

    moving_labels: Any = None
    static_labels: Any = None
    moving_landmarks: Any = None
    static_landmarks: Any = None
    mask: Any = None
    moving_mask: Any = None
    moving_orientations: Any = None
    static_orientations: Any = None
    label_values: Any = None

    def as_dict(self):
        """Return the annotations that are not None by name, without label values."""
        named = {name: getattr(self, name) for name in PLACES}
        return {name: array for name, array in named.items() if array is not None}

    def map(self, function):
        """Return annotations to each of which a function has been applied.

        Parameters
        ----------
        function : callable
            ``function(array, place)``, with ``place`` a :class:`Place`, returns the new
            array.

        Returns
        -------
        annotations : Annotations
        """
        arrays = self.as_dict()
        return replace(self, **{n: function(a, PLACES[n]) for n, a in arrays.items()})

    def swapped(self):
        """Return annotations with moving and static exchanged."""
        return replace(
            self,
            moving_labels=self.static_labels,
            static_labels=self.moving_labels,
            moving_landmarks=self.static_landmarks,
            static_landmarks=self.moving_landmarks,
            moving_mask=self.mask,
            mask=self.moving_mask,
            moving_orientations=self.static_orientations,
            static_orientations=self.moving_orientations,
        )


NO_ANNOTATIONS = Annotations()


def labels_of_one_type(*maps):
    """Return label maps in one type of integers that holds the values of all.

    Parameters
    ----------
    *maps : ndarray of int

    Returns
    -------
    maps : list of ndarray of int

    Raises
    ------
    ValueError
        If no type of integers holds the values of all.
    """
    dtype = np.result_type(*maps)
    if dtype.kind != "f":
        return [labels.astype(dtype, copy=False) for labels in maps]
    # NumPy would compare them as float64, in which large values are equal.
    highest = max(int(labels.max()) for labels in maps)
    lowest = min(int(labels.min()) for labels in maps)
    for dtype in (np.int64, np.uint64):
        if np.iinfo(dtype).min <= lowest and highest <= np.iinfo(dtype).max:
            return [labels.astype(dtype) for labels in maps]
    raise ValueError(
        f"Expected labels that one type of integers holds. Received values from "
        f"{lowest} to {highest}."
    )


def find_label_values(moving, static):
    """Return the labels other than 0 that occur in either of two label maps, sorted."""
    return np.setdiff1d(np.union1d(moving, static), 0)
