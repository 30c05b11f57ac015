"""The multi-resolution network of Li and Fan."""

from keras import initializers, layers

from dipy_nn_reg.networks.blocks import MOMENTUM, ranked, read_off
from dipy_nn_reg.transform.layers import CutLike


def fcn(moving, static, *, values, spacing, seed):
    """Connect a network that predicts fields at three resolutions in one pass.

    Each of them is trained by a loss of its own (deep self-supervision); the finest
    one registers.

    Parameters
    ----------
    moving, static, values, spacing, seed
        See :mod:`dipy_nn_reg.networks`. The spacing is 1.

    Returns
    -------
    values : list of KerasTensor
        Shape (batch, *spatial, values), at full, half and a quarter of the resolution,
        in voxels of that resolution.

    Notes
    -----
    After :footcite:t:`Li2017`: kernels of 3 voxels, 32-64-128-64-32 filters, each
    convolution with batch normalisation and ReLU, pooling by the average of 3 voxels.
    The first convolution keeps the resolution, so that the finest field has that of
    the images. The layers that read off the fields start at zero; the paper does not
    say how they start.

    References
    ----------
    .. footbibliography::
    """
    x = layers.Concatenate()([moving, static])
    x = full = _convolve(x, 32, seed=seed)
    x = half = _convolve(_pool(x), 64, seed=seed)
    x = _convolve(_pool(x), 128, seed=seed)
    fields = [read_off(x, values, spacing=spacing, seed=seed)]
    x = CutLike()(_convolve(x, 64, seed=seed, kind="Conv{}Transpose"), half)
    x = _convolve(x, 64, seed=seed)
    fields.insert(0, read_off(x, values, spacing=spacing, seed=seed))
    x = CutLike()(_convolve(x, 32, seed=seed, kind="Conv{}Transpose"), full)
    fields.insert(0, read_off(x, values, spacing=spacing, seed=seed))
    return fields


def _convolve(x, filters, *, seed, kind="Conv"):
    convolution = ranked(x, kind)(
        filters,
        3,
        strides=1 if kind == "Conv" else 2,
        padding="same",
        use_bias=False,  # batch normalisation has one
        kernel_initializer=initializers.GlorotUniform(seed=seed()),
    )
    return layers.ReLU()(layers.BatchNormalization(momentum=MOMENTUM)(convolution(x)))


def _pool(x):
    return ranked(x, "AveragePooling")(3, strides=2, padding="same")(x)
