"""The default network."""

from keras import layers

from dipy_nn_reg.networks.blocks import conv_block, join, read_off, stride_to_reach

ENCODER = (16, 32, 32, 32)


def unet(moving, static, *, values, spacing, seed):
    """Connect a compact U-Net in the spirit of VoxelMorph.

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
    x, skips = encode(x, seed=seed)
    stop = stride_to_reach(spacing, coarsest=2 ** len(ENCODER))
    for stride, filters in ((8, 32), (4, 32), (2, 32), (1, 16)):
        if stride >= stop:
            x = conv_block(join(x, skips.pop()), filters, seed=seed)
    x = conv_block(x, 16, seed=seed)
    return read_off(x, values, spacing=spacing, seed=seed, stride=stop)


def encode(x, *, seed):
    """Halve the resolution four times; also return what was there before each."""
    skips = []
    for filters in ENCODER:
        skips.append(x)
        x = conv_block(x, filters, seed=seed, strides=2)
    return x, skips
