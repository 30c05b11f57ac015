"""Random numbers of made pairs of images, drawn by NumPy."""

import numpy as np

# Largest number of regions, of bands in each, and of shells around the object.
REGIONS, BANDS, SHELLS = 8, 4, 3
LABELS = 1 + REGIONS * BANDS + SHELLS
# Smallest distance of control points in voxels: of regions and bands, and of the
# coarse grid of the velocity.
_FINEST = 3
# Distance of the voxels of the velocity.
STRIDE = 2
# Standard deviation of a cubic B-spline, along one axis, of coefficients of unit
# variance.
_SD_OF_SPLINE = (151 / 315) ** 0.5
# Largest displacement in units of the mean size of the image.
_FARTHEST = 0.15
# Share of the pairs in 2D that are of ribbons, and least and largest displacement of
# them, in the same units.
_RIBBONS, _FARTHEST_OF_RIBBONS = 0.6, (0.06, 0.3)


def draw_pairs(n, shape, rng):
    """Draw the random numbers of pairs of images.

    Parameters
    ----------
    n : int
        Number of pairs.
    shape : tuple of int
        Shape of an image in 2D or 3D.
    rng : numpy.random.Generator

    Returns
    -------
    draws : dict of ndarray, float32
        Arguments of :func:`dipy_nn_reg.data.shapes.make_pairs`.
    """
    pairs = [_draw_pair(shape, rng) for _ in range(n)]
    return {name: np.stack([pair[name] for pair in pairs]) for name in pairs[0]}


def _draw_pair(shape, rng):
    ndim, size = len(shape), float(np.mean(shape))
    draws = _draw_fields(shape, size, rng)
    for image in ("moving", "static"):
        draws[f"{image} noise"] = rng.standard_normal((*shape, 1), np.float32)
        of_axes = zip(shape, _draw_blurs(ndim, rng), _draw_view(shape, rng))
        for axis, (n, blur, seen) in enumerate(of_axes):
            draws[f"{image} blur {axis}"] = _gaussian(n, blur)
            draws[f"{image} view {axis}"] = _along(axis, seen, ndim)
    for axis, (n, squares) in enumerate(zip(shape, _draw_positions(shape, rng))):
        draws[f"clean blur {axis}"] = _gaussian(n, 0.7)
        draws[f"position {axis}"] = _along(axis, squares, ndim)
    numbers, brightness = _draw_numbers(size, rng), _draw_brightness(rng)
    if ndim == 2 and rng.random() < _RIBBONS:
        numbers |= _draw_ribbons(size, rng)
        brightness = _draw_brightness_of_ribbons(rng)
    draws |= {n: np.reshape(v, (*[1] * ndim, -1)) for n, v in numbers.items()}
    draws |= brightness | {"affine": _draw_affine(shape, rng)}
    return {name: np.asarray(values, np.float32) for name, values in draws.items()}


