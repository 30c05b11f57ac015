"""Sampling of images between their voxels and beyond their border.

The functions take tensors: images of shape (batch, *spatial, channels), and positions
in voxels as a list with a tensor of shape (batch, ...) for each axis. Outside of an
image there are zeros or another value (border "zero"), or its border is repeated
("repeat").
"""

from keras import ops

from dipy_nn_reg.backend import take_rows

# Width of the margin added around an image, in voxels, for each border mode.
_MARGINS = {"zero": 1, "repeat": 0}
BORDERS = tuple(_MARGINS)
INTERPOLATIONS = ("linear", "nearest")


def displaced(displacement):
    """Return the positions of voxels after a displacement, a tensor for each axis."""
    positions = []
    for axis, size in enumerate(ops.shape(displacement)[1:-1]):
        along_axis = [1] * (len(displacement.shape) - 1)
        along_axis[axis + 1] = size
        voxels = ops.reshape(ops.arange(0, size, dtype="float32"), along_axis)
        positions.append(voxels + displacement[..., axis])
    return positions


def locate(image, positions, border):
    """Return the index of the voxel below each position.

    It is compiled apart from the sampling: XLA would compute the index again for each
    of the neighbours.

    Parameters
    ----------
    image : tensor, shape (batch, *spatial, channels)
    positions : list of tensor, shape (batch, ...)
        Positions in voxels along each axis.
    border : {"zero", "repeat"}

    Returns
    -------
    offsets : tensor of int32, shape (batch, ...)
        Indices into the voxels of all images with their margins, in one sequence.
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
    """Sample images by linear interpolation, along one axis after the other.

    Parameters
    ----------
    image : tensor, shape (batch, *spatial, channels)
    positions : list of tensor, shape (batch, ...)
        Positions in voxels along each axis.
    border : {"zero", "repeat"}
    offsets : tensor of int32, shape (batch, ...)
        Result of :func:`locate` for these positions.
    fill : tensor, optional
        Values outside of the image in place of zeros; broadcasts to the image.

    Returns
    -------
    values : tensor of float32, shape (batch, ..., channels)
    """
    values, _ = _interpolate(image, positions, border, offsets, fill)
    return values


def read_with_slopes(image, positions, border, offsets):
    """Sample images by linear interpolation, and their slopes.

    Parameters
    ----------
    image, positions, border, offsets
        As for :func:`read_linear`.

    Returns
    -------
    values : tensor of float32, shape (batch, ..., channels)
    slopes : list of tensor, shape (batch, ..., channels)
        Derivative along each axis of what is interpolated, between the voxels around
        the position; beyond the border, those at the border.
    """
    return _interpolate(image, positions, border, offsets, with_slopes=True)


def read_nearest(image, positions, border, fill=None):
    """Sample images at the nearest voxel.

    Parameters
    ----------
    image : tensor, shape (batch, *spatial, channels)
    positions : list of tensor, shape (batch, ...)
        Positions in voxels along each axis.
    border : {"zero", "repeat"}
    fill : tensor, optional
        Values outside of the image in place of zeros.

    Returns
    -------
    values : tensor, shape (batch, ..., channels)
        In the type of the image.
    """
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
    outside = ops.zeros_like(values) if fill is None else ops.cast(fill, values.dtype)
    return ops.where(inside[..., None], values, outside)


def voxel_grid(shape):
    """Return the position of each voxel of a grid, a tensor of shape (*shape, ndim)."""
    axes = [ops.arange(0, size, dtype="float32") for size in shape]
    return ops.stack(ops.meshgrid(*axes, indexing="ij"), axis=-1)


def affine_after(displacement, matrix):
    """Return a displacement followed by an affine map: ``u(x) = A(x + d(x)) - x``.

    Parameters
    ----------
    displacement : tensor, shape (batch, *spatial, ndim)
        In voxels, or of shape (batch, *spatial, 1) if all components are equal.
    matrix : tensor, shape (batch, ndim, ndim + 1)
        In voxels.

    Returns
    -------
    displacement : tensor, shape (batch, *spatial, ndim)
    """
    ndim = matrix.shape[-2]
    positions = voxel_grid(ops.shape(displacement)[1:-1]) + displacement
    change = matrix[..., :ndim] - ops.eye(ndim, dtype="float32")
    moved = ops.einsum("bij,b...j->b...i", change, positions)
    offset = ops.reshape(matrix[..., ndim], (-1, *[1] * ndim, ndim))
    return displacement + moved + offset


def repeat_border(image, margin):
    """Repeat the border of images ``margin`` times along each spatial axis."""
    for axis in range(1, len(image.shape) - 1):
        everything = (slice(None),) * axis
        first = image[(*everything, slice(None, 1))]
        last = image[(*everything, slice(-1, None))]
        image = ops.concatenate([first] * margin + [image] + [last] * margin, axis=axis)
    return image


def surround_by_zeros(image, margins):
    """Pad images with zeros by the margin of each axis, on both sides."""
    if not any(margins):
        return image
    return ops.pad(image, [(0, 0), *[(margin, margin) for margin in margins], (0, 0)])


def _interpolate(image, positions, border, offsets, fill=None, with_slopes=False):
    """Return the values at positions, and the slopes if they are asked for."""
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
            return take_rows(voxels, offset), []
        upper, upper_slopes = interpolate(offset + to_upper[axis], axis + 1)
        below, below_slopes = interpolate(offset, axis + 1)

        def mix(below, upper):
            # In this form, weights of 0 and 1 return the value of a voxel bit for bit.
            return (1 - weights[axis]) * below + weights[axis] * upper

        slopes = [mix(*pair) for pair in zip(below_slopes, upper_slopes)]
        if with_slopes:
            slopes = [upper - below, *slopes]
        return mix(below, upper), slopes

    return interpolate(offsets, 0)


def _surround(image, margin, fill):
    """Pad images with zeros or ``fill``; the values of the image are unchanged."""
    margins = (margin,) * (len(image.shape) - 2)
    padded = surround_by_zeros(image, margins)
    if fill is None or not margin:
        return padded
    inside = surround_by_zeros(ops.ones_like(image[:1, ..., :1]), margins)
    return padded + fill * (1 - inside)


def _split(position, size, margin):
    """Split a position into the voxel below, as float, and the weight of the next."""
    first, last = -margin, size - 1 + margin
    position = ops.clip(position, first, ops.cast(last, "float32"))
    # The last voxel is the upper neighbour with weight 1, so that each voxel below has
    # an upper neighbour, except along an axis of a single voxel.
    highest = ops.cast(ops.maximum(last - 1, first), "float32")
    below = ops.minimum(ops.floor(position), highest)
    return below, position - below


def _strides(spatial):
    """Return the number of voxels from one index to the next, for each axis."""
    strides = [1]
    for size in reversed(spatial[1:]):
        strides.insert(0, strides[0] * size)
    return strides


def _offsets(index, shape):
    """Convert an index for each axis into one index of all voxels of the batch."""
    rank = len(index[0].shape)
    batch, *spatial = shape
    strides = _strides(spatial)
    images = ops.arange(0, batch, dtype="int32") * (strides[0] * spatial[0])
    images = ops.reshape(images, (-1,) + (1,) * (rank - 1))
    return images + sum(i * stride for i, stride in zip(index, strides))
