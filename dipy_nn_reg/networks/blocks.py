"""What the networks have in common."""

from math import gcd

from keras import initializers, layers

from dipy_nn_reg.transform.layers import CutLike, EnlargeDisplacement, Moments

# Of batch normalisation. With Keras's 0.99, a training of few steps leaves means behind
# that are still those from before it.
MOMENTUM = 0.9
# Of what reads off values, in a network that computes in bfloat16: a field of ten
# voxels would be known to a thirtieth of a voxel.
FLOAT = "float32"


def ranked(x, name):
    """Return the Keras layer of a name for 2D or 3D: of ``Conv``, Conv2D or Conv3D."""
    rank = f"{len(x.shape) - 2}D"
    return getattr(layers, name.format(rank) if "{}" in name else name + rank)


def conv_block(x, filters, *, seed, strides=1):
    """Convolve, then apply a leaky ReLU, as VoxelMorph does."""
    convolution = ranked(x, "Conv")(
        filters,
        3,
        strides=strides,
        padding="same",
        kernel_initializer=initializers.HeNormal(seed=seed()),
    )
    return layers.LeakyReLU(negative_slope=0.2)(convolution(x))


def join(x, skip):
    """Double the resolution of features, and add those that were there before."""
    x = CutLike()(ranked(x, "UpSampling")(2)(x), skip)
    return layers.Concatenate()([x, skip])


def add_levels(fields):
    """Add fields, each at half the resolution of the next, all in voxels of their own.

    Parameters
    ----------
    fields : list of KerasTensor
        The coarsest one first.

    Returns
    -------
    field : KerasTensor
        On the grid of the last one.
    """
    total, *finer = fields
    for field in finer:
        total = EnlargeDisplacement(stride=2, dtype=FLOAT)(total, field)
        total = layers.Add(dtype=FLOAT)([total, field])
    return total


def stride_to_reach(spacing, *, coarsest):
    """Return the resolution at which features serve to read off values.

    Parameters
    ----------
    spacing : int or None
        Of the values, see :mod:`dipy_nn_reg.networks`.
    coarsest : int
        Largest stride of the network, a power of two.

    Returns
    -------
    stride : int
        The largest power of two that divides the spacing.
    """
    return coarsest if spacing is None else gcd(spacing, coarsest)


def read_off(x, values, *, spacing, seed, stride=1, kernel_size=3, initializer=None):
    """Read off the values that a transform needs.

    Parameters
    ----------
    x : KerasTensor, shape (batch, *spatial, channels)
        Features.
    values, spacing, seed
        As for a network, see :mod:`dipy_nn_reg.networks`.
    stride : int, optional
        Distance of the features in voxels; divides the spacing.
    kernel_size : int, optional
        Of the last convolution.
    initializer : keras.initializers.Initializer, optional
        Of its weights; by default 0, so that an untrained network predicts no motion.

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
    return ranked(x, "Conv")(
        values,
        kernel_size,
        padding="same",
        kernel_initializer=initializer,
        dtype=FLOAT,
    )(x)
