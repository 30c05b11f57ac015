"""Synthetic diffusion data: bundles in a head, and sheets, deformed in a known way."""

import numpy as np

from dipy_nn_reg.checks import check_integer, check_number
from dipy_nn_reg.transform.functions import identity_grid

# Signal without weighting of fluid, grey and white matter, and air.
_AIR, _FLUID, _GREY, _WHITE = 0.0, 1.0, 0.65, 0.5
# Diffusivities in mm^2/s: of fluid, of grey matter, along and across fibres.
_DIFFUSIVITY = {"fluid": 3e-3, "grey": 0.8e-3}
_ALONG, _ACROSS = 1.7e-3, 0.3e-3
# Radii of the bundles in units of half the image.
_ARC_RADIUS, _ARC_WIDTH, _ROD_WIDTH = 0.45, 0.14, 0.13
# Radii of the body of sheets, in the same units.
_BODY = (0.8, 0.85, 0.8)
_MIN_SIZE, _MAX_SIZE = 16, 512


def make_fibres(*, shape=(40, 48, 32), displacement=None):
    """Make a head with two bundles: an arc from left to right, and a rod along y.

    Parameters
    ----------
    shape : tuple of int, optional
        Of three axes, from left to right, from back to front and from bottom to top.
    displacement : ndarray, shape (*shape, 3), optional
        In voxels: where in the head each voxel lies, as for
        :func:`~dipy_nn_reg.transform.warp`. Fibres turn with the tissue.

    Returns
    -------
    b0 : ndarray of float32, shape (*shape,)
        Signal without weighting, from 0 to 1.
    tensors : ndarray of float32, shape (*shape, 3, 3)
        In mm^2/s, along the axes of the array.
    bundles : ndarray of uint8, shape (*shape,)
        1 in the arc, 2 in the rod, 0 elsewhere.

    Raises
    ------
    ValueError
        If a size or the shape of the displacement is invalid.

    Examples
    --------
    >>> b0, tensors, bundles = make_fibres(shape=(24, 24, 16))
    >>> tensors.shape, sorted(set(bundles.ravel().tolist()))
    ((24, 24, 16, 3, 3), [0, 1, 2])
    """
    position, half, turn = _positions(shape, displacement)
    b0, bundles, along = _anatomy(position, half)
    return b0, _tensors(b0, bundles, _turned(along, turn)), bundles


def make_sheets(*, shape=(40, 44, 24), displacement=None):
    """Make a body of one anisotropy, in which sheets of fibres cross.

    Images of the anisotropy, or of the signal without weighting, do not show the
    sheets: a registration that is to find them has to look at directions.

    Parameters
    ----------
    shape, displacement
        As for :func:`make_fibres`.

    Returns
    -------
    b0 : ndarray of float32, shape (*shape,)
        Signal without weighting, 1 in the body.
    tensors : ndarray of float32, shape (*shape, 3, 3)
        In mm^2/s, along the axes of the array.
    sheets : ndarray of uint8, shape (*shape,)
        1 where fibres run along the first axis and a little upwards, 2 where they run
        along the second one, 0 outside of the body.

    Raises
    ------
    ValueError
        As :func:`make_fibres`.

    Examples
    --------
    >>> b0, tensors, sheets = make_sheets(shape=(24, 24, 16))
    >>> tensors.shape, sorted(set(sheets.ravel().tolist()))
    ((24, 24, 16, 3, 3), [0, 1, 2])
    """
    position, half, turn = _positions(shape, displacement)
    x, y, _ = np.moveaxis(position, -1, 0)
    inside = np.linalg.norm(position / _BODY, axis=-1) < 1
    is_second = np.abs(x + 0.15 * np.sin(4 * y)) < 0.3
    along = np.where(is_second[..., None], [0.0, 1.0, 0.0], [1.0, 0.0, 0.3]) * half
    sheets = (inside * (1 + is_second)).astype(np.uint8)
    b0 = inside.astype(np.float32)
    return b0, _tensors(b0, sheets, _turned(along, turn)), sheets


