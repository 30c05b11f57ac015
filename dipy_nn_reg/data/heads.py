"""Whole heads around brains without a skull, for tests and measurements.

The head is invented, and the brain in it is the one given: fluid, skull, scalp, eyes,
face and neck follow its surface, with thicknesses that vary smoothly from place to
place. The labels of the brain, padded in the same way, are labels of the head.
"""

from typing import NamedTuple

from nibabel.affines import voxel_sizes
import numpy as np
from scipy.ndimage import (
    binary_fill_holes,
    distance_transform_edt,
    gaussian_filter,
    label,
)

from dipy_nn_reg.checks import check_integer, check_name, check_real
from dipy_nn_reg.intensities import normalize
from dipy_nn_reg.mapping.affines import check_affine, grid_points

# Intensity of each tissue, as a fraction of the brightest tissue of the brain.
TISSUES = {
    "t1": {"fluid": 0.2, "bone": 0.06, "marrow": 0.45, "fat": 1.15, "muscle": 0.5},
    "t2": {"fluid": 1.0, "bone": 0.05, "marrow": 0.35, "fat": 0.7, "muscle": 0.25},
}
# Smallest and largest thickness in mm of fluid, skull and scalp.
_FLUID, _SKULL, _SCALP = (1.0, 5.0), (4.0, 9.0), (3.0, 11.0)
# Distance in mm over which thicknesses and brightness vary.
_PATCH = 18.0
# Room in mm around the brain: towards the left and the right, back and front, bottom
# and top.
_MARGINS = (28, 28), (28, 45), (65, 28)
# Radius of an eye in mm, and its distance from the middle, in front of the brain and
# above its bottom.
_EYE, _EYE_PLACE = 12.0, (32.0, 2.0, 28.0)
# Largest relative change of brightness by the coil, and standard deviation of noise.
_BIAS, _NOISE = 0.25, 0.015
# Intensity of a normalised image from which a voxel is brain.
_BRAIN = 0.05


class Head(NamedTuple):
    """A whole head, and where its brain lies in it.

    Attributes
    ----------
    image : ndarray, float32, shape (*spatial,)
        Background of about 0; the brightest tissue of the brain has about 1.
    affine : ndarray, shape (4, 4)
        From voxels to world coordinates in mm.
    offset : tuple of int
        Voxel of the head that is the first one of the brain image.
    """

    image: np.ndarray
    affine: np.ndarray
    offset: tuple

    def place(self, array):
        """Return an array on the grid of the brain as one on that of the head.

        Parameters
        ----------
        array : ndarray
            Such as a label map; 0 around.
        """
        whole = np.zeros(self.image.shape, array.dtype)
        whole[self._inside(array)] = array
        return whole

    def _inside(self, array):
        return tuple(slice(o, o + n) for o, n in zip(self.offset, array.shape))


def make_head(brain, affine, *, seed, contrast="t1"):
    """Make a whole head around a brain.

    Parameters
    ----------
    brain : ndarray, shape (x, y, z)
        Image without skull, of any orientation and range.
    affine : ndarray, shape (4, 4)
        From voxels to world coordinates in mm: right, front and top are positive.
    seed : int
        Seed of the random numbers. The same seed gives the same head.
    contrast : {"t1", "t2"}, optional
        Contrast of the tissues around the brain.

    Returns
    -------
    head : Head

    Raises
    ------
    ValueError
        If the brain is no image in 3D with contrast, or another argument is invalid.
    """
    brain = check_real("brain", brain)
    if brain.ndim != 3 or brain.min() == brain.max():
        raise ValueError(
            f"Expected brain of three axes, with contrast. Received "
            f"brain.shape={brain.shape}."
        )
    affine = check_affine(affine, name="affine", ndim=3)
    check_integer("seed", seed, lowest=0)
    check_name("contrast", contrast, TISSUES)
    rng, tissues = np.random.default_rng(seed), TISSUES[contrast]
    values = np.abs(normalize(brain))
    values = values / np.percentile(values[values > _BRAIN], 98)
    head = _around(values, affine)
    brain, sizes = head.place(values), voxel_sizes(affine)
    position = _position(head, brain)
    image = _draw(brain, position, sizes, rng, tissues)
    # The field of a coil, and noise whose magnitude is measured.
    image *= np.exp(_BIAS * _waves(image.shape, 4 * _PATCH / sizes, rng))
    noise = rng.normal(0, _NOISE, (2, *image.shape))
    image = np.hypot(image + noise[0], noise[1]).astype(np.float32)
    return head._replace(image=image)


