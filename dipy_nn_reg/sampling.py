"""Read images between their voxels and beyond their border.

The inside of :func:`dipy_nn_reg.transform.sample`: tensors only, of known layout. A
reader takes images of shape (batch, *spatial, channels), positions in voxels of shape
(batch, ..., ndim), and what lies outside: "zero", or "repeat" for the border repeated.
"""

import keras
from keras import ops

from dipy_nn_reg.backend import grid_sample

BORDERS = ("zero", "repeat")


def read_linear(image, positions, border):
    """Interpolate along one axis after the other."""
    image = ops.cast(image, "float32")
    # A margin of one voxel outside: zeros to fade to, or nothing to go to.
    margin = 1 if border == "zero" else 0
    image, spatial = _with_zeros_around(image, margin), ops.shape(image)[1:-1]
    lower, weights = [], []
    for axis, size in enumerate(spatial):
        first, last = -margin, size - 1 + margin
        position = ops.clip(positions[..., axis], first, ops.cast(last, "float32"))
        # The last voxel is reached as the upper neighbour, with weight 1, so that
        # there is always one; an axis of a single voxel has none.
        highest = ops.cast(ops.maximum(last - 1, first), "float32")
        below = ops.minimum(ops.floor(position), highest)
        weights.append((position - below)[..., None])
        lower.append(ops.cast(below, "int32") + margin)

    voxels = ops.reshape(image, (-1, image.shape[-1]))
    padded = ops.shape(image)
    strides = _strides(padded[1:-1])
    to_upper = [s * ops.minimum(n - 1, 1) for s, n in zip(strides, padded[1:-1])]

    def interpolate(offset, axis):
        if axis == len(spatial):
            return ops.take(voxels, offset, axis=0)
        upper = interpolate(offset + to_upper[axis], axis + 1)
        below = interpolate(offset, axis + 1)
        # In this form weights of 0 and of 1 give back a voxel bit for bit.
        return (1 - weights[axis]) * below + weights[axis] * upper

    return interpolate(_offsets(lower, strides, padded), 0)


def read_nearest(image, positions, border):
    """Take the nearest voxel, in the type of the image."""
    spatial = ops.shape(image)[1:-1]
    index, inside = [], True
    for axis, size in enumerate(spatial):
        rounded = ops.floor(positions[..., axis] + 0.5)
        last = ops.cast(size - 1, "float32")
        inside = ops.logical_and(inside, (rounded >= 0) & (rounded <= last))
        index.append(ops.cast(ops.clip(rounded, 0, last), "int32"))
    voxels = ops.reshape(image, (-1, image.shape[-1]))
    offset = _offsets(index, _strides(spatial), ops.shape(image))
    values = ops.take(voxels, offset, axis=0)
    if border == "repeat":
        return values
    return ops.where(inside[..., None], values, ops.zeros_like(values))


def read_field(field, positions):
    """Interpolate a field, whose border is repeated, at a position for each voxel.

    By the backend's own sampler where it has one that is faster, which differs in the
    last digits of a position, so that images are not read by it.
    """
    if keras.backend.backend() == "torch":
        return grid_sample(field, positions)
    return read_linear(field, positions, "repeat")


READERS = {"linear": read_linear, "nearest": read_nearest}


def voxel_grid(shape):
    """Return the position of each voxel of a grid, a tensor of (*shape, ndim)."""
    axes = [ops.arange(0, size, dtype="float32") for size in shape]
    return ops.stack(ops.meshgrid(*axes, indexing="ij"), axis=-1)


def repeat_border(image, margin):
    """Repeat the border of images ``margin`` times along each spatial axis."""
    for axis in range(1, len(image.shape) - 1):
        everything = (slice(None),) * axis
        first = image[(*everything, slice(None, 1))]
        last = image[(*everything, slice(-1, None))]
        first, last = (ops.repeat(edge, margin, axis=axis) for edge in (first, last))
        image = ops.concatenate([first, image, last], axis=axis)
    return image


def _with_zeros_around(image, margin):
    if not margin:
        return image
    ndim = len(image.shape) - 2
    return ops.pad(image, [(0, 0), *[(margin, margin)] * ndim, (0, 0)])


def _strides(spatial):
    """Number of voxels from one index to the next, for each axis."""
    strides = [1]
    for size in reversed(spatial[1:]):
        strides.insert(0, strides[0] * size)
    return strides


def _offsets(index, strides, shape):
    """Turn an index for each axis into one index for all voxels of the batch."""
    rank = len(index[0].shape)
    voxels_per_image = strides[0] * shape[1]
    batch = ops.arange(0, shape[0], dtype="int32") * voxels_per_image
    batch = ops.reshape(batch, (-1,) + (1,) * (rank - 1))
    return batch + sum(i * stride for i, stride in zip(index, strides))
