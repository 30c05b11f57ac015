"""U-Net, the default network."""

from keras import layers

from dipy_nn_reg.networks.blocks import (
    add_levels,
    conv_block,
    join,
    read_off,
    stride_to_reach,
)

# Numbers of filters of the encoder and the decoder. They are large at low resolution,
# where there are few voxels: on MNIST this does as well as a decoder of twice the width
# at full resolution, which would take far more time in 3D.
ENCODER = (32, 64, 64, 64)
DECODER = (64, 64, 32, 16)
# Number of the finest levels that contribute to the field. The coarse ones learn large
# motion early in the training.
LEVELS = 3


def unet(moving, static, *, values, spacing, seed):
    """Connect a U-Net in the spirit of VoxelMorph, wider at low resolution.

    Four levels, each at half the resolution of the one above; leaky ReLU; no
    normalisation. The decoder ends at the resolution that ``spacing`` needs. The values
    are the sum of the predictions of the last three levels, each at its own resolution.
    The layers that predict them start at zero, so an untrained network predicts no
    motion.

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
    coarser = []
    for stride, filters in zip((8, 4, 2, 1), DECODER):
        if stride >= stop:
            x = conv_block(join(x, skips.pop()), filters, seed=seed)
            if spacing is not None and stop < stride < stop * 2**LEVELS:
                coarser.append(read_off(x, values, spacing=1, seed=seed))
    x = conv_block(x, 16, seed=seed)
    finest = read_off(x, values, spacing=spacing, seed=seed, stride=stop)
    return add_levels([*coarser, finest])


def encode(x, filters, *, seed):
    """Halve the resolution of features repeatedly, by strided convolutions.

    Parameters
    ----------
    x : KerasTensor, shape (batch, *spatial, channels)
    filters : sequence of int
        Number of filters of each convolution.
    seed : callable
        Returns a new seed for each layer.

    Returns
    -------
    x : KerasTensor
        Features of the lowest resolution.
    skips : list of KerasTensor
        Features before each convolution, for skip connections.
    """
    skips = []
    for n in filters:
        skips.append(x)
        x = conv_block(x, n, seed=seed, strides=2)
    return x, skips
