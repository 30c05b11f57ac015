"""Skull in one image of a pair, where the other one shows a brain alone.

The other image is empty around the brain, while the first one has a shell there that
is dark and then bright again: skull and scalp, in every usual contrast. The field would
draw the cortex to the skull, so that the images are compared in the brain alone.
"""

from dataclasses import replace
from functools import partial
from time import perf_counter

from dipy.utils.logging import logger
from nibabel.affines import voxel_sizes
import numpy as np
from scipy.ndimage import (
    affine_transform,
    binary_fill_holes,
    distance_transform_edt,
    label,
)

from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.prealign import estimate_prealign
from dipy_nn_reg.mapping.prealign.levels import CoarseImage
from dipy_nn_reg.mapping.regridding import labels_on_grid
from dipy_nn_reg.mapping.view import find_unseen

# Voxel size in mm of the images in which a skull is looked for.
_SIZE = 4.0
# Largest distance of the scalp from the brain, and thickness of the layers, in mm.
_REACH, _LAYER = 28.0, 4.0
# Number of directions from the middle of the brain.
_DIRECTIONS = 120
# Increase of brightness from the skull outwards, as a fraction of that of the brain.
_RISE = 0.25
# Fraction of the voxels in a direction that have to lie in both fields of view.
_WHOLE = 0.7
# Fraction of the directions that have to be seen, and of these, with a skull.
_SEEN, _SURROUNDED = 0.4, 0.5
# Ratio of the volumes of two images above which the larger one may have a skull.
_LARGER = 1.4
# Distance in mm around the brain within which images are aligned, and compared by the
# field: it shows where the brain ends, but not the skull. A moving mask could be led to
# the scalp, so a wide one stays in its place.
_ALIGN_MARGIN, _FIELD_MARGIN, _WIDE_MARGIN = 4.0, 2.0, 8.0
# Annotation that is the mask of the image without a skull, by that with one.
_MASK_BESIDE = {"moving": "mask", "static": "moving_mask"}


def align_in_brain(moving, static, *, moving_affine, static_affine, kind):
    """Align two images as ``estimate_prealign``; in the brain if one has a skull.

    Parameters
    ----------
    moving, static, moving_affine, static_affine
        As of :func:`find_skull`; images of other axes are aligned as they are.
    kind : str
        As for :func:`~dipy_nn_reg.mapping.prealign.estimate_prealign`.

    Returns
    -------
    alignment : Alignment
    """
    begin = perf_counter()
    affines = {"moving_affine": moving_affine, "static_affine": static_affine}
    pair = {"moving": moving, "static": static, **affines}
    estimate = partial(estimate_prealign, **pair, kind=kind)
    if not _are_volumes(pair):
        return estimate()
    alignment, skull = None, _larger(pair)
    if skull is None:
        alignment = estimate()
        skull = find_skull(prealign=alignment.affine, **pair)
    if skull is not None:
        # A skull may lead an alignment of the whole images far astray.
        in_brain = estimate(**_mask_beside(skull, pair, _ALIGN_MARGIN))
        if find_skull(prealign=in_brain.affine, **pair) == skull:
            alignment = in_brain
    alignment = estimate() if alignment is None else alignment
    return replace(alignment, seconds=perf_counter() - begin)


def limit_to_brain(annotations, *, prealign, **pair):
    """Return annotations with a mask of the brain, if one image has a skull.

    Parameters
    ----------
    annotations : Annotations
        Those with a mask do not change.
    prealign : ndarray, shape (4, 4)
        From static to moving world coordinates.
    **pair
        ``moving``, ``static``, ``moving_affine`` and ``static_affine`` of
        :func:`find_skull`.

    Returns
    -------
    annotations : Annotations
    skull : {"moving", "static"} or None
        Image that has a skull which the other one lacks.
    """
    is_masked = annotations.mask is not None or annotations.moving_mask is not None
    if is_masked or not _are_volumes(pair):
        return annotations, None
    skull = find_skull(prealign=prealign, **pair)
    if skull is None:
        return annotations, None
    other = "static" if skull == "moving" else "moving"
    logger.info(
        f"The {skull} image has a skull, the {other} one has not: they are compared in "
        f"the brain of the {other} one, and {_FIELD_MARGIN:g} mm around it. A mask of "
        f"your own, of ones if need be, is used instead."
    )
    masks = _mask_beside(skull, pair, _FIELD_MARGIN)
    if skull == "static":
        masks["mask"] = _brain_on_static(prealign, **pair)
    return replace(annotations, **masks), skull


def find_skull(moving, static, *, moving_affine, static_affine, prealign):
    """Return which of two aligned images has a skull that the other one lacks.

    Parameters
    ----------
    moving, static : ndarray, shape (x, y, z)
        Intensities with a background of 0.
    moving_affine, static_affine : ndarray, shape (4, 4)
        From voxels to world coordinates in mm.
    prealign : ndarray, shape (4, 4)
        From static to moving world coordinates.

    Returns
    -------
    name : {"moving", "static"} or None
    """
    moving, static = _coarse(moving, moving_affine), _coarse(static, static_affine)
    back = np.linalg.inv(prealign)
    pairs = {"moving": (static, moving, prealign), "static": (moving, static, back)}
    shares = {name: surrounded(*pair) for name, pair in pairs.items()}
    name = max(shares, key=shares.get)
    return name if shares[name] > _SURROUNDED else None


