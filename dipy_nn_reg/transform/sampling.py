"""Read images between their voxels and beyond their border.

The inside of :func:`dipy_nn_reg.transform.sample`: tensors only, of known layout. A
reader takes images of shape (batch, *spatial, channels), positions in voxels as a list
of a tensor for each axis, of shape (batch, ...), and what lies outside: "zero", or
another value in its place, or "repeat" for the border repeated.
"""

from keras import ops

from dipy_nn_reg.backend import take_rows

# Width of the margin added around an image, in voxels, for each border mode.
_MARGINS = {"zero": 1, "repeat": 0}
BORDERS = tuple(_MARGINS)
INTERPOLATIONS = ("linear", "nearest")


def displaced(displacement):
    """Return where voxels go, a tensor for each axis."""
    positions = []
    for axis, size in enumerate(ops.shape(displacement)[1:-1]):
        along_axis = [1] * (len(displacement.shape) - 1)
        along_axis[axis + 1] = size
        voxels = ops.reshape(ops.arange(0, size, dtype="float32"), along_axis)
        positions.append(voxels + displacement[..., axis])
    return positions


def locate(image, positions, border):
    """Return the index of the voxel below each position, among those of all images.

    To be compiled apart from what reads there: XLA would compute it anew for each of
    the neighbours.

    Parameters
    ----------
    image : tensor, shape (batch, *spatial, channels)
    positions : list of tensor, shape (batch, ...)
        For each axis, in voxels.
    border : {"zero", "repeat"}
    """
    margin = _MARGINS[border]
    spatial = ops.shape(image)[1:-1]
    lower = [
        ops.cast(_split(position, size, margin)[0], "int32") + margin
        for position, size in zip(positions, spatial)
    ]
    padded = [ops.shape(image)[0], *(size + 2 * margin for size in spatial)]
    return _offsets(lower, padded)


def read_linear(image, positions, border, offsets, fill=None):
    """Interpolate along one axis after the other, from what :func:`locate` found.

    ``fill``, a tensor that broadcasts to the image, lies outside in place of zeros.
    """
    margin = _MARGINS[border]
    spatial = ops.shape(image)[1:-1]
    weights = [
        _split(position, size, margin)[1][..., None]
        for position, size in zip(positions, spatial)
    ]
    image = _surround(ops.cast(image, "float32"), margin, fill)
    voxels = ops.reshape(image, (-1, image.shape[-1]))
    sizes = ops.shape(image)[1:-1]
    # An axis of a single voxel has no neighbour.
    to_upper = [s * ops.minimum(n - 1, 1) for s, n in zip(_strides(sizes), sizes)]

    def interpolate(offset, axis):
        if axis == len(spatial):
            return take_rows(voxels, offset)
        upper = interpolate(offset + to_upper[axis], axis + 1)
        below = interpolate(offset, axis + 1)
        # In this form weights of 0 and of 1 give back a voxel bit for bit.
        return (1 - weights[axis]) * below + weights[axis] * upper

    return interpolate(offsets, 0)


def read_nearest(image, positions, border, fill=None):
    """Take the nearest voxel, in the type of the image."""
    shape = ops.shape(image)
    index, inside = [], True
    for position, size in zip(positions, shape[1:-1]):
        rounded = ops.floor(position + 0.5)
        last = ops.cast(size - 1, "float32")
        inside = ops.logical_and(inside, (rounded >= 0) & (rounded <= last))
        index.append(ops.cast(ops.clip(rounded, 0, last), "int32"))
    voxels = ops.reshape(image, (-1, image.shape[-1]))
    values = take_rows(voxels, _offsets(index, shape[:-1]))
    if border == "repeat":
        return values
    outside = ops.zeros_like(values)
    if fill is not None:
        outside += ops.cast(fill, values.dtype)
    return ops.where(inside[..., None], values, outside)


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


def surround_by_zeros(image, margins):
    """Put zeros before and behind images, as many along each axis as its margin."""
    if not any(margins):
        return image
    return ops.pad(image, [(0, 0), *[(margin, margin) for margin in margins], (0, 0)])


def _surround(image, margin, fill):
    """Put a margin around images: zeros, or ``fill``; the image keeps its bits."""
    margins = (margin,) * (len(image.shape) - 2)
    padded = surround_by_zeros(image, margins)
    if fill is None or not margin:
        return padded
    inside = surround_by_zeros(ops.ones_like(image[:1, ..., :1]), margins)
    return padded + fill * (1 - inside)


def _split(position, size, margin):
    """Split a position into the voxel below, as a float, and the weight of the next."""
    first, last = -margin, size - 1 + margin
    position = ops.clip(position, first, ops.cast(last, "float32"))
    # The last voxel is reached as the upper neighbour, with weight 1, so that there
    # is always one; an axis of a single voxel has none.
    highest = ops.cast(ops.maximum(last - 1, first), "float32")
    below = ops.minimum(ops.floor(position), highest)
    return below, position - below


def _strides(spatial):
    """Number of voxels from one index to the next, for each axis."""
    strides = [1]
    for size in reversed(spatial[1:]):
        strides.insert(0, strides[0] * size)
    return strides


def _offsets(index, shape):
    """Turn an index for each axis into one index for all voxels of the batch."""
    rank = len(index[0].shape)
    batch, *spatial = shape
    strides = _strides(spatial)
    images = ops.arange(0, batch, dtype="int32") * (strides[0] * spatial[0])
    images = ops.reshape(images, (-1,) + (1,) * (rank - 1))
    return images + sum(i * stride for i, stride in zip(index, strides))
