"""Two images anywhere in the world, brought to one grid, and back to a map."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dipy_nn_reg.mapping.frame import Frame
from dipy_nn_reg.mapping.prealign import check_prealign
from dipy_nn_reg.memory import check_memory


class Parts(NamedTuple):
    """What a registration of two images on one grid finds, in voxels.

    Attributes
    ----------
    displacement : ndarray, shape (*spatial, ndim)
    invert : callable
        Makes the inverse displacement, which is needed of what is returned alone.
    matrix : ndarray, shape (ndim + 1, ndim + 1), optional
        An affine that follows the displacement.
    """

    displacement: np.ndarray
    invert: Callable
    matrix: np.ndarray | None = None


def predict_mapping(
    predict_parts,
    moving,
    static,
    *,
    ndim,
    num_channels,
    moving_affine=None,
    static_affine=None,
    prealign=None,
    voxel_size=None,
    annotations=None,
    check_size=None,
):
    """Return the map of one pair of images.

    Parameters
    ----------
    predict_parts : callable
        Takes a moving and a static image of one size, shape (*spatial, channels), whose
        background is 0, and what goes with them by name; returns :class:`Parts`.
    moving, static : array-like, shape (*spatial,) or (*spatial, channels)
    ndim, num_channels : int
        What ``predict_parts`` takes.
    moving_affine, static_affine, prealign, voxel_size
        See ``DeformableRegistration.predict_mapping``.
    annotations : dict of ndarray, optional
        Label maps and masks by name, of the shape of the image they go with: those
        whose name begins with "moving" with the moving one.
    check_size : callable, optional
        Raises an error unless ``predict_parts`` takes images of a shape, which it is
        called with before anything is computed.

    Returns
    -------
    mapping : dipy.align.imwarp.DiffeomorphicMap
    """
    frame = Frame(
        moving,
        static,
        ndim=ndim,
        num_channels=num_channels,
        moving_affine=moving_affine,
        static_affine=static_affine,
        voxel_size=voxel_size,
    )
    check_prealign(prealign, ndim=frame.dim)
    annotations = frame.check_annotations(annotations or {})
    if check_size is not None:
        check_size(frame.shape)
    check_memory(
        frame.nbytes,
        what=f"Reading images of {np.shape(moving)} and {np.shape(static)}",
        advice="Crop them, or store them with larger voxels.",
    )
    prealign = frame.align(prealign)
    images = frame.read_images(prealign)
    annotations = frame.read_annotations(annotations, prealign)
    return frame.to_mapping(predict_parts(*images, **annotations), prealign)
