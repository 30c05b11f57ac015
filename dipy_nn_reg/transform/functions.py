"""Sampling, warping, composition and integration of images and fields, in 2D and 3D.

One convention holds everywhere: ``warped(x) = moving(x + u(x))``. A displacement
``u`` is in voxels of its own grid, channels last, and its component ``d`` is along
array axis ``d`` (``indexing="ij"``).

The functions take NumPy arrays or tensors of the Keras backend, and return arrays for
arrays and tensors for tensors. With tensors they are differentiable in the image and in
the field.
"""

import numpy as np

from dipy_nn_reg.checks import check_integer, check_name, check_shape
from dipy_nn_reg.transform.arguments import (
    all_bits,
    arrays_for_arrays,
    as_fill,
    as_image,
    batches_match,
    check_displacements,
    check_warp_shapes,
)
from dipy_nn_reg.transform.kernels import (
    compose_fields,
    integrate_velocity,
    sample_images,
    warp_linear,
    warp_nearest,
)
from dipy_nn_reg.transform.sampling import BORDERS, INTERPOLATIONS
from dipy_nn_reg.transform.tensors import as_float32

# Largest number of squarings of an integration. More than 24 add nothing, since float32
# has 24 bits.
MAX_STEPS = 64


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


@all_bits
@arrays_for_arrays
def sample(image, positions, *, interpolation="linear", border="zero", fill=None):
    """Sample images at absolute positions.

    Parameters
    ----------
    image : ndarray or tensor, shape (batch, *spatial, channels) or (*spatial,)
        Images, or a single image without batch and channels.
    positions : ndarray or tensor, shape (batch, ..., ndim) or (..., ndim)
        Positions in voxels, with a batch axis if the image has one.
    interpolation : {"linear", "nearest"}, optional
        Bilinear (3D: trilinear), or the value of the nearest voxel, which keeps
        the type of the image.
    border : {"zero", "repeat"}, optional
        Values outside of the image: zeros, toward which a linear sample fades over one
        voxel, or the border repeated.
    fill : float, or ndarray or tensor of shape (batch, channels), optional
        Values outside of the image in place of zeros.

    Returns
    -------
    values : ndarray or tensor, shape (batch, ..., channels) or (...)
        Float32 for linear interpolation.

    Raises
    ------
    ValueError
        If the shapes do not match or an option is unknown.

    Notes
    -----
    ``border="zero"`` is ``mode="grid-constant"`` of
    :func:`scipy.ndimage.map_coordinates` for both interpolations. DIPY's linear
    interpolation is the same. Its nearest interpolation has no margin of half a
    voxel around the outermost voxels.
    """
    check_name("interpolation", interpolation, INTERPOLATIONS)
    check_name("border", border, BORDERS)
    image = as_image(image, interpolation)
    positions = as_float32("positions", positions)
    ndim = positions.shape[-1]
    if len(image.shape) == ndim:
        fill = as_fill(fill, image[None, ..., None], border)
        values = sample_images(
            image[None, ..., None], positions[None], interpolation, border, fill
        )
        return values[0, ..., 0]
    if len(image.shape) != ndim + 2 or not batches_match(image, positions):
        raise ValueError(
            f"Expected an image of shape (batch, *spatial, channels) or (*spatial,) "
            f"with {ndim} spatial axes, one for each component of the positions, and "
            f"the batch of the positions. "
            f"Received image.shape={tuple(image.shape)} and "
            f"positions.shape={tuple(positions.shape)}."
        )
    fill = as_fill(fill, image, border)
    return sample_images(image, positions, interpolation, border, fill)


@all_bits
@arrays_for_arrays
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
        Moving images. Their grid may differ in size from that of the displacement.
    displacement : ndarray or tensor, shape ([batch,] *spatial, ndim)
        Displacement in voxels. With a batch axis, the image must have one too. If the
        batch of one of them is 1, it is used for all items of the other.
    interpolation : {"linear", "nearest"}, optional
        As for :func:`sample`.
    border, fill : optional
        As for :func:`sample`. ``fill`` gets no gradient.
    image_is_constant : bool, optional
        Compute no gradient of the image; that of the displacement then takes a third of
        the time.

    Returns
    -------
    warped : ndarray or tensor
        In the layout of ``image``, on the grid of ``displacement``. A displacement
        of zero returns the image bit for bit.

    Raises
    ------
    ValueError
        If the shapes do not match or an option is unknown.
    """
    check_name("interpolation", interpolation, INTERPOLATIONS)
    check_name("border", border, BORDERS)
    if not isinstance(image_is_constant, (bool, np.bool_)):
        raise ValueError(
            f"Expected image_is_constant to be True or False. "
            f"Received {image_is_constant!r}."
        )
    image = as_image(image, interpolation)
    displacement = as_float32("displacement", displacement)
    batched, has_channels = check_warp_shapes(image, displacement)
    image = image if batched else image[None]
    image = image if has_channels else image[..., None]
    displacement = displacement if batched else displacement[None]
    fill = as_fill(fill, image, border)
    if interpolation == "nearest":
        warped = warp_nearest(image, displacement, border, fill)
    else:
        is_constant = bool(image_is_constant)
        warped = warp_linear(image, displacement, border, is_constant, fill)
    warped = warped if has_channels else warped[..., 0]
    return warped if batched else warped[0]


@arrays_for_arrays
def compose(first, second):
    """Return the displacement of two successive warps.

    ``warp(image, compose(first, second))`` is ``warp(warp(image, first), second)``
    with a single interpolation of the image.

    Parameters
    ----------
    first, second : ndarray or tensor, shape ([batch,] *spatial, ndim)
        Displacements in voxels. ``first`` is sampled with its border repeated.

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
    check_displacements(first, second)
    if len(second.shape) == second.shape[-1] + 1:
        return compose_fields(first[None], second[None])[0]
    return compose_fields(first, second)


@arrays_for_arrays
def integrate(velocity, *, steps=7):
    """Integrate a stationary velocity over unit time by scaling and squaring.

    Parameters
    ----------
    velocity : ndarray or tensor, shape ([batch,] *spatial, ndim)
        Velocity in voxels. Outside of the grid its border is repeated.
    steps : int, optional
        Number of squarings, at most 64: the field is divided by ``2 ** steps`` and
        composed with itself ``steps`` times.

    Returns
    -------
    displacement : ndarray or tensor, shape ([batch,] *spatial, ndim)
        Displacement in voxels. The displacement of ``-velocity`` is its inverse.

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
    if steps > MAX_STEPS:
        raise ValueError(
            f"Expected steps to be {MAX_STEPS} at most. Received {steps!r}."
        )
    steps = int(steps)  # TensorFlow treats a NumPy scalar as a tensor
    velocity = as_float32("velocity", velocity)
    ndim = velocity.shape[-1]
    if len(velocity.shape) not in (ndim + 1, ndim + 2):
        raise ValueError(
            f"Expected a velocity of shape ([batch,] *spatial, ndim). "
            f"Received velocity.shape={tuple(velocity.shape)}."
        )
    if len(velocity.shape) == ndim + 1:
        return integrate_velocity(velocity[None], steps)[0]
    return integrate_velocity(velocity, steps)
