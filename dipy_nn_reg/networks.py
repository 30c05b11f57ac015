"""Networks that read a moving and a static image and predict a dense field.

A builder connects its layers to two images of shape (batch, *spatial, channels), of
any size, and returns a field of shape (batch, *spatial, values). ``seed`` is a function
that returns a new seed for each layer.
"""

from functools import partial

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
    x = _conv_block(layers.Concatenate()([moving, static]), 16, seed=seed)
    x, skips = _encode(x, seed=seed)
    for filters in (32, 32, 32, 16):
        x = _conv_block(_join(x, skips.pop()), filters, seed=seed)
    x = _conv_block(x, 16, seed=seed)
    return _field(x, values, initializer="zeros")


def voxelmorph(moving, static, *, values, seed, filters):
    """Connect the network of VoxelMorph, as first published.

    In contrast to :func:`unet`, the finest features are made at half the resolution,
    and those at full resolution from them and the images.

    Parameters
    ----------
    moving, static : KerasTensor, shape (batch, *spatial, channels)
    values : int
        Number of values to predict for each voxel.
    seed : callable
        Returns a new seed for each layer.
    filters : tuple of int
        Of the last convolution at half the resolution, and of those at full
        resolution: (8, 8) in VoxelMorph-1, (32, 16, 16) in VoxelMorph-2.

    Returns
    -------
    field : KerasTensor, shape (batch, *spatial, values)

    Notes
    -----
    Kernels and numbers of filters as in the authors' code for
    :footcite:t:`Balakrishnan2018`: 259,675 and 300,547 parameters in 3D, 86,658 and
    100,242 in 2D. The weights of the last layer start near zero.

    References
    ----------
    .. footbibliography::
    """
    x, skips = _encode(layers.Concatenate()([moving, static]), seed=seed)
    for _ in range(3):
        x = _join(_conv_block(x, 32, seed=seed), skips.pop())
    x = _conv_block(x, 32, seed=seed)
    x = _join(_conv_block(x, filters[0], seed=seed), skips.pop())
    for n in filters[1:]:
        x = _conv_block(x, n, seed=seed)
    return _field(x, values, initializers.RandomNormal(stddev=1e-5, seed=seed()))


NETWORKS = {
    "unet": unet,
    "voxelmorph1": partial(voxelmorph, filters=(8, 8)),
    "voxelmorph2": partial(voxelmorph, filters=(32, 16, 16)),
}


def _encode(x, *, seed):
    """Halve the resolution four times; also return what was there before each."""
    skips = []
    for filters in (16, 32, 32, 32):
        skips.append(x)
        x = _conv_block(x, filters, seed=seed, strides=2)
    return x, skips


def _join(x, skip):
    return layers.Concatenate()([UpsampleLike()(x, skip), skip])


def _field(x, values, initializer):
    convolution = _conv(x)(values, 3, padding="same", kernel_initializer=initializer)
    return convolution(x)


def _conv_block(x, filters, *, seed, strides=1):
    convolution = _conv(x)(
        filters,
        3,
        strides=strides,
        padding="same",
        kernel_initializer=initializers.HeNormal(seed=seed()),
    )
    return layers.LeakyReLU(negative_slope=0.2)(convolution(x))


def _conv(x):
    return layers.Conv2D if len(x.shape) == 4 else layers.Conv3D
