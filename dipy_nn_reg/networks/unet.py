"""The default network."""

from keras import layers

from dipy_nn_reg.networks.blocks import conv_block, join, read_off, stride_to_reach

# Wide where the resolution is low and voxels are few: on MNIST worth as much as a
# decoder of twice the width at full resolution, which would cost far more in 3D.
ENCODER = (32, 64, 64, 64)
DECODER = (64, 64, 32, 16)


def unet(moving, static, *, values, spacing, seed):
    """Connect a U-Net in the spirit of VoxelMorph, wider at low resolution.

    Four levels, each at half the resolution of the one above; leaky ReLU; no
    normalisation. The way up ends where the resolution suffices for ``spacing``. The
    last layer starts at zero, so an untrained network predicts no motion.

    Parameters
    ----------
    moving, static, values, spacing, seed
        See :mod:`dipy_nn_reg.networks`.

    Returns
    -------
    values : KerasTensor

    Notes
    -----
    For the U-Net see :footcite:t:`Ronneberger2015`, for VoxelMorph
    :footcite:t:`Balakrishnan2018`.

    References
    ----------
    .. footbibliography::
    """
    x = conv_block(layers.Concatenate()([moving, static]), 16, seed=seed)
    x, skips = encode(x, ENCODER, seed=seed)
    stop = stride_to_reach(spacing, coarsest=2 ** len(ENCODER))
    for stride, filters in zip((8, 4, 2, 1), DECODER):
        if stride >= stop:
            x = conv_block(join(x, skips.pop()), filters, seed=seed)
    x = conv_block(x, 16, seed=seed)
    return read_off(x, values, spacing=spacing, seed=seed, stride=stop)


def encode(x, filters, *, seed):
    """Halve the resolution once for each; also return what was there before."""
    skips = []
    for n in filters:
        skips.append(x)
        x = conv_block(x, n, seed=seed, strides=2)
    return x, skips