def _draw_fields(shape, size, rng):
    """Draw smooth fields: coefficients of B-splines, whose distance is drawn too."""
    coarse, ndim = [-(-n // STRIDE) for n in shape], len(shape)
    draws = {}
    # Grid, number of channels, and least and largest distance in voxels of the grid.
    for name, grid, channels, least, most in (
        ("regions", shape, REGIONS, size / 14, size / 3),
        ("bands", shape, 1, size / 14, size / 4),
        ("outline", shape, 1, size / 5, size / 2),
        ("difference", shape, 2, size / 14, size / 4),
        ("moving bias", shape, 1, size / 4, size),
        ("static bias", shape, 1, size / 4, size),
        ("far", coarse, ndim, size / STRIDE / 6, size / STRIDE / 2),
        ("near", coarse, ndim, size / STRIDE / 16, size / STRIDE / 6),
    ):
        points = [n // _FINEST + 4 for n in grid]
        scale = _log_uniform(rng, max(least, _FINEST), max(most, _FINEST + 0.01))
        draws[name] = rng.standard_normal((*points, channels), np.float32)
        for axis, (n, m) in enumerate(zip(grid, points)):
            draws[f"{name} {axis}"] = _basis(n, m, scale, rng.random())
    return draws


def _draw_numbers(size, rng):
    """Draw what is the same at each voxel of a pair."""
    farthest = _log_uniform(rng, 0.5, _FARTHEST * size)
    fills = rng.random() < 0.15
    shells = rng.random(SHELLS) * 0.12 * (rng.random(SHELLS) < 0.25)
    numbers = {
        "farthest": farthest,
        "share of near": rng.random() * 0.6,
        "difference amounts": _draw_difference(rng),
        "number of regions": rng.integers(1, REGIONS + 1),
        "bands per unit": rng.uniform(0.3, 1.5) * (rng.random() < 0.6),
        "phase of bands": rng.random(),
        "roughness of outline": rng.uniform(0.0, 0.2),
        "radius": 100.0 if fills else 1.0,
        "shells": np.cumsum(shells),
    }
    for image in ("moving", "static"):
        numbers |= {
            f"{image} bias amount": rng.uniform(0, 0.3),
            f"{image} noise amount": rng.uniform(0, 0.06) * (rng.random() < 0.8),
            f"{image} gamma": np.exp(rng.normal(0, 0.25)),
        }
    return numbers


def _draw_ribbons(size, rng):
    """Draw what makes lines of a pair, such as those of vessels or of writing.

    They are narrow, so displacements are large compared with them.
    """
    return {
        "farthest": rng.uniform(*_FARTHEST_OF_RIBBONS) * size,
        "number of regions": rng.integers(1, 3),
        "bands per unit": rng.uniform(0.25, 0.8),
        "radius": 1.0,
        "shells": np.zeros(SHELLS),
    }


def _draw_difference(rng):
    """Draw how far the fields of the two objects differ: regions, bands, outline."""
    amounts = rng.normal(0, 0.25, REGIONS + 2) * (rng.random() < 0.5)
    amounts[-1] *= 0.2
    return amounts


def _draw_brightness(rng):
    """Draw the brightness of each label in both images, and in what is compared."""
    moving, static = _draw_contrast(rng), _draw_contrast(rng)
    if rng.random() < 0.45:  # the contrast of both is about the same
        static = np.clip(moving + rng.normal(0, 0.03, LABELS) * (moving > 0), 0, 1)
    return {
        "moving brightness": moving,
        "static brightness": static,
        "clean brightness": rng.random(LABELS),
    }


def _draw_brightness_of_ribbons(rng):
    """Draw the brightness of each label: one band of each region differs from all."""
    on = np.zeros(LABELS)
    on[1 + rng.integers(BANDS) : 1 + REGIONS * BANDS : BANDS] = 1
    if rng.random() < 0.3:
        on = 1 - on
    brightness = {}
    for name in ("moving", "static", "clean"):
        ground = rng.uniform(0, 0.4) * (rng.random() < 0.3)
        brightness[f"{name} brightness"] = ground + (rng.uniform(0.5, 1) - ground) * on
    if rng.random() < 0.15:
        brightness["static brightness"] = 1 - brightness["static brightness"]
    return brightness


def _draw_contrast(rng):
    brightness = rng.random(LABELS)
    kind = rng.random()
    if kind < 0.25:  # most labels are dark, and the others bright
        brightness = (rng.random(LABELS) < 0.3) * (0.6 + 0.4 * brightness)
    elif kind < 0.5:  # few tissues
        levels = rng.random(4)
        brightness = levels[rng.integers(0, 4, LABELS)]
    brightness[0] = rng.random() * (rng.random() < 0.15)
    return brightness


def _draw_blurs(ndim, rng):
    """Draw the blur along each axis in voxels, now and then that of thick slices."""
    blurs = np.full(ndim, rng.uniform(0.3, 1.0))
    if rng.random() < 0.1:
        blurs[rng.integers(ndim)] = rng.uniform(1, 2.5)
    return blurs


def _draw_view(shape, rng):
    """Draw which voxels of each axis are seen: now and then not those of one side."""
    view = [np.ones(n) for n in shape]
    if rng.random() < 0.1:
        axis = rng.integers(len(shape))
        view[axis][int(shape[axis] * rng.uniform(0.7, 1)) :] = 0
        view[axis] = view[axis][:: rng.choice([-1, 1])]
    return view


def _draw_positions(shape, rng):
    """Draw the squared distance from the centre along each axis, in semi-axes."""
    squares = []
    for n in shape:
        radius = rng.uniform(0.55, 1.0)
        centre = rng.uniform(-1, 1) * (1 - radius) * 0.5
        x = (2 * np.arange(n) / (n - 1) - 1 - centre) / radius
        squares.append(x**2)
    return squares


def _draw_affine(shape, rng):
    """Draw a matrix about the centre: three times out of ten not the identity."""
    ndim = len(shape)
    amount = rng.random() < 0.3
    linear = np.eye(ndim) + amount * rng.normal(0, 0.06, (ndim, ndim))
    shift = amount * rng.normal(0, 0.03, ndim) * np.array(shape)
    centre = (np.array(shape) - 1) / 2
    return np.concatenate([linear, (shift + centre - linear @ centre)[:, None]], 1)


def _along(axis, values, ndim):
    """Return values along an axis in a shape that broadcasts to images."""
    shape = [1] * (ndim + 1)
    shape[axis] = len(values)
    return np.reshape(values, shape)


def _basis(n, points, scale, offset):
    """Return the cubic B-splines of control points at ``n`` voxels, (n, points)."""
    x = np.arange(n) / scale + 1 + offset
    distance = np.abs(x[:, None] - np.arange(points))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.maximum(2 - distance, 0) ** 3 / 6
    return np.where(distance < 1, near, far) / _SD_OF_SPLINE


def _gaussian(n, sd):
    """Return the matrix of a Gaussian blur, with the border repeated by weight."""
    distance = np.arange(n)[:, None] - np.arange(n)
    weights = np.exp(-(distance**2) / (2 * sd**2))
    return weights / weights.sum(axis=1, keepdims=True)


def _log_uniform(rng, low, high):
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
