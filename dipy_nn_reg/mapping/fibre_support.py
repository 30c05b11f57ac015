"""Alignments of images, checked by the orientations of fibres beside them."""

from dataclasses import replace

from dipy.utils.logging import logger
import numpy as np

from dipy_nn_reg.mapping.regridding import orientations_on_grid

# Factor of the difference of fibres that is no matter of noise.
_CLEARLY = 1.05


def supported_by_fibres(alignment, annotations, affines, grid):
    """Return an alignment, or that of the headers if fibres clearly agree better there.

    Images whose contours are round, and which show no fibres, may be turned in any way.

    Parameters
    ----------
    alignment : dipy_nn_reg.mapping.prealign.Alignment
        Of the images.
    annotations : Annotations
        If it has no orientations, the alignment is returned.
    affines : dict of ndarray
        ``static`` and ``moving``, from voxels to world coordinates in mm.
    grid : Grid
        On which the orientations are compared.

    Returns
    -------
    alignment : dipy_nn_reg.mapping.prealign.Alignment
        In the second case ``runner_up`` is 1: to the images, both are alike.
    """
    moving, static = annotations.moving_orientations, annotations.static_orientations
    if static is None or alignment.kind == "none":
        return alignment
    static = orientations_on_grid(static, affines["static"], [], grid)
    headers = np.eye(4)
    aligned, unaligned = (
        _difference(
            orientations_on_grid(moving, affines["moving"], [affine], grid), static
        )
        for affine in (alignment.affine, headers)
    )
    if aligned <= _CLEARLY * unaligned:
        return alignment
    logger.info(
        f"Fibres do not support the alignment of the images, {alignment.kind}: it is "
        f"not used."
    )
    return replace(alignment, affine=headers, kind="none", runner_up=1.0)


def _difference(moving, static):
    """Return the squared difference, 1 where nothing overlaps, 0 for equal tensors."""
    size = np.square(moving).sum() + np.square(static).sum()
    return np.square(moving - static).sum() / max(size, np.finfo(float).tiny)
