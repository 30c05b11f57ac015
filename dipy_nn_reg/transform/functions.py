"""Sample, warp, compose and integrate, in 2D and 3D.

One convention holds everywhere: ``warped(x) = moving(x + u(x))``. A displacement
``u`` is in voxels of the grid on which it lives, channels last, and its component
``d`` moves along array axis ``d`` (``indexing="ij"``).

Every function takes NumPy arrays or tensors of the Keras backend and returns what
it was given. With tensors it is differentiable in the image and in the field.
"""

from functools import partial, wraps

import keras
from keras import ops
import numpy as np

from dipy_nn_reg.backend import compiled, grid_sample, recomputed
from dipy_nn_reg.checks import check_integer, check_name, check_real, check_shape
from dipy_nn_reg.transform.sampling import (
    BORDERS,
    INTERPOLATIONS,
    displaced,
    locate,
    read_linear,
    read_nearest,
)
from dipy_nn_reg.transform.tensors import as_float32

# Largest number of squarings of an integration: more than 24 divide a velocity by
# more than float32 tells from 1.
MOST_STEPS = 64


def _arrays_like_given(function):
    """Let ``function`` return a NumPy array when it is not given a tensor."""

    @wraps(function)
    def wrapper(*args, **kwargs):
        given_tensors = any(ops.is_tensor(a) for a in (*args, *kwargs.values()))
        result = function(*args, **kwargs)
        return result if given_tensors else ops.convert_to_numpy(result)

    return wrapper


