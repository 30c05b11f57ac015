"""Label maps and masks, read on the grid of the image that they belong to.

Their own headers say where they are. If one stores the voxels of the image in another
order, they are reordered, bit for bit. On any other grid, each voxel of the image takes
the label of the voxel that its centre lies in.
"""

from itertools import permutations, product

from dipy.utils.logging import logger
from nibabel.affines import apply_affine
import numpy as np

from dipy_nn_reg.io.nifti import read_labels, read_voxel_values
from dipy_nn_reg.io.voxel_values import nan_to_zero
from dipy_nn_reg.mapping.resampling import resample

# Largest distance in voxels between the centres of two grids that count as the same.
_MAX_DISTANCE = 1e-3


def read_labels_on(path, image):
    """Read a label map on the grid of an image.

    Parameters
    ----------
    path : string or Path
    image : dipy_nn_reg.io.nifti.Image
        Image whose grid the labels are read on; for a series, the grid of its volumes.

    Returns
    -------
    labels : ndarray of int, shape image.data.shape[:3]
        Of the type that :func:`~dipy_nn_reg.io.nifti.read_labels` returns. Labelled
        voxels outside of the image cause a warning.

    Raises
    ------
    ValueError
        If there are no labels, or no labels on that grid; and as
        :func:`~dipy_nn_reg.io.nifti.read_labels`.
    """
    return _read_on_grid(read_labels(path), image, what="labels other than 0")


def read_mask_on(path, image):
    """Read a mask on the grid of an image.

    Parameters
    ----------
    path : string or Path
        Voxels with values above 0, including fractions, are inside. NaN is outside,
        with a warning.
    image : dipy_nn_reg.io.nifti.Image

    Returns
    -------
    mask : ndarray of uint8, shape image.data.shape[:3]
        1 inside, 0 outside.

    Raises
    ------
    ValueError
        If no voxel is inside, or no voxel inside is on that grid; and as
        :func:`~dipy_nn_reg.io.nifti.read_image`.
    """
    mask = read_voxel_values(path)
    if mask.data.dtype.kind == "f":
        mask = mask._replace(data=nan_to_zero(mask.data, mask.path))
    mask = mask._replace(data=(mask.data > 0).astype(np.uint8))
    return _read_on_grid(mask, image, what="a mask with values above 0")


def _read_on_grid(labels, image, *, what):
    """Return the values of one image on the grid of another."""
    if not labels.data.any():
        raise ValueError(f"Expected {what}. Received {str(labels.path)!r}, which is 0.")
    labels, shape = labels.placed_on(image.grid), image.data.shape[:3]
    order = _find_order(labels, shape, image.affine)
    if order is not None:
        axes, flipped = order
        return np.flip(labels.data.transpose(axes), flipped).copy()
    values = resample(
        labels.data,
        labels.affine,
        [],
        image.grid,
        interpolation="nearest",
    )
    if not values.any():
        raise ValueError(
            f"Expected {what} where {str(image.path)!r} lies, "
            f"{_describe_box(image.grid)}. Received {str(labels.path)!r}, "
            f"{_describe_box(labels.grid)}, which has none in that box."
        )
    _warn_of_outside(labels, shape, image)
    return values


def _find_order(labels, shape, affine):
    """Return the axes and flips that turn one grid into another, or None."""
    to_labels = np.linalg.inv(labels.affine) @ affine
    corners = np.array(list(product(*[(0, size - 1) for size in shape])), float)
    voxels = apply_affine(to_labels, corners)
    last = np.array(labels.data.shape) - 1
    for axes in permutations(range(3)):
        if tuple(np.array(labels.data.shape)[list(axes)]) != tuple(shape):
            continue
        for flips in product((False, True), repeat=3):
            expected = np.empty_like(corners)
            for axis, flip in zip(range(3), flips):
                at = corners[:, axis]
                expected[:, axes[axis]] = last[axes[axis]] - at if flip else at
            if np.abs(voxels - expected).max() <= _MAX_DISTANCE:
                return axes, tuple(axis for axis in range(3) if flips[axis])
    return None


def _warn_of_outside(labels, shape, image):
    """Warn if labelled voxels have their centres outside of the image."""
    to_image = np.linalg.inv(image.affine) @ labels.affine
    labelled = np.argwhere(labels.data)
    voxels = apply_affine(to_image, labelled)
    inside = np.all((voxels >= -0.5) & (voxels < np.array(shape) - 0.5), axis=1)
    if not inside.all():
        percent = 100 * np.mean(~inside)
        logger.warning(
            f"{percent:.3g} % of the labelled voxels of {labels.path} are outside of "
            f"{image.path}."
        )


def _describe_box(grid):
    """Return the corners of the box of a grid as text."""
    lowest, highest = (", ".join(f"{x:.4g}" for x in edge) for edge in grid.box())
    return f"from ({lowest}) to ({highest}) mm"
