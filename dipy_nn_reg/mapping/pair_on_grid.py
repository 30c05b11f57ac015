"""Pair of images on one grid, as a frame reads it."""

from typing import NamedTuple

import numpy as np

from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.mapping.prealign import Alignment


class Source(NamedTuple):
    """Moving image before it was interpolated onto the grid.

    Attributes
    ----------
    image : ndarray, shape (*stored, channels)
        In float32, with a background of 0; smoothed if its voxels are smaller than
        those of the grid.
    affine : ndarray, shape (ndim + 1, ndim + 1)
        From voxels of the grid to those of the image.
    """

    image: np.ndarray
    affine: np.ndarray


def source_of(image, affine):
    """Return a :class:`Source`, or None if all voxels of the grid are voxels of it.

    Nothing is interpolated then, however the image is flipped or turned.

    Parameters
    ----------
    image, affine
        As of :class:`Source`.

    Returns
    -------
    source : Source or None
    """
    on_voxels = np.allclose(affine, np.round(affine), rtol=0, atol=1e-6)
    return None if on_voxels else Source(image, affine)


class PairOnGrid(NamedTuple):
    """Two images on one grid, with their annotations.

    Attributes
    ----------
    moving, static : ndarray, shape (*spatial, channels)
        Intensities in float32, with a background of 0.
    annotations : Annotations
        Label maps and a mask, shape (*spatial,).
    prealign : ndarray
        Affine by which the moving image was read, from static to moving world
        coordinates.
    alignment : Alignment or None
        How the affine was estimated; None if it was not.
    skull : {"moving", "static"} or None
        Image that has a skull which the other one lacks, if it was masked.
    source : Source or None
        What the moving image was interpolated from; None if it was not, or if more
        was done to it.
    """

    moving: np.ndarray
    static: np.ndarray
    annotations: Annotations
    prealign: np.ndarray
    alignment: Alignment | None = None
    skull: str | None = None
    source: Source | None = None
