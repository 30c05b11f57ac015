"""Skull in one image of a pair, where the other one shows a brain alone.

The other image is empty around the brain, while the first one has a shell there that
is dark and then bright again: skull and scalp, in every usual contrast. The field would
draw the cortex to the skull, so that the images are compared in the brain alone.
"""

from nibabel.affines import voxel_sizes
import numpy as np
from scipy.ndimage import binary_fill_holes, distance_transform_edt, label

from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.prealign.levels import CoarseImage
from dipy_nn_reg.mapping.regridding import read_on_grid
from dipy_nn_reg.mapping.view import find_unseen

# Voxel size in mm of the images in which a skull is looked for.
_SIZE = 4.0
# Largest distance of the scalp from the brain, and thickness of the layers, in mm.
_REACH, _LAYER = 28.0, 4.0
# Number of directions from the middle of the brain.
_DIRECTIONS = 120
# Increase of brightness from the skull outwards, as a fraction of that of the brain.
_RISE = 0.25
# Fraction of the directions that have to be seen, and of these, with a skull.
_SEEN, _SURROUNDED = 0.4, 0.6
# Ratio of the volumes of two images above which one may have a skull.
_LARGER = 1.4
# Distance in mm around the brain within which images are compared: it shows where the
# brain ends, but not the skull.
_MARGIN = 4.0


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
    moving = CoarseImage(moving, moving_affine).coarsened(_SIZE)
    static = CoarseImage(static, static_affine).coarsened(_SIZE)
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
    values = np.abs(read_on_grid(head.values, head.affine, [to_head], grid))
    distance = distance_transform_edt(~inside, sampling=voxel_sizes(grid.affine))
    shell = (distance > 0) & (distance < _REACH)
    profiles, seen = _profiles(
        values, distance, shell, _seen(brain, head, to_head, grid, values), inside
    )
    if seen.mean() < _SEEN:
        return 0.0
    # How far the brightness rises above the darkest layer further in.
    darkest = np.fmin.accumulate(profiles, axis=1)
    rise = np.nanmax(profiles - darkest, axis=1)
    return float(np.mean(rise[seen] > _RISE * np.median(values[inside])))


def _with_room(brain):
    """Return where the brain is, with room around it, and the grid of this."""
    room = int(np.ceil(_REACH / voxel_sizes(brain.affine).min()))
    parts, number = label(brain.structure)
    inside = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:]) if number else parts
    inside = binary_fill_holes(np.pad(inside > 0, room))
    affine = brain.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ ([room] * 3)
    return inside, Grid(inside.shape, affine)


def _seen(brain, head, to_head, grid, values):
    """Return the voxels of a grid that lie in the fields of view of both images."""
    to_head = np.linalg.inv(head.affine) @ to_head @ grid.affine
    in_head = Grid(head.values.shape, np.eye(4)).contains(
        Grid(grid.shape, to_head).points()
    )
    unseen = find_unseen(
        brain.values[..., None],
        values[..., None],
        np.linalg.inv(brain.affine) @ grid.affine,
    )
    in_head = in_head.reshape(grid.shape)
    return in_head if unseen is None else in_head & ~unseen


def _profiles(values, distance, shell, seen, inside):
    """Return the brightness of each layer in each direction, and which are seen."""
    voxels = np.argwhere(shell) - np.argwhere(inside).mean(axis=0)
    voxels /= np.linalg.norm(voxels, axis=1, keepdims=True)
    direction = np.argmax(voxels @ _directions().T, axis=1)
    layers = int(_REACH / _LAYER)
    # The nearest voxels around the brain are those of the first layer.
    depth = (distance[shell] - _LAYER / 2) / _LAYER
    layer = np.clip(depth.astype(int), 0, layers - 1)
    cells = direction * layers + layer
    size = _DIRECTIONS * layers
    numbers = np.bincount(cells, minlength=size).reshape(_DIRECTIONS, layers)
    sums = np.bincount(cells, values[shell], size).reshape(_DIRECTIONS, layers)
    counts = np.bincount(cells, seen[shell], size).reshape(_DIRECTIONS, layers)
    profiles = np.where(numbers > 0, sums / np.maximum(numbers, 1), np.nan)
    return profiles, counts.sum(axis=1) > 0.7 * numbers.sum(axis=1)


def _directions():
    """Return directions spread evenly: the spiral of Fibonacci on a sphere."""
    steps = np.arange(_DIRECTIONS) + 0.5
    z, angle = 1 - 2 * steps / _DIRECTIONS, np.pi * (1 + 5**0.5) * steps
    radius = np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)