def surrounded(brain, head, to_head):
    """Return the fraction of a brain around which another image has a shell.

    Parameters
    ----------
    brain, head : CoarseImage
    to_head : ndarray, shape (4, 4)
        From world coordinates of the brain to those of the head.
    """
    inside, grid = _with_room(brain)
    if not inside.any():
        return 0.0
    values, is_seen = _read_around(brain, head, to_head, grid)
    profiles, seen = _profiles(values, is_seen, inside, voxel_sizes(grid.affine))
    if seen.mean() < _SEEN:
        return 0.0
    # How far the brightness rises above the darkest layer further in.
    rise = profiles - np.fmin.accumulate(profiles, axis=1)
    rise = np.nan_to_num(rise, nan=0).max(axis=1)
    return float(np.mean(rise[seen] > _RISE * np.median(values[inside])))


def brain_mask(values, affine, margin):
    """Return the largest object of an image, filled, with a margin.

    Parameters
    ----------
    values : ndarray, shape (x, y, z)
        Intensities with a background of 0.
    affine : ndarray, shape (4, 4)
    margin : float
        In mm.

    Returns
    -------
    mask : ndarray of uint8, shape (x, y, z)
    """
    inside = _largest(CoarseImage(values, affine).structure)
    distance = distance_transform_edt(~inside, sampling=voxel_sizes(affine))
    return binary_fill_holes(distance <= margin).astype(np.uint8)


def _are_volumes(pair):
    """Return whether both images have three axes of several voxels."""
    shapes = pair["moving"].shape, pair["static"].shape
    return all(len(shape) == 3 and min(shape) > 1 for shape in shapes)


def _larger(pair):
    """Return which image shows so much more that it may have a skull, or None."""
    volumes = {}
    for name in ("moving", "static"):
        image = _coarse(pair[name], pair[f"{name}_affine"])
        size = np.prod(voxel_sizes(image.affine))
        volumes[name] = size * np.sum(_largest(image.structure))
    name = max(volumes, key=volumes.get)
    return name if volumes[name] > _LARGER * min(volumes.values()) else None


def _mask_beside(skull, pair, margin):
    """Return a mask of the image without a skull, by the name of the annotation."""
    other = "static" if skull == "moving" else "moving"
    mask = brain_mask(pair[other], pair[f"{other}_affine"], margin)
    return {_MASK_BESIDE[skull]: mask}


def _coarse(values, affine):
    """Return every few voxels of an image: averages of directions need no others."""
    steps = np.maximum(_SIZE / voxel_sizes(affine), 1).round().astype(int)
    values = values[tuple(slice(None, None, step) for step in steps)]
    return CoarseImage(values, affine @ np.diag([*steps, 1]))


def _brain_on_static(prealign, moving, static, *, moving_affine, static_affine):
    """Return the mask of the moving brain, with a wide margin, on the static grid."""
    mask = brain_mask(moving, moving_affine, _WIDE_MARGIN)
    grid = Grid(static.shape, static_affine)
    return labels_on_grid(mask, moving_affine, [prealign], grid)


def _largest(structure):
    """Return the largest connected part of a mask."""
    parts, number = label(structure)
    if not number:
        return structure
    return parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])


def _with_room(brain):
    """Return where the brain is, with room around it, and the grid of this."""
    room = np.ceil(_REACH / voxel_sizes(brain.affine)).astype(int)
    padded = np.pad(_largest(brain.structure), [(width, width) for width in room])
    inside = binary_fill_holes(padded)
    affine = brain.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ room
    return inside, Grid(inside.shape, affine)


def _read_around(brain, head, to_head, grid):
    """Return the head on a grid, and which voxels both fields of view show."""
    to_voxels = np.linalg.inv(head.affine) @ to_head @ grid.affine
    values = affine_transform(
        np.abs(head.values),
        to_voxels[:3, :3],
        to_voxels[:3, 3],
        output_shape=grid.shape,
        order=1,
        cval=np.nan,
    )
    in_head = np.isfinite(values)
    values = np.where(in_head, values, 0)
    to_brain = np.linalg.inv(brain.affine) @ grid.affine
    unseen = find_unseen(brain.values[..., None], values[..., None], to_brain)
    return values, in_head if unseen is None else in_head & ~unseen


def _profiles(values, is_seen, inside, sizes):
    """Return the brightness of each layer in each direction, and which are seen."""
    distance = distance_transform_edt(~inside, sampling=sizes)
    shell = (distance > 0) & (distance < _REACH)
    voxels = (np.argwhere(shell) - np.argwhere(inside).mean(axis=0)) * sizes
    direction = np.argmax(voxels @ _directions().T, axis=1)
    # The nearest voxels around the brain are those of the first layer.
    depth = (distance[shell] - _LAYER / 2) / _LAYER
    layers = int(_REACH / _LAYER)
    cells = direction * layers + np.clip(depth.astype(int), 0, layers - 1)

    def total(weights):
        sums = np.bincount(cells, weights, _DIRECTIONS * layers)
        return sums.reshape(_DIRECTIONS, layers)

    numbers, seen = total(np.ones(len(cells))), total(is_seen[shell])
    profiles = np.where(
        numbers > 0, total(values[shell]) / np.maximum(numbers, 1), np.nan
    )
    return profiles, seen.sum(axis=1) > _WHOLE * numbers.sum(axis=1)


def _directions():
    """Return directions spread evenly: the spiral of Fibonacci on a sphere."""
    steps = np.arange(_DIRECTIONS) + 0.5
    z, angle = 1 - 2 * steps / _DIRECTIONS, np.pi * (1 + 5**0.5) * steps
    radius = np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)
