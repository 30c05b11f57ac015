"""Images and fields on every second or fourth voxel.

Tensors only. An image of n voxels along an axis has ceil(n / stride) coarse ones, each
of which covers ``stride`` voxels and lies at their centre. The last one may reach
beyond the image, whose border is taken to be repeated there. A field of constant slope
that is shrunk by 2 and enlarged again is off by 0.375 of the slope at the last voxel of
an odd axis, and by 0.5 at that of an even one.
"""

from keras import ops

from dipy_nn_reg.backend import compiled


def coarse_shape(shape, stride):
    """Return the spatial shape of what :func:`shrink` makes of an image."""
    return tuple(-(-size // stride) for size in shape)


def shrink(images, stride):
    """Average images over the voxels that each coarse one covers.

    Parameters
    ----------
    images : tensor, shape (batch, *spatial, channels)
    stride : int
        A power of two.

    Returns
    -------
    images : tensor, shape (batch, *coarse, channels)
    """
    # Halved again and again: padding for another stride would begin before the image.
    while stride > 1:
        images = ops.average_pool(
            images, 2, strides=2, padding="same", data_format="channels_last"
        )
        stride //= 2
    return images


def enlarge(displacement, reference, stride):
    """Interpolate a coarse displacement linearly; its border is repeated outside.

    Parameters
    ----------
    displacement : tensor, shape (batch, *coarse, ndim)
        In coarse voxels.
    reference : tensor, shape (batch, *spatial, any)
        On the grid of the result.
    stride : int

    Returns
    -------
    displacement : tensor, shape (batch, *spatial, ndim)
        In voxels.
    """
    if stride == 1:
        return displacement
    displacement = ops.convert_to_tensor(displacement)
    # The last axis first, while there is little to do for it. In 3D each is compiled by
    # itself: XLA would merge them and read eight neighbours for each voxel.
    if len(reference.shape) == 4:
        return _enlarge(displacement, reference, (2, 1), stride)
    for axis in (3, 2, 1):
        displacement = _enlarge(displacement, reference, (axis,), stride)
    return displacement


@compiled
def _enlarge(values, reference, axes, stride):
    for axis in axes:
        values = _enlarge_axis(values, reference, axis, stride)
    return values


def _enlarge_axis(values, reference, axis, stride):
    """Interpolate along one axis; the last one to be done brings voxels as the unit."""
    size = ops.shape(reference)[axis]
    before = (slice(None),) * axis
    first, last = values[(*before, slice(0, 1))], values[(*before, slice(-1, None))]
    lower = ops.concatenate([first, values[(*before, slice(0, -1))]], axis=axis)
    upper = ops.concatenate([values[(*before, slice(1, None))], last], axis=axis)
    if axis == 1:
        values, lower, upper = (stride * v for v in (values, lower, upper))
    parts = []
    for voxel in range(stride):
        offset = (voxel - (stride - 1) / 2) / stride
        neighbour = upper if offset > 0 else lower
        parts.append(values + abs(offset) * (neighbour - values))
    shape = list(ops.shape(values))
    shape[axis] = shape[axis] * stride
    values = ops.reshape(ops.stack(parts, axis=axis + 1), shape)
    return values[(*before, slice(0, size))]
