"""Compiled functions of sampling, warping, composition and integration.

They take tensors of shape (batch, *spatial, channels), positions and displacements in
voxels, and options that :mod:`dipy_nn_reg.transform.functions` has checked.
"""

from functools import partial

from keras import ops

from dipy_nn_reg.backend import compiled, for_backend, grid_sample, recomputed
from dipy_nn_reg.transform.sampling import (
    BORDERS,
    affine_after,
    displaced,
    locate,
    read_linear,
    read_nearest,
)


@compiled
def sample_images(image, positions, interpolation, border, fill):
    """Sample images at positions, a tensor of shape (batch, ..., ndim)."""
    positions = [positions[..., axis] for axis in range(positions.shape[-1])]
    if interpolation == "nearest":
        return read_nearest(image, positions, border, fill)
    offsets = locate(image, positions, border)
    return read_linear(image, positions, border, offsets, fill)


def warp_linear(image, displacement, border, image_is_constant, fill=None):
    """Warp images with linear interpolation."""
    offsets = _locate(image, displacement, border)
    # Tensors of integers are taken for offsets in the compiled functions.
    image = ops.cast(image, "float32")
    if fill is None:
        return _READ[border, image_is_constant](displacement, image, offsets)
    return _READ_FILLED[image_is_constant](displacement, image, offsets, fill)


# Without a gradient of the affine.
then_affine = recomputed(affine_after, constants=1)


@compiled
def warp_nearest(image, displacement, border, fill):
    """Warp images with nearest interpolation, in their own type."""
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
    return second + warp_linear(first, second, "repeat", False)


def _compose_by_grid_sample(first, second):
    """Compose displacements by PyTorch's own sampler, which is faster.

    It differs in the last digits of a position, so images are not sampled by it.
    """
    return second + grid_sample(first, displaced(second))


compose_fields = for_backend(_compose, torch=_compose_by_grid_sample)


def integrate_velocity(velocity, steps):
    """Integrate a velocity by ``steps`` squarings."""
    displacement = velocity / 2.0**steps
    for _ in range(steps):
        displacement = _compose_with_itself(displacement)
    return displacement


def _square(displacement):
    """Compose a displacement with itself.

    It is compiled apart from the steps before and after. XLA would fuse them, and
    compute a step again for each neighbour that the next step samples.
    """
    offsets = _locate(displacement, displacement, "repeat")
    return _add_to_itself(displacement, offsets)


def _square_by_grid_sample(displacement):
    return _compose_by_grid_sample(displacement, displacement)


_compose_with_itself = for_backend(_square, torch=_square_by_grid_sample)


@partial(recomputed, constants=1)
def _add_to_itself(displacement, offsets):
    return displacement + _read(displacement, displacement, offsets, border="repeat")
