"""Small valid images, fields, maps and models for the cases."""

from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter

FLAT = ((9, 8), (16, 17), (5, 31), (2, 7), (8, 8))
DEEP = ((6, 5, 7), (8, 9, 2), (12, 13, 11), (4, 4, 16), (7, 8, 1), (1, 6, 9))
# Shapes for functions that are compiled for each shape, or take long.
FEW_FLAT, FEW_DEEP = ((9, 8), (16, 17)), ((6, 5, 7), (8, 9, 2))
# Shapes for registrations, large enough for all levels.
PAIRS = {2: (20, 18), 3: (12, 13, 11)}


def any_shape(rng, *, ndim=None, thin=True, few=False):
    """Return the shape of an image."""
    ndim = rng.integers(2, 4) if ndim is None else ndim
    shapes = {2: FEW_FLAT if few else FLAT, 3: FEW_DEEP if few else DEEP}[int(ndim)]
    shapes = [s for s in shapes if thin or min(s) > 1]
    return shapes[rng.integers(len(shapes))]


def blob(rng, shape):
    """Return a smooth image from 0 to 1, of values that float16 can hold."""
    image = gaussian_filter(rng.random(shape), [min(1.0, n / 8) for n in shape])
    spread = np.ptp(image)
    image = (image - image.min()) / (spread or 1)
    return np.round(image * 256).astype(np.float32) / 256


def labels(rng, shape, *, number=3):
    """Return a label map of a few boxes; 0 is background."""
    array = np.zeros(shape, np.int32)
    for label in range(1, number + 1):
        start = [rng.integers(0, max(1, n // 2)) for n in shape]
        box = tuple(slice(s, s + max(1, n // 2)) for s, n in zip(start, shape))
        array[box] = label
    return array


def field(rng, shape, *, largest=1.0):
    """Return a smooth displacement, of values that float16 can hold."""
    components = [gaussian_filter(rng.normal(size=shape), 1.5) for _ in shape]
    u = np.stack(components, axis=-1)
    u *= largest / max(np.abs(u).max(), 1e-9)
    return np.round(u * 64).astype(np.float32) / 64


def affine(rng, ndim, *, sizes=None):
    """Return an affine with an oblique part, whose values float16 can hold."""
    matrix = np.eye(ndim + 1)
    sizes = rng.choice([0.5, 1, 1.5, 2, 3], ndim) if sizes is None else sizes
    matrix[:ndim, :ndim] = np.diag(sizes * rng.choice([-1, 1], ndim))
    if rng.random() < 0.5:
        matrix[0, 1] = 0.125
    matrix[:ndim, ndim] = rng.integers(-20, 20, ndim)
    return matrix


def near_identity(rng, ndim):
    """Return a small rotation and shift in mm."""
    matrix = np.eye(ndim + 1)
    matrix[0, 1], matrix[1, 0] = 0.125, -0.125
    matrix[:ndim, ndim] = rng.integers(-1, 2, ndim)
    return matrix


def mapping(rng, shape, *, plain=False):
    """Return a DIPY map on a grid; if ``plain``, without affines."""
    from dipy_nn_reg.mapping.maps import displacement_to_mapping

    u = field(rng, shape)
    grid = None if plain else affine(rng, len(shape))
    return displacement_to_mapping(
        u, inverse=-u, static_affine=grid, moving_affine=grid
    )


def pair(ndim, *, slice_of=None):
    """Return a moving and a static image that are similar, always the same two."""
    rng = np.random.default_rng(ndim)
    shape = PAIRS[ndim]
    static = gaussian_filter(rng.random(shape), 2)
    static = (static - static.min()) / np.ptp(static)
    static = np.round(256 * static).astype(np.float32) / 256
    moving = np.roll(static, 1, axis=0)
    if slice_of is not None:
        return moving[..., None], static[..., None]
    return moving, static


def shaken(registration):
    """Change the weights of a model, so that it deforms as if it were trained."""
    rng = np.random.default_rng(0)
    for weights in registration.model.trainable_weights:
        weights.assign_add(0.014 * rng.normal(size=weights.shape))
    return registration


@cache
def model(ndim, kind="deformable"):
    """Return a small model, which all cases share and none may change.

    Its kind is "deformable" (a velocity), "displacement" or "affine".
    """
    from dipy_nn_reg import AffineRegistration, DeformableRegistration

    if kind == "affine":
        return AffineRegistration(input_shape=PAIRS[ndim], passes=1, seed=0)
    return shaken(
        DeformableRegistration(
            input_shape=PAIRS[ndim],
            network="voxelmorph1",
            transform="velocity" if kind == "deformable" else kind,
            seed=0,
        )
    )
