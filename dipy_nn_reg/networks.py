"""Networks that read a moving and a static image and predict a dense field."""

from keras import initializers, layers

from dipy_nn_reg.layers import UpsampleLike


def unet(moving, static, *, values, seed):
    """Connect a compact U-Net in the spirit of VoxelMorph.

    Four levels, each at half the resolution of the one above; leaky ReLU; no
    normalisation. The last layer starts at zero, so an untrained network predicts
    no motion.

    Parameters
    ----------
    moving, static : KerasTensor, shape (batch, *spatial, channels)
    values : int
        Number of values to predict for each voxel.
    seed : callable
        Returns a new seed for each layer.

    Returns
    -------
    field : KerasTensor, shape (batch, *spatial, values)

    Notes
    -----
    For the U-Net see :footcite:t:`Ronneberger2015`, for VoxelMorph
    :footcite:t:`Balakrishnan2018`.

    References
    ----------
    .. footbibliography::
    """
    ndim = len(moving.shape) - 2
    x = _conv_block(layers.Concatenate()([moving, static]), 16, seed=seed)
    skips = []
    for filters in (16, 32, 32, 32):
        skips.append(x)
        x = _conv_block(x, filters, seed=seed, strides=2)
    for filters in (32, 32, 32, 16):
        skip = skips.pop()
        x = layers.Concatenate()([UpsampleLike()(x, skip), skip])
        x = _conv_block(x, filters, seed=seed)
    x = _conv_block(x, 16, seed=seed)
    return _conv(ndim)(values, 3, padding="same", kernel_initializer="zeros")(x)


NETWORKS = {"unet": unet}


def _conv(ndim):
    return layers.Conv2D if ndim == 2 else layers.Conv3D


def _conv_block(x, filters, *, seed, strides=1):
    convolution = _conv(len(x.shape) - 2)(
        filters,
        3,
        strides=strides,
        padding="same",
        kernel_initializer=initializers.HeNormal(seed=seed()),
    )
    return layers.LeakyReLU(negative_slope=0.2)(convolution(x))
