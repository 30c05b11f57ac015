"""Checks of the images, affines and annotations of a frame."""

import numpy as np

from dipy_nn_reg.annotations import PLACES
from dipy_nn_reg.checks import as_array, check_both, check_images, check_real
from dipy_nn_reg.mapping.affines import check_affine
from dipy_nn_reg.memory import check_memory

# Bytes of memory for each value of an image: one float64 and four float32 copies, and
# what a moving image that is interpolated once is padded with.
_BYTES = 32


def check_annotation(array, place, shape):
    """Return an annotation of the shape of its image: integers, or orientations.

    The annotation of a slice may lack the last axis.
    """
    name, array = place.name, as_array(place.name, array)
    if place.kind == "orientations":
        return _check_orientations(name, array, shape)
    if array.shape not in (shape, shape[:-1] if shape[-1] == 1 else shape):
        raise ValueError(
            f"Expected {name} of the shape of its image, {shape}. "
            f"Received {name}.shape={array.shape}."
        )
    if (
        place.kind == "mask"
        and array.dtype.kind in "iuf"
        and np.all(np.isfinite(array))
    ):
        array = array != 0
    if array.dtype.kind not in "biu":
        is_mask = place.kind == "mask"
        expected = "booleans, or finite numbers," if is_mask else "integers"
        raise ValueError(
            f"Expected {expected} in {name}. Received {name}.dtype={array.dtype}"
            f"{', or values that are not finite' if is_mask else ''}."
        )
    if not array.any():
        expected = "labels" if place.kind == "labels" else "voxels"
        raise ValueError(
            f"Expected {expected} other than 0 in {name}. Received 0 everywhere."
        )
    array = array.astype(np.uint8) if array.dtype.kind == "b" else array
    return array.reshape(shape)


def _check_orientations(name, array, shape):
    """Return orientation tensors of a volume in float32."""
    if array.shape != (*shape, 6):
        raise ValueError(
            f"Expected {name} of shape {(*shape, 6)}: six values at each voxel of its "
            f"image. Received {name}.shape={array.shape}."
        )
    array = check_real(name, array).astype(np.float32)
    if not np.all(np.isfinite(array)) or not array.any():
        raise ValueError(
            f"Expected finite numbers in {name}, not 0 everywhere. Received others."
        )
    return array


def check_room(moving, static):
    """Raise MemoryError if there is not enough memory to read two images."""
    check_memory(
        _BYTES * (moving.size + static.size),
        what=f"Reading images of {moving.shape[:-1]} and {static.shape[:-1]}",
        advice="Crop them, or store them with larger voxels.",
    )


def check_on_grid(moving, stored):
    """Raise ValueError if nothing of a moving image is on the grid.

    Parameters
    ----------
    moving, stored : ndarray
        The image on the grid, and as it was stored.
    """
    if moving.min() == moving.max() and stored.any():
        raise ValueError(
            "Expected images that overlap. Received a moving image that lies outside "
            "the grid of the static image. Align them first, for example with "
            'prealign="affine".'
        )


def check_overlap(annotations):
    """Raise ValueError if the masks leave no voxel at which images are compared.

    Parameters
    ----------
    annotations : Annotations
        Arrays on one grid.
    """
    arrays = annotations.as_dict()
    masks = [mask > 0 for name, mask in arrays.items() if PLACES[name].kind == "mask"]
    if masks and not np.logical_and.reduce(masks).any():
        raise ValueError(
            "Expected masks, and fields of view, that overlap on the grid of the "
            "static image. Received no voxel at which the images could be compared."
        )


def check_affines(static_affine, moving_affine, ndim):
    """Return both affines as float64; the identity for both if both are None."""
    both = {"moving_affine": moving_affine, "static_affine": static_affine}
    check_both("affines", **both)
    if static_affine is None:
        return np.eye(ndim + 1), np.eye(ndim + 1)
    return (
        check_affine(static_affine, name="static_affine", ndim=ndim),
        check_affine(moving_affine, name="moving_affine", ndim=ndim),
    )


def check_image(image, name, ndim, num_channels):
    """Return one image with a channel axis, or raise ValueError if it is invalid."""
    image, one = as_array(name, image), ", ".join("xyz"[:ndim])
    channels = image.shape[ndim:]
    is_bare = num_channels == 1 and image.ndim == ndim
    if channels != (num_channels,) and not is_bare:
        expected = f"({one}, {num_channels})" + f" or ({one})" * (num_channels == 1)
        raise ValueError(
            f"Expected {name} to be one image, of shape {expected}. Received "
            f"{name}.shape={image.shape}."
        )
    layout = {"ndim": ndim, "num_channels": num_channels}
    image = check_images(image[None], name=name, **layout)[0]
    if image.min() == image.max():
        raise ValueError(
            f"Expected a {name} image with contrast. Received an image whose values "
            f"are all {image.flat[0]}."
        )
    return image
