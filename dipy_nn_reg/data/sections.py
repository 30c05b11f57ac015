"""Synthetic histological sections in two stains, with the field between them.

One section is drawn as nuclei in a tissue of grey and white matter. A nuclear stain
shows the nuclei in violet, a fibre stain the white matter in blue and little else.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.checks import check_integer, check_name
from dipy_nn_reg.transform.functions import identity_grid, warp

# Light that a full dose of each stain lets through: red, green and blue.
_TRANSMITTED = {
    "nuclear": np.array([0.35, 0.2, 0.55]),
    "fibre": np.array([0.15, 0.35, 0.65]),
}
# Dose of each stain in grey matter, in white matter and in a nucleus.
_DOSES = {"nuclear": (0.25, 0.12, 1.1), "fibre": (0.15, 0.9, 0.1)}
# Nuclei per pixel in grey and in white matter, and their radius in pixels.
_DENSITY, _RADIUS = (0.012, 0.004), 1.2
# Standard deviation of the camera's noise, in 255ths of white.
_NOISE = 2.0
# Smallest and largest length of a side in pixels.
_MIN_SIZE, _MAX_SIZE = 64, 4096


def make_section(*, shape=(256, 320), stain="nuclear", displacement=None, seed=None):
    """Make a picture of a histological section in one of two stains.

    Parameters
    ----------
    shape : tuple of int, optional
        Columns and rows, 64 to 4096 each.
    stain : {"nuclear", "fibre"}, optional
        The same seed gives the same section in both, with noise of its own.
    displacement : ndarray, shape (*shape, 2), optional
        In pixels: where in the section each pixel of the picture lies, as for
        :func:`~dipy_nn_reg.transform.warp`.
    seed : int, optional

    Returns
    -------
    colours : ndarray of uint8, shape (*shape, 3)
        Red, green and blue, on white.
    tissue : ndarray of uint8, shape (*shape,)
        0 outside of the section, 1 in grey and 2 in white matter.

    Raises
    ------
    ValueError
        If a parameter is invalid.

    Examples
    --------
    >>> colours, tissue = make_section(shape=(64, 80), seed=0)
    >>> colours.shape, bool(colours[0, 0].min() > 240), int(tissue.max())
    ((64, 80, 3), True, 2)
    """
    check_name("stain", stain, _DOSES)
    if not isinstance(shape, (tuple, list)) or len(shape) != 2:
        raise ValueError(f"Expected shape of two axes. Received {shape!r}.")
    for size in shape:
        check_integer("each axis of shape", size, lowest=_MIN_SIZE, highest=_MAX_SIZE)
    if seed is not None:
        check_integer("seed", seed, lowest=0)
    if displacement is not None and np.shape(displacement) != (*shape, 2):
        raise ValueError(
            f"Expected displacement of shape {(*shape, 2)}. Received "
            f"displacement.shape={np.shape(displacement)}."
        )
    anatomy, *cameras = np.random.default_rng(seed).spawn(1 + len(_DOSES))
    tissue, nuclei = _draw(tuple(shape), anatomy)
    grey, white, nucleus = _DOSES[stain]
    dose = gaussian_filter(np.array([0, grey, white])[tissue], 1) + nucleus * nuclei
    if displacement is not None:
        displacement = np.asarray(displacement, np.float32)[None]
        dose = warp(dose.astype(np.float32)[None], displacement)[0]
        tissue = warp(tissue[None], displacement, interpolation="nearest")[0]
    # Beer and Lambert: each layer of stain lets the same share of light through.
    light = 250 * _TRANSMITTED[stain] ** dose[..., None]
    light += cameras[list(_DOSES).index(stain)].normal(0, _NOISE, light.shape)
    return np.uint8(np.rint(light).clip(0, 255)), tissue


def _draw(shape, rng):
    """Return tissue and the share of each pixel that nuclei cover."""
    half = (np.array(shape) - 1) / 2
    position = (identity_grid(shape) - half) / half
    radius = np.linalg.norm(position / [0.78, 0.72], axis=-1)
    angle = np.arctan2(position[..., 1], position[..., 0])
    # Gyri of the outline; the white matter follows them within the cortex.
    phases = rng.uniform(0, 2 * np.pi, 3)
    waves = sum(np.cos(n * angle + p) for n, p in zip((3, 7, 11), phases))
    outline = 1 + 0.05 * waves
    tissue = np.zeros(shape, np.uint8)
    tissue[radius < outline] = 1
    tissue[radius < 0.7 * outline + 0.03 * waves] = 2
    # Two nuclei of grey matter within the white matter.
    for side in (-1, 1):
        inside = np.linalg.norm(
            (position - [0.24 * side, 0.08]) / [0.14, 0.22], axis=-1
        )
        tissue[inside < 1] = 1
    density = np.array([0, *_DENSITY])[tissue]
    nuclei = gaussian_filter((rng.random(shape) < density).astype(float), _RADIUS)
    # A nucleus covers its centre entirely.
    return tissue, np.minimum(nuclei * 2 * np.pi * _RADIUS**2, 1.5)