def _positions(shape, displacement):
    """Return positions from -1 to 1 in the body, half its size, and how fibres turn."""
    if not isinstance(shape, (tuple, list)) or len(shape) != 3:
        raise ValueError(f"Expected shape of three axes. Received {shape!r}.")
    for size in shape:
        check_integer("each axis of shape", size, lowest=_MIN_SIZE, highest=_MAX_SIZE)
    shape = tuple(int(size) for size in shape)
    if displacement is not None and np.shape(displacement) != (*shape, 3):
        raise ValueError(
            f"Expected displacement of shape {(*shape, 3)}. Received "
            f"{np.shape(displacement)}."
        )
    voxels = identity_grid(shape).astype(np.float64)
    turn = np.broadcast_to(np.eye(3), (*shape, 3, 3))
    if displacement is not None:
        moved = np.gradient(np.asarray(displacement, np.float64), axis=(0, 1, 2))
        turn = np.linalg.inv(np.eye(3) + np.stack(moved, axis=-1))
        voxels = voxels + displacement
    half = (np.array(shape) - 1) / 2
    return (voxels - half) / half, half, turn


def _turned(along, turn):
    """Return directions of length 1 after they have turned; those of length 0 stay."""
    along = np.einsum("...ij,...j->...i", turn, along)
    return along / np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9)


def make_series(b0, tensors, gtab, *, noise=0.02, seed=None):
    """Return the DWI series of tensors: float32, shape (*spatial, volumes).

    Parameters
    ----------
    b0 : ndarray, shape (*spatial,)
    tensors : ndarray, shape (*spatial, 3, 3)
        In mm^2/s, along the axes of the b-vectors.
    gtab : dipy.core.gradients.GradientTable
    noise : float, optional
        Standard deviation of the noise of both channels of the receiver, which makes
        the signal that of Rice.
    seed : int, optional

    Raises
    ------
    ValueError
        If the noise is negative.
    """
    check_number("noise", noise, or_zero=True)
    rng = np.random.default_rng(seed)
    exponent = np.einsum("vi,...ij,vj->...v", gtab.bvecs, tensors, gtab.bvecs)
    signal = b0[..., None] * np.exp(-gtab.bvals * exponent)
    real, imaginary = rng.normal(0, noise, (2, *signal.shape)) if noise else (0, 0)
    return np.hypot(signal + real, imaginary).astype(np.float32)


def _anatomy(position, half):
    """Return signal, bundles and directions at positions from -1 to 1."""
    x, y, z = np.moveaxis(position, -1, 0)
    radius = np.linalg.norm(position / [0.85, 0.9, 0.8], axis=-1)
    b0 = np.select([radius > 1, radius > 0.92], [_AIR, _FLUID], _GREY)
    ventricles = np.linalg.norm((position - [0, 0.1, 0.05]) / [0.2, 0.3, 0.15], axis=-1)
    b0 = np.where(ventricles < 1, _FLUID, b0)
    # The arc lies in the plane of x and z, over the ventricles.
    distance = np.hypot(np.hypot(x, z + 0.15) - _ARC_RADIUS, y)
    arc = (distance < _ARC_WIDTH) & (z > -0.15)
    rod = (np.hypot(np.abs(x) - 0.5, z + 0.3) < _ROD_WIDTH) & (np.abs(y) < 0.6)
    bundles = np.select([arc, rod], [1, 2], 0).astype(np.uint8)
    along = np.zeros((*x.shape, 3))
    along[arc] = np.stack([z + 0.15, 0 * x, -x], axis=-1)[arc]
    along[rod] = [0, 1, 0]
    b0 = np.where(bundles > 0, _WHITE, b0).astype(np.float32)
    return b0, bundles, along * half


def _tensors(b0, bundles, along):
    """Return isotropic tensors, and those of fibres within the bundles."""
    isotropic = np.where(b0 == _FLUID, *_DIFFUSIVITY.values())
    isotropic = np.where(bundles > 0, _ACROSS, isotropic)
    fibres = (bundles > 0) * (_ALONG - _ACROSS)
    outer = along[..., :, None] * along[..., None, :]
    tensors = isotropic[..., None, None] * np.eye(3) + fibres[..., None, None] * outer
    return tensors.astype(np.float32)