def _around(values, affine):
    """Return an empty head with room around the structure of a brain."""
    axes = np.argmax(np.abs(affine[:3, :3]), axis=0)
    margins = []
    for axis, size in enumerate(voxel_sizes(affine)):
        # Voxels count from the other end where the world runs against the axis.
        ends = _MARGINS[axes[axis]]
        ends = ends if affine[axes[axis], axis] > 0 else ends[::-1]
        inside = np.any(values > _BRAIN, tuple(a for a in range(3) if a != axis))
        free = np.argmax(inside), np.argmax(inside[::-1])
        margins.append([max(0, round(m / size) - f) for m, f in zip(ends, free)])
    offset = tuple(int(before) for before, _ in margins)
    shape = [n + before + after for n, (before, after) in zip(values.shape, margins)]
    moved = affine.copy()
    moved[:3, 3] -= affine[:3, :3] @ offset
    return Head(np.zeros(shape, np.float32), moved, offset)


def _position(head, brain):
    """Return world coordinates in mm from the middle, the front and the bottom."""
    points = grid_points(brain.shape, head.affine).reshape(*brain.shape, 3)
    points = np.moveaxis(points, -1, 0)
    x, y, z = points[:, brain > _BRAIN]
    ends = np.median(x), np.percentile(y, 99.8), np.percentile(z, 0.2)
    return points - np.array(ends)[:, None, None, None]


def _draw(brain, position, sizes, rng, tissues):
    """Return a brain with all that is around it, from the outside inwards."""
    inside = _closed(brain > _BRAIN, 10, sizes)
    distance = distance_transform_edt(~inside, sampling=sizes)
    thickness = [
        low + (high - low) * (0.5 + 0.5 * _waves(brain.shape, _PATCH / sizes, rng))
        for low, high in (_FLUID, _SKULL, _SCALP)
    ]
    fluid, skull, scalp = np.cumsum(thickness, axis=0)
    image = np.zeros(brain.shape)
    face = _face(position, rng)
    outside = (distance < scalp) | face
    # The air outside: the scalp of the face is as thick as elsewhere.
    depth = distance_transform_edt(outside, sampling=sizes)
    fibres = _waves(brain.shape, 6 / sizes, rng)
    image[outside] = np.where(fibres > 0.35, tissues["fat"], tissues["muscle"])[outside]
    image[outside & (face == 0) & (distance > skull)] = tissues["fat"]
    image[outside & (depth < thickness[2])] = tissues["fat"]
    image[_cavities(position)] = 0
    image[_eyes(position, _EYE + 5)] = tissues["fat"]
    image[_eyes(position, _EYE)] = tissues["fluid"]
    middle = np.abs(distance - (fluid + skull) / 2) < 0.18 * thickness[1]
    image[distance < skull] = tissues["bone"]
    image[middle] = tissues["marrow"]
    image[distance < fluid] = tissues["fluid"]
    image = gaussian_filter(image, 0.5)
    weight = np.clip(brain / (2 * _BRAIN), 0, 1) * inside
    return weight * brain + (1 - weight) * image


def _face(position, rng):
    """Return where face and neck are, below the front and the middle of the brain."""
    x, y, z = position
    width, long = rng.uniform(0.9, 1.1, 2)
    jaw = (x / (62 * width)) ** 2 + ((y + 50) / 78) ** 2
    jaw += ((z + 20) / (75 * long)) ** 2
    nose = (x / 12) ** 2 + ((y - 32) / 16) ** 2 + ((z + 22) / 24) ** 2
    neck = (x / (58 * width)) ** 2 + ((y + 90) / 62) ** 2
    return (jaw < 1) | (nose < 1) | ((neck < 1) & (z < 25))


def _cavities(position):
    """Return where air is: nose, mouth and throat."""
    x, y, z = position
    nose = (np.abs(x) < 12) & (y > -30) & (y < 20) & (np.abs(z + 18) < 14)
    throat = ((x / 10) ** 2 + ((y + 62) / 9) ** 2 < 1) & (z < -20)
    return nose & (np.abs(x) % 6 > 2) | throat


def _eyes(position, radius):
    side, front, up = _EYE_PLACE
    x, y, z = position
    distances = (np.abs(x) - side) ** 2 + (y - front) ** 2 + (z - up) ** 2
    return distances < radius**2


def _closed(inside, radius, sizes):
    """Return the largest part of a mask, without furrows; a radius in mm."""
    parts, _ = label(inside)
    inside = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    near = distance_transform_edt(~inside, sampling=sizes) <= radius
    return binary_fill_holes(distance_transform_edt(near, sampling=sizes) > radius)


def _waves(shape, sigma, rng):
    """Return smooth random values from -1 to 1."""
    noise = gaussian_filter(rng.normal(size=shape), sigma, mode="nearest")
    return np.tanh(noise / noise.std())
