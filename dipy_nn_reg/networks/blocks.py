"""Blocks of layers that several networks share."""

from math import gcd

from keras import initializers, layers

from dipy_nn_reg.transform.layers import CutLike, EnlargeDisplacement, Moments

# Momentum of batch normalisation. With Keras's default of 0.99, the moving averages
# would still be close to their initial values after a short training.
MOMENTUM = 0.9
# Dtype of output layers, also in a bfloat16 network: with its 8 bits a displacement of
# 10 voxels would be rounded to about 1/30 voxel.
FLOAT = "float32"


def ranked(x, name):
    """Return the Keras layer class of a name for 2D or 3D images.

    Parameters
    ----------
    x : KerasTensor, shape (batch, *spatial, channels)
    name : str
        Name without "2D" or "3D": "Conv" for Conv2D or Conv3D. Braces mark where the
        number of dimensions is inserted, if it is not at the end: "Conv{}Transpose".
    """
    rank = f"{len(x.shape) - 2}D"
    return getattr(layers, name.format(rank) if "{}" in name else name + rank)


def convolve(x, filters, kernel_size=3, *, initializer, kind="Conv", **options):
    """Convolve features with padding.

    Parameters
    ----------
    x : KerasTensor, shape (batch, *spatial, channels)
    filters : int
        Number of filters.
    kernel_size : int, optional
        Width of the kernel in voxels.
    initializer : str or keras.initializers.Initializer
        Initializer of the kernel.
    kind : {"Conv", "Conv{}Transpose"}, optional
        Layer, see :func:`ranked`.
    **options
        Further options of the layer, such as ``strides``.

    Returns
    -------
    x : KerasTensor
    """
    layer = ranked(x, kind)(
        filters, kernel_size, padding="same", kernel_initializer=initializer, **options
    )
    return layer(x)


def conv_block(x, filters, *, seed, strides=1):
    """Convolve, then apply a leaky ReLU, as VoxelMorph does."""
    kernel = initializers.HeNormal(seed=seed())
    x = convolve(x, filters, initializer=kernel, strides=strides)
    return layers.LeakyReLU(negative_slope=0.2)(x)


def join(x, skip):
    """Double the resolution of features, and concatenate those of a skip connection."""
    x = CutLike()(ranked(x, "UpSampling")(2)(x), skip)
    return layers.Concatenate()([x, skip])


def add_levels(fields):
    """Sum fields of several resolutions.

    Parameters
    ----------
    fields : list of KerasTensor, shape (batch, *spatial, ndim)
        Fields in voxels of their own grid, each at half the resolution of the next.

    Returns
    -------
    field : KerasTensor, shape (batch, *spatial, ndim)
        Sum on the grid of the last field, in its voxels.
    """
    total, *finer = fields
    for field in finer:
        total = EnlargeDisplacement(stride=2, dtype=FLOAT)(total, field)
        total = layers.Add(dtype=FLOAT)([total, field])
    return total


def stride_to_reach(spacing, *, coarsest):
    """Return the stride of the features from which the values are predicted.

    Parameters
    ----------
    spacing : int or None
        Spacing of the values, see :mod:`dipy_nn_reg.networks`.
    coarsest : int
        Largest stride of the network, a power of two.

    Returns
    -------
    stride : int
        The largest power of two, ``coarsest`` at most, that divides the spacing;
        ``coarsest`` if ``spacing`` is None.
    """
    return coarsest if spacing is None else gcd(spacing, coarsest)


def read_off(x, values, *, spacing, seed, stride=1, kernel_size=3, initializer=None):
    """Predict the values that a transform needs from features.

    Parameters
    ----------
    x : KerasTensor, shape (batch, *spatial, channels)
        Features.
    values, spacing, seed
        As for a network, see :mod:`dipy_nn_reg.networks`.
    stride : int, optional
        Distance of the features in voxels; divides the spacing.
    kernel_size : int, optional
        Width of the kernel of the last convolution in voxels.
    initializer : keras.initializers.Initializer, optional
        Initializer of the weights of the last layer; by default 0, so that an untrained
        network predicts no motion.

    Returns
    -------
    values : KerasTensor
        Shape (batch, *spatial, values), or (batch, values) if ``spacing`` is None.
    """
    initializer = "zeros" if initializer is None else initializer
    if spacing is None:
        kernel = initializers.GlorotUniform(seed=seed())
        x = layers.Dense(64, kernel_initializer=kernel, dtype=FLOAT)(
            Moments(dtype=FLOAT)(x)
        )
        x = layers.LeakyReLU(negative_slope=0.2)(x)
        return layers.Dense(values, kernel_initializer=initializer, dtype=FLOAT)(x)
    if spacing > stride:
        x = ranked(x, "AveragePooling")(spacing // stride, padding="same")(x)
    return convolve(x, values, kernel_size, initializer=initializer, dtype=FLOAT)
