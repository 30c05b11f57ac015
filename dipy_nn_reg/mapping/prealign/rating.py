"""Comparison of an alignment with those that other starts lead to."""

from typing import NamedTuple

from dipy_nn_reg.mapping.prealign.images import CoarsePair
from dipy_nn_reg.mapping.prealign.search import Levels, rate, search


class Rating(NamedTuple):
    """An alignment beside the best one that differs from it.

    Attributes
    ----------
    information : float
        Mutual information of the images after a small correction of the alignment, in
        nats.
    rival : float
        Largest mutual information of an alignment that differs from it, and that a
        search from starts in all directions finds; 0 without one.
    """

    information: float
    rival: float


def rate_affine(
    moving,
    static,
    affine,
    *,
    moving_affine,
    static_affine,
    moving_mask=None,
    mask=None,
):
    """Return whether another alignment of two images would be better.

    Parameters
    ----------
    moving, static : ndarray, shape (*spatial,)
    affine : ndarray, shape (ndim + 1, ndim + 1)
        From static to moving world coordinates in mm.
    moving_affine, static_affine : ndarray
        From voxels to world coordinates in mm.
    moving_mask, mask : ndarray, shape (*spatial,), optional
        Masks of the images: where one is 0, they are not compared.

    Returns
    -------
    rating : Rating

    Raises
    ------
    ValueError
        If an image or an affine is invalid.
    """
    pair = CoarsePair.of(
        moving,
        static,
        moving_affine=moving_affine,
        static_affine=static_affine,
        moving_mask=moving_mask,
        mask=mask,
    )
    levels = Levels(pair.moving, pair.static)
    candidates, _ = search(levels)
    return Rating(*rate(pair.from_world(affine), candidates, levels.middle))
