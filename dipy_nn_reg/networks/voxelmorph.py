"""Networks of VoxelMorph, as first published."""

from functools import partial

from keras import initializers, layers

from dipy_nn_reg.networks.blocks import conv_block, join, read_off
from dipy_nn_reg.networks.unet import encode

# Numbers of filters of the encoder.
ENCODER = (16, 32, 32, 32)


def voxelmorph(moving, static, *, values, spacing, seed, filters):
    """Connect the network of VoxelMorph.

    In contrast to :func:`~dipy_nn_reg.networks.unet.unet`, there is no convolution at
    full resolution before the encoder: the features at full resolution are computed
    from those at half the resolution and the images.

    Parameters
    ----------
    moving, static, values, spacing, seed
        See :mod:`dipy_nn_reg.networks`.
    filters : tuple of int
        Numbers of filters of the last convolution at half the resolution, and of those
        at full resolution: (8, 8) in VoxelMorph-1, (32, 16, 16) in VoxelMorph-2.

    Returns
    -------
    values : KerasTensor

    Notes
    -----
    Kernels and numbers of filters are those of the authors' code for
    :footcite:t:`Balakrishnan2018`. VoxelMorph-1 and VoxelMorph-2 have 259,675 and
    300,547 parameters in 3D, 86,658 and 100,242 in 2D. The weights of the last layer
    start near zero.

    References
    ----------
    .. footbibliography::
    """
    x, skips = encode(layers.Concatenate()([moving, static]), ENCODER, seed=seed)
    for _ in range(3):
        x = join(conv_block(x, 32, seed=seed), skips.pop())
    x = conv_block(x, 32, seed=seed)
    x = join(conv_block(x, filters[0], seed=seed), skips.pop())
    for n in filters[1:]:
        x = conv_block(x, n, seed=seed)
    near_zero = initializers.RandomNormal(stddev=1e-5, seed=seed())
    return read_off(x, values, spacing=spacing, seed=seed, initializer=near_zero)


voxelmorph1 = partial(voxelmorph, filters=(8, 8))
voxelmorph2 = partial(voxelmorph, filters=(32, 16, 16))
