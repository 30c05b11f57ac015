"""Pyramid of images and fields: averages on coarse grids, interpolation on fine ones.

The functions take tensors. An axis of n voxels has ceil(n / stride) coarse voxels, each
of which covers ``stride`` voxels and lies at their centre. The last coarse voxel may
reach beyond the image, the border of which is repeated there. A field of constant slope
that is shrunk by 2 and enlarged again has an error of 0.375 times the slope at the last
voxel of an odd axis, and of 0.5 times the slope at that of an even axis.
"""

from keras import ops

from dipy_nn_reg.backend import compiled


def coarse_shape(shape, stride):
    """Return the spatial shape of an image after :func:`shrink`."""
    return tuple(-(-size // stride) for size in shape)


def shrink(images, stride):
    """Average images over the voxels that each coarse voxel covers.

    Parameters
    ----------
    images : tensor, shape (batch, *spatial, channels)
    stride : int
        A power of two.

    Returns
    -------
    images : tensor, shape (batch, *coarse, channels)
    """
    # Pooling by 4 at once would pad the image at its start as well.
    while stride > 1:
        images = ops.average_pool(
            images, 2, strides=2, padding="same", data_format="channels_last"
        )
        stride //= 2
    return images


def enlarge(displacement, reference, stride):
    """Interpolate a coarse displacement linearly on a finer grid.

    Parameters
    ----------
    displacement : tensor, shape (batch, *coarse, ndim)
        Displacement in coarse voxels. Outside of the grid its border is repeated.
    reference : tensor, shape (batch, *spatial, any)
        Image or field on the fine grid; only its shape is used.
    stride : int
        Size of a coarse voxel in fine voxels, a power of two.

    Returns
    -------
    displacement : tensor, shape (batch, *spatial, ndim)
        Displacement in fine voxels.
    """
    if stride == 1:
        return displacement
    displacement = ops.convert_to_tensor(displacement)
    # The last axis comes first, while the field is still small. In 3D each axis is
    # compiled by itself: XLA would fuse them and read eight neighbours for each voxel.
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
    """Interpolate along one axis; along axis 1, the last one, also convert the unit."""
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
