"""Register two images wherever they lie in the world."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.ndimage import map_coordinates

from dipy_nn_reg.checks import check_images, check_number
from dipy_nn_reg.mapping import (
    check_affine,
    displacement_to_mapping,
    grid_points,
    lift_affine,
    plane_affine,
)
from dipy_nn_reg.prealign import check_prealign, estimate_prealign
from dipy_nn_reg.resampling import (
    read_on_grid,
    resample,
    to_moving,
    working_grid,
)


class Parts(NamedTuple):
    """What a registration of two images on one grid finds, in voxels.

    Attributes
    ----------
    displacement : ndarray, shape (*spatial, ndim)
    invert : callable
        Makes the inverse displacement, which is needed of what is returned alone.
    matrix : ndarray, shape (ndim + 1, ndim + 1), optional
        An affine that follows the displacement.
    """

    displacement: np.ndarray
    invert: Callable
    matrix: np.ndarray | None = None


def predict_mapping(
    predict_parts,
    moving,
    static,
    *,
    ndim,
    num_channels,
    moving_affine=None,
    static_affine=None,
    prealign=None,
    voxel_size=None,
    annotations=None,
    check_size=None,
):
    """Return the map of one pair of images.

    Parameters
    ----------
    predict_parts : callable
        Takes a moving and a static image of one size, shape (*spatial, channels), and
        what goes with them by name; returns :class:`Parts`.
    moving, static : array-like, shape (*spatial,) or (*spatial, channels)
    ndim, num_channels : int
        What ``predict_parts`` takes.
    moving_affine, static_affine, prealign, voxel_size
        See ``DeformableRegistration.predict_mapping``.
    annotations : dict of ndarray, optional
        Label maps and masks by name, of the shape of the image they go with: those
        whose name begins with "moving" with the moving one.
    check_size : callable, optional
        Raises an error unless ``predict_parts`` takes images of a shape, which it is
        called with before anything is computed.

    Returns
    -------
    mapping : dipy.align.imwarp.DiffeomorphicMap
    """
    in_slice = ndim == 2 and np.shape(static_affine) == (4, 4)
    dim = 3 if in_slice else ndim
    static_affine, moving_affine = _check_affines(static_affine, moving_affine, dim)
    check_prealign(prealign, ndim=dim)
    if voxel_size is not None:
        check_number("voxel_size", voxel_size)
    moving, static = (
        _check_image(image, name, ndim, num_channels, in_slice)
        for name, image in (("moving", moving), ("static", static))
    )
    images = {"moving": moving, "static": static}
    annotations = {
        name: _check_annotation(array, name, images[_image_of(name)].shape[:-1])
        for name, array in (annotations or {}).items()
        if array is not None
    }
    static_shape = static.shape[:-1]
    shape, affine = static_shape, static_affine
    if voxel_size is not None:
        shape, affine = working_grid(static_shape, static_affine, voxel_size, ndim)
    if check_size is not None:
        check_size((*shape[:ndim], num_channels))

    grids = {"moving_affine": moving_affine, "static_affine": static_affine}
    if isinstance(prealign, str):
        prealign = estimate_prealign(
            moving.mean(-1), static.mean(-1), kind=prealign, **grids
        )
    prealign = np.eye(dim + 1) if prealign is None else np.asarray(prealign, float)
    # How each image, and what goes with it, is read on the grid.
    places = {
        "moving": (moving_affine, [prealign], shape, affine),
        "static": (static_affine, [], shape, affine),
    }
    seen = [read_on_grid(image, *places[name]) for name, image in images.items()]
    if np.ptp(seen[0]) == 0 and np.ptp(moving) > 0:
        raise ValueError(
            "Expected images that overlap. Of the moving image, nothing lies on the "
            "grid of the static one: prealign could bring it there."
        )
    annotations = {
        name: _read_annotation(array, *places[_image_of(name)])
        for name, array in annotations.items()
    }
    if in_slice:
        seen = [image[:, :, 0] for image in seen]
        annotations = {name: array[:, :, 0] for name, array in annotations.items()}
    displacement, invert, matrix = predict_parts(*seen, **annotations)
    inverse = invert()
    if matrix is not None:
        matrix = lift_affine(matrix) if in_slice else matrix
        prealign = prealign @ affine @ matrix @ np.linalg.inv(affine)
    if not np.array_equal(affine, static_affine):
        to_working = np.linalg.inv(affine) @ static_affine
        to_working = plane_affine(to_working) if in_slice else to_working
        size = static_shape[:ndim]
        displacement, inverse = (
            _refine(field, size, to_working) for field in (displacement, inverse)
        )
    return displacement_to_mapping(
        displacement,
        inverse=inverse,
        moving_shape=moving.shape[:-1],
        prealign=prealign,
        **grids,
    )


def _image_of(name):
    """Tell which image an annotation goes with."""
    return "moving" if name.startswith("moving") else "static"


def _check_annotation(array, name, shape):
    """Return integers of the shape of their image; a slice may lack its last axis."""
    array = np.asarray(array)
    if array.shape not in (shape, shape[:-1] if shape[-1] == 1 else shape):
        raise ValueError(
            f"Expected {name} of the shape of its image, {shape}. "
            f"Received {name}.shape={array.shape}."
        )
    if array.dtype.kind not in "biu":
        raise ValueError(
            f"Expected integers in {name}. Received {name}.dtype={array.dtype}."
        )
    return array.reshape(shape)


def _read_annotation(array, image_affine, maps, shape, affine):
    """Read a label map or a mask where its image was read."""
    unmoved = all(np.array_equal(m, np.eye(len(m))) for m in maps)
    if unmoved and shape == array.shape and np.array_equal(affine, image_affine):
        return array
    return resample(
        array.astype(np.int32),
        image_affine,
        lambda points: to_moving(points, maps),
        shape=shape,
        grid_affine=affine,
        interpolation="nearest",
    )


def _check_affines(static_affine, moving_affine, ndim):
    """Return both; without any, those of one grid of voxels."""
    if (static_affine is None) != (moving_affine is None):
        raise ValueError(
            "Expected affines of both images or of none. Received "
            f"{'moving' if static_affine is None else 'static'}_affine alone."
        )
    if static_affine is None:
        return np.eye(ndim + 1), np.eye(ndim + 1)
    return (
        check_affine(static_affine, name="static_affine", ndim=ndim),
        check_affine(moving_affine, name="moving_affine", ndim=ndim),
    )


def _check_image(image, name, ndim, num_channels, in_slice):
    """Return one image with a channel axis, and a third one if it is a slice."""
    image = np.asarray(image)
    if in_slice and image.ndim >= 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    image = check_images(image[None], name=name, ndim=ndim, num_channels=num_channels)
    image = image[0]
    return image[:, :, None] if in_slice else image


def _refine(field, shape, to_working):
    """Read a field of the working grid at the voxels of the static one."""
    positions = grid_points(shape, to_working).T
    values = [
        map_coordinates(component, positions, order=1, mode="nearest")
        for component in np.moveaxis(field, -1, 0)
    ]
    to_static = np.linalg.inv(to_working[:-1, :-1]).T
    return (np.stack(values, axis=-1) @ to_static).reshape(*shape, len(shape))
