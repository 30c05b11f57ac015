"""Skull in one image of a pair, where the other one shows a brain alone.

The other image is empty around the brain, while the first one has a shell there that
is dark and then bright again: skull and scalp, in every usual contrast. The field would
draw the cortex to the skull, so that the images are compared in the brain alone.
"""

from dataclasses import replace
from functools import cached_property, partial
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
_OTHER = {"moving": "static", "static": "moving"}


class Heads:
    """Two images, of which one may show a head and the other one a brain alone.

    Parameters
    ----------
    moving, static : ndarray, shape (x, y, z)
        Intensities with a background of 0. Images of other axes have no skull.
    moving_affine, static_affine : ndarray, shape (4, 4)
        From voxels to world coordinates in mm.
    """

    def __init__(self, moving, static, *, moving_affine, static_affine):
        self._images = {"moving": moving, "static": static}
        self._affines = {"moving": moving_affine, "static": static_affine}
        shapes = moving.shape, static.shape
        self._are_volumes = all(len(s) == 3 and min(s) > 1 for s in shapes)
        self._found = {}

    def align(self, kind, **masks):
        """Return the alignment of both images; in the brain if one has a skull.

        Parameters
        ----------
        kind, **masks
            As for :func:`~dipy_nn_reg.mapping.prealign.estimate_prealign`. With a mask,
            no skull is looked for.

        Returns
        -------
        alignment : Alignment
        """
        begin = perf_counter()
        affines = {f"{name}_affine": affine for name, affine in self._affines.items()}
        estimate = partial(estimate_prealign, **self._images, **affines, kind=kind)
        if masks or not self._are_volumes:
            return estimate(**masks)
        alignment, skull = None, self._larger()
        if skull is None:
            alignment = estimate()
            skull = self.find_skull(alignment.affine)
        if skull is not None:
            # A skull may lead an alignment of the whole images far astray.
            in_brain = estimate(**self._mask_beside(skull, _ALIGN_MARGIN))
            if self.find_skull(in_brain.affine) == skull:
                alignment = in_brain
        alignment = estimate() if alignment is None else alignment
        return replace(alignment, seconds=perf_counter() - begin)

    def limit(self, annotations, prealign):
        """Return annotations with a mask of the brain, if one image has a skull.

        Parameters
        ----------
        annotations : Annotations
            Those with a mask do not change.
        prealign : ndarray, shape (4, 4)
            From static to moving world coordinates.

        Returns
        -------
        annotations : Annotations
        skull : {"moving", "static"} or None
            Image that has a skull which the other one lacks.
        """
        is_masked = annotations.mask is not None or annotations.moving_mask is not None
        skull = None if is_masked else self.find_skull(prealign)
        if skull is None:
            return annotations, None
        other = _OTHER[skull]
        logger.info(
            f"The {skull} image has a skull, the {other} one has not: they are "
            f"compared in the brain of the {other} one, and {_FIELD_MARGIN:g} mm "
            f"around it. A mask of your own, of ones if need be, is used instead."
        )
        masks = self._mask_beside(skull, _FIELD_MARGIN)
        if skull == "static":
            masks["mask"] = self._brain_on_static(prealign)
        return replace(annotations, **masks), skull

    def find_skull(self, prealign):
        """Return which of the aligned images has a skull that the other one lacks.

        Parameters
        ----------
        prealign : ndarray, shape (4, 4)
            From static to moving world coordinates.

        Returns
        -------
        name : {"moving", "static"} or None
        """
        if not self._are_volumes:
            return None
        # It is asked for after an alignment, and again when masks are made.
        key = np.asarray(prealign, float).tobytes()
        if key not in self._found:
            moving, static = (self._coarse[name] for name in ("moving", "static"))
            back = np.linalg.inv(prealign)
            shares = {
                "moving": surrounded(static, moving, prealign),
                "static": surrounded(moving, static, back),
            }
            name = max(shares, key=shares.get)
            self._found[key] = name if shares[name] > _SURROUNDED else None
        return self._found[key]

    @cached_property
    def _coarse(self):
        """Every few voxels of both images: averages of directions need no others."""
        coarse = {}
        for name, values in self._images.items():
            affine = self._affines[name]
            steps = np.maximum(_SIZE / voxel_sizes(affine), 1).round().astype(int)
            values = values[tuple(slice(None, None, step) for step in steps)]
            coarse[name] = CoarseImage(values, affine @ np.diag([*steps, 1]))
        return coarse

    def _larger(self):
        """Return which image shows so much more that it may have a skull, or None."""
        volumes = {
            name: np.prod(voxel_sizes(image.affine)) * np.sum(_largest(image.structure))
            for name, image in self._coarse.items()
        }
        name = max(volumes, key=volumes.get)
        return name if volumes[name] > _LARGER * min(volumes.values()) else None

    def _mask_beside(self, skull, margin):
        """Return a mask of the image without a skull, by the name of the annotation."""
        other = _OTHER[skull]
        mask = brain_mask(self._images[other], self._affines[other], margin)
        return {_MASK_BESIDE[skull]: mask}

    def _brain_on_static(self, prealign):
        """Return the moving brain with a wide margin, as a mask on the static grid."""
        mask = brain_mask(self._images["moving"], self._affines["moving"], _WIDE_MARGIN)
        grid = Grid(self._images["static"].shape, self._affines["static"])
        return labels_on_grid(mask, self._affines["moving"], [prealign], grid)


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
    direction = np.argmax(np.float32(voxels) @ _directions().T, axis=1)
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
    directions = [radius * np.cos(angle), radius * np.sin(angle), z]
    return np.stack(directions, axis=1, dtype=np.float32)