def identity_grid(shape):
    """Return the position of each voxel of a grid.

    Parameters
    ----------
    shape : tuple of int
        Spatial shape of the grid.

    Returns
    -------
    grid : ndarray, shape (*shape, ndim)
        Positions in voxels, float32.

    Examples
    --------
    >>> identity_grid((2, 3))[1, 2]
    array([1., 2.], dtype=float32)
    """
    shape = check_shape("shape", shape)
    axes = [np.arange(size, dtype=np.float32) for size in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


@_arrays_like_given
def sample(image, positions, *, interpolation="linear", border="zero", fill=None):
    """Read images at absolute positions.

    Parameters
    ----------
    image : ndarray or tensor, shape (batch, *spatial, channels) or (*spatial,)
        Images; without batch and channels for a single one.
    positions : ndarray or tensor, shape (batch, ..., ndim) or (..., ndim)
        Where to read, in voxels. The batch axis is there when the image has one.
    interpolation : {"linear", "nearest"}, optional
        Bilinear (3D: trilinear), or the value of the nearest voxel, which keeps
        the type of the image.
    border : {"zero", "repeat"}, optional
        What lies outside: zeros, toward which a linear sample fades over one
        voxel, or the border repeated.
    fill : float, or ndarray or tensor of shape (batch, channels), optional
        What lies outside in place of zeros.

    Returns
    -------
    values : ndarray or tensor, shape (batch, ..., channels) or (...)
        Float32 for linear interpolation.

    Raises
    ------
    ValueError
        If the shapes do not fit or an option is unknown.

    Notes
    -----
    ``border="zero"`` is ``mode="grid-constant"`` of
    :func:`scipy.ndimage.map_coordinates` for both interpolations. DIPY's linear
    interpolation is the same; its nearest interpolation has no margin of half a
    voxel outside of the outermost voxels.
    """
    check_name("interpolation", interpolation, INTERPOLATIONS)
    check_name("border", border, BORDERS)
    image = _as_image(image, interpolation)
    positions = as_float32("positions", positions)
    ndim = positions.shape[-1]
    if len(image.shape) == ndim:
        fill = _as_fill(fill, image[None, ..., None], border)
        values = _sample(
            image[None, ..., None], positions[None], interpolation, border, fill
        )
        return values[0, ..., 0]
    if len(image.shape) != ndim + 2 or not _batches_fit(image, positions):
        raise ValueError(
            f"Expected an image of shape (batch, *spatial, channels) or (*spatial,) "
            f"with {ndim} spatial axes, one for each component of the positions, and "
            f"the batch of the positions. "
            f"Received image.shape={tuple(image.shape)} and "
            f"positions.shape={tuple(positions.shape)}."
        )
    fill = _as_fill(fill, image, border)
    return _sample(image, positions, interpolation, border, fill)


@_arrays_like_given
def warp(
    image,
    displacement,
    *,
    interpolation="linear",
    border="zero",
    fill=None,
    image_is_constant=False,
):
    """Warp images: ``warped(x) = image(x + displacement(x))``.

    Parameters
    ----------
    image : ndarray or tensor, shape ([batch,] *spatial[, channels])
        Moving images. Their grid may differ in size from the displacement's.
    displacement : ndarray or tensor, shape ([batch,] *spatial, ndim)
        In voxels. With a batch axis, the image must have one too; a batch of one
        serves all of the other.
    interpolation : {"linear", "nearest"}, optional
        As for :func:`sample`.
    border, fill : optional
        As for :func:`sample`. ``fill`` is given no gradient.
    image_is_constant : bool, optional
        If the image needs no gradient, that of the displacement takes a third of the
        time.

    Returns
    -------
    warped : ndarray or tensor
        In the layout of ``image``, on the grid of ``displacement``. A displacement
        of zero returns the image bit for bit.

    Raises
    ------
    ValueError
        If the shapes do not fit or an option is unknown.
    """
    check_name("interpolation", interpolation, INTERPOLATIONS)
    check_name("border", border, BORDERS)
    if not isinstance(image_is_constant, (bool, np.bool_)):
        raise ValueError(
            f"Expected image_is_constant to be True or False. "
            f"Received {image_is_constant!r}."
        )
    image = _as_image(image, interpolation)
    displacement = as_float32("displacement", displacement)
    ndim = displacement.shape[-1]
    batched = len(displacement.shape) == ndim + 2
    has_channels = len(image.shape) == ndim + batched + 1
    if (
        len(displacement.shape) != ndim + batched + 1
        or len(image.shape) != ndim + batched + has_channels
        or (batched and not _batches_fit(image, displacement))
        or (not batched and _is_batch_of(image, displacement))
    ):
        raise ValueError(
            f"Expected a displacement of shape ([batch,] *spatial, ndim) and an image "
            f"of shape ([batch,] *spatial[, channels]), with the same batch. "
            f"Received image.shape={tuple(image.shape)} and "
            f"displacement.shape={tuple(displacement.shape)}."
        )
    image = image if batched else image[None]
    image = image if has_channels else image[..., None]
    displacement = displacement if batched else displacement[None]
    fill = _as_fill(fill, image, border)
    if interpolation == "nearest":
        warped = _warp_nearest(image, displacement, border, fill)
    else:
        is_constant = bool(image_is_constant)
        warped = _warp_linear(image, displacement, border, is_constant, fill)
    warped = warped if has_channels else warped[..., 0]
    return warped if batched else warped[0]


@_arrays_like_given
def compose(first, second):
    """Return the displacement of two warps in a row.

    ``warp(image, compose(first, second))`` is ``warp(warp(image, first), second)``
    with a single interpolation of the image.

    Parameters
    ----------
    first, second : ndarray or tensor, shape ([batch,] *spatial, ndim)
        Displacements in voxels. ``first`` is read with its border repeated.

    Returns
    -------
    displacement : ndarray or tensor, shape ([batch,] *spatial, ndim)
        ``second(x) + first(x + second(x))``, in voxels.

    Raises
    ------
    ValueError
        If the shapes are not those of two displacements.
    """
    first, second = as_float32("first", first), as_float32("second", second)
    ndim = second.shape[-1]
    if (
        first.shape[-1] != ndim
        or len(first.shape) != len(second.shape)
        or len(second.shape) not in (ndim + 1, ndim + 2)
        or (len(second.shape) == ndim + 2 and not _batches_fit(first, second))
    ):
        raise ValueError(
            f"Expected two displacements of shape ([batch,] *spatial, ndim). Received "
            f"first.shape={tuple(first.shape)} and second.shape={tuple(second.shape)}."
        )
    if len(second.shape) == ndim + 1:
        return _compose(first[None], second[None])[0]
    return _compose(first, second)


@_arrays_like_given
def integrate(velocity, *, steps=7):
    """Integrate a stationary velocity over unit time by scaling and squaring.

    Parameters
    ----------
    velocity : ndarray or tensor, shape ([batch,] *spatial, ndim)
        In voxels. Its border is repeated outside.
    steps : int, optional
        Number of squarings, 64 at most: the field is divided by ``2 ** steps`` and
        composed with itself ``steps`` times.

    Returns
    -------
    displacement : ndarray or tensor, shape ([batch,] *spatial, ndim)
        In voxels. That of ``-velocity`` is its inverse.

    Raises
    ------
    ValueError
        If ``steps`` is not an integer from 0 to 64, or if the shape is not that of a
        field.

    Notes
    -----
    Scaling and squaring of stationary velocities: :footcite:t:`Arsigny2006`.

    References
    ----------
    .. footbibliography::
    """
    check_integer("steps", steps, lowest=0)
    if steps > MOST_STEPS:
        raise ValueError(
            f"Expected steps to be {MOST_STEPS} at most. Received {steps!r}."
        )
    steps = int(steps)  # TensorFlow takes a NumPy scalar for a tensor
    velocity = as_float32("velocity", velocity)
    ndim = velocity.shape[-1]
    if len(velocity.shape) not in (ndim + 1, ndim + 2):
        raise ValueError(
            f"Expected a velocity of shape ([batch,] *spatial, ndim). "
            f"Received velocity.shape={tuple(velocity.shape)}."
        )
    if len(velocity.shape) == ndim + 1:
        return _integrate(velocity[None], steps)[0]
    return _integrate(velocity, steps)


def _batches_fit(image, field):
    """Tell whether the batches are equal, or one of them is 1 and serves all."""
    return len({image.shape[0], field.shape[0]} - {1, None}) <= 1


def _is_batch_of(image, field):
    """Tell whether images of the field's grid come where a single one is expected."""
    spatial = tuple(field.shape[:-1])
    return tuple(image.shape[1:]) == spatial != tuple(image.shape[:-1])


def _as_image(image, interpolation):
    """Return an image as a tensor: of its own type if values are not mixed."""
    if interpolation == "linear":
        return as_float32("image", image)
    if ops.is_tensor(image):
        return image
    image = check_real("image", image)
    if image.dtype.itemsize > 8:
        raise ValueError(
            f"Expected an image of 64 bits at most. Received image.dtype={image.dtype}."
        )
    return ops.convert_to_tensor(np.ascontiguousarray(image))


def _as_fill(fill, image, border):
    """Return what lies outside as a tensor that broadcasts to images, or None."""
    if fill is None:
        return None
    if border != "zero":
        raise ValueError(
            f"Expected fill=None, since border={border!r} says what lies outside. "
            f"Received fill={fill!r}."
        )
    fill = ops.convert_to_tensor(fill, dtype="float32")
    batch, *spatial, channels = image.shape
    shape = tuple(fill.shape)
    fits = len(shape) == 2 and shape[0] in (1, batch, None) and shape[1] == channels
    if shape and not fits:
        raise ValueError(
            f"Expected fill to be a number, or an array of shape (batch, channels). "
            f"Received fill.shape={shape} and image.shape={tuple(image.shape)}."
        )
    ones = [1] * len(spatial)
    return ops.reshape(fill, (-1, *ones, channels) if shape else (1, *ones, 1))


@compiled
def _sample(image, positions, interpolation, border, fill):
    positions = [positions[..., axis] for axis in range(positions.shape[-1])]
    if interpolation == "nearest":
        return read_nearest(image, positions, border, fill)
    offsets = locate(image, positions, border)
    return read_linear(image, positions, border, offsets, fill)


def _warp_linear(image, displacement, border, image_is_constant, fill=None):
    offsets = _locate(image, displacement, border)
    image = ops.cast(image, "float32")  # integers are offsets alone
    if fill is None:
        return _READ[border, image_is_constant](displacement, image, offsets)
    return _READ_FILLED[image_is_constant](displacement, image, offsets, fill)


@compiled
def _warp_nearest(image, displacement, border, fill):
    return read_nearest(image, displaced(displacement), border, fill)


@compiled
def _locate(image, displacement, border):
    return locate(image, displaced(displacement), border)


def _read(displacement, image, offsets, fill=None, *, border):
    return read_linear(image, displaced(displacement), border, offsets, fill)


_READ = {
    (border, is_constant): recomputed(
        partial(_read, border=border), constants=1 + is_constant
    )
    for border in BORDERS
    for is_constant in (False, True)
}
_READ_FILLED = {
    is_constant: recomputed(partial(_read, border="zero"), constants=2 + is_constant)
    for is_constant in (False, True)
}


def _compose(first, second):
    if keras.backend.backend() == "torch":
        # Its own sampler is faster. It differs in the last digits of a position, so
        # that images are not read by it.
        return second + grid_sample(first, displaced(second))
    return second + _warp_linear(first, second, "repeat", False)


def _integrate(velocity, steps):
    displacement = velocity / 2**steps
    for _ in range(steps):
        displacement = _square(displacement)
    return displacement


def _square(displacement):
    """Compose a displacement with itself.

    Compiled by itself and not with the steps before and after: XLA would merge them
    and compute a step anew for each neighbour that the next one reads.
    """
    if keras.backend.backend() == "torch":
        return _compose(displacement, displacement)
    offsets = _locate(displacement, displacement, "repeat")
    return _add_to_itself(displacement, offsets)


@partial(recomputed, constants=1)
def _add_to_itself(displacement, offsets):
    return displacement + _read(displacement, displacement, offsets, border="repeat")
