"""Correction of images by the field of a distortion."""

from functools import partial

import numpy as np
from scipy.ndimage import map_coordinates

from dipy_nn_reg.checks import check_flag, check_integer, check_real
from dipy_nn_reg.diffusion.profiles import locate, pad, place, read
from dipy_nn_reg.intensities import float_type
from dipy_nn_reg.mapping.affines import check_affine


def correct_distortion(image, field, *, axis, sign=1, modulate=True, motion=None):
    """Undo the distortion of an image, or of each volume of a series.

    Parameters
    ----------
    image : ndarray, shape (*spatial,) or (*spatial, volumes)
    field : ndarray, shape (*spatial,)
        Displacement in voxels, in 2D or 3D, as
        :func:`~dipy_nn_reg.diffusion.distortion.estimate_distortion` returns it.
    axis : int
        Axis of the phase encoding, from 0.
    sign : {1, -1}, optional
        Direction of the phase encoding of this image.
    modulate : bool, optional
        Whether intensities are multiplied by the change of volume. Without it, images
        of what does not pile up (labels, FA) keep their values.
    motion : ndarray, shape (ndim + 1, ndim + 1), optional
        From voxels of the field to those of the image, if the object moved between, as
        :func:`~dipy_nn_reg.diffusion.distortion.estimate_distortion_and_motion` returns
        it.

    Returns
    -------
    corrected : ndarray, float32 or float64, shape of the image
        ``image(x + sign * field(x)) * (1 + sign * slope(x))``. Each value is
        interpolated once, linearly; beyond the image, it fades to 0 over one voxel. A
        field of 0 changes no bit of an image in float32.

    Raises
    ------
    ValueError
        If shapes differ, a value of the field is not finite, there is no such axis, or
        the motion cannot be inverted.

    Notes
    -----
    Without a motion, the b-vectors of a series stay as they are: displacements along an
    axis that differ from voxel to voxel turn no gradient of the scanner. With a motion,
    :func:`~dipy_nn_reg.mapping.bvecs.rotate_bvecs` turns them, whose ``prealign`` is
    ``affine @ motion @ inv(affine)``.

    Examples
    --------
    >>> line = np.array([[0.0, 0, 0, 2, 4, 2]])
    >>> correct_distortion(line, np.full(line.shape, 1.5), axis=1)
    array([[0., 1., 3., 3., 1., 0.]], dtype=float32)
    """
    image, field = check_real("image", image), check_real("field", field)
    _check_shapes(image, field)
    field = _check_field(field, axis, sign)
    check_flag("modulate", modulate)
    moves = np.moveaxis(sign * field, axis, 0)
    read_image = _reader(moves, axis, motion)
    factor = _volume_change(moves) if modulate else None
    kind = float_type(image)
    volumes = image.reshape(*field.shape, -1)
    corrected = np.empty(volumes.shape, kind)
    for i in range(volumes.shape[-1]):
        values = read_image(np.moveaxis(volumes[..., i], axis, 0).astype(kind))
        values = values if factor is None else values * factor
        corrected[..., i] = np.moveaxis(values, 0, axis)
    return corrected.reshape(image.shape)


def volume_change(field, *, axis, sign=1):
    """Return the factor by which a distortion has intensities pile up.

    Parameters
    ----------
    field, axis, sign
        As for :func:`correct_distortion`, which multiplies by this factor.

    Returns
    -------
    factor : ndarray, float32, shape (*spatial,)

    Raises
    ------
    ValueError
        If there is no such axis or sign.
    """
    field = _check_field(field, axis, sign)
    moves = np.moveaxis(sign * field, axis, 0)
    return np.ascontiguousarray(np.moveaxis(_volume_change(moves), 0, axis))


def distortion_to_displacement(field, *, axis, sign=1):
    """Return the field of a distortion as a displacement, to be composed with maps.

    Parameters
    ----------
    field : ndarray, shape (*spatial,)
    axis : int
        Axis of the phase encoding, from 0.
    sign : {1, -1}, optional
        Direction of the phase encoding of the image that is read.

    Returns
    -------
    displacement : ndarray, float32, shape (*spatial, ndim)
        In voxels: ``sign * field`` along the axis, and 0 along others.

    Raises
    ------
    ValueError
        If there is no such axis or sign.
    """
    field = _check_field(field, axis, sign)
    displacement = np.zeros((*field.shape, field.ndim), np.float32)
    displacement[..., axis] = sign * field
    return displacement


def _check_field(field, axis, sign):
    """Return a field in float32, of any type, or raise ValueError."""
    field = check_real("field", field)
    check_integer("axis", axis, lowest=0, highest=field.ndim - 1)
    if sign not in (1, -1):
        raise ValueError(f"Expected sign to be 1 or -1. Received {sign!r}.")
    return field.astype(np.float32)


def _reader(moves, axis, motion):
    """Return a function that reads an image, whose first axis is that of the moves."""
    if motion is None:
        where = locate(place(moves.shape) + moves)
        return lambda image: read(pad(image), *where)
    motion = check_affine(motion, name="motion", ndim=moves.ndim)
    order = [axis, *(d for d in range(moves.ndim) if d != axis)]
    points = np.indices(moves.shape, np.float32)
    points[0] += moves
    rows = np.float32(motion[np.ix_(order, [*order, moves.ndim])])
    points = np.einsum("ij,j...->i...", rows[:, :-1], points)
    points += rows[:, -1].reshape(-1, *[1] * moves.ndim)
    return partial(map_coordinates, coordinates=points, order=1, mode="grid-constant")


def _check_shapes(image, field):
    if field.ndim not in (2, 3) or image.shape[: field.ndim] != field.shape:
        raise ValueError(
            f"Expected a field in 2D or 3D, of the shape of the image. Received "
            f"{field.shape} and {image.shape}."
        )
    if image.ndim > field.ndim + 1:
        raise ValueError(
            f"Expected an image, or volumes on its last axis. Received {image.shape}."
        )
    if not np.all(np.isfinite(field)):
        raise ValueError("Expected a finite field. Received one that is not.")


def _volume_change(moves):
    """Return 1 and the slope along the first axis, by central differences."""
    if len(moves) == 1:
        return np.ones_like(moves)
    return np.float32(1) + np.gradient(moves, axis=0)
