"""Multi-resolution network of Li and Fan."""

from keras import initializers, layers

from dipy_nn_reg.networks.blocks import MOMENTUM, convolve, ranked, read_off
from dipy_nn_reg.transform.layers import CutLike


def fcn(moving, static, *, values, spacing, seed):
    """Connect a network that predicts fields at three resolutions in one pass.

    Each field is trained by a loss of its own (deep self-supervision). The finest field
    is used for registration.

    Parameters
    ----------
    moving, static, values, spacing, seed
        See :mod:`dipy_nn_reg.networks`. The spacing is 1.

    Returns
    -------
    values : list of KerasTensor
        Shape (batch, *spatial, values), at full, half and a quarter of the resolution,
        each in voxels of its own grid.

    Notes
    -----
    After :footcite:t:`Li2017`: kernels of 3 voxels, 32-64-128-64-32 filters, each
    convolution with batch normalisation and ReLU, average pooling over 3 voxels. The
    first convolution keeps the resolution, so that the finest field has the resolution
    of the images. The layers that predict the fields start at zero; the paper does not
    specify their initial weights.

    References
    ----------
    .. footbibliography::
    """
    x = layers.Concatenate()([moving, static])
    x = full = _convolve_norm_relu(x, 32, seed=seed)
    x = half = _convolve_norm_relu(_pool(x), 64, seed=seed)
    x = _convolve_norm_relu(_pool(x), 128, seed=seed)
    fields = [read_off(x, values, spacing=spacing, seed=seed)]
    x = CutLike()(_convolve_norm_relu(x, 64, seed=seed, kind="Conv{}Transpose"), half)
    x = _convolve_norm_relu(x, 64, seed=seed)
    fields.insert(0, read_off(x, values, spacing=spacing, seed=seed))
    x = CutLike()(_convolve_norm_relu(x, 32, seed=seed, kind="Conv{}Transpose"), full)
    fields.insert(0, read_off(x, values, spacing=spacing, seed=seed))
    return fields


def _convolve_norm_relu(x, filters, *, seed, kind="Conv"):
    x = convolve(
        x,
        filters,
        initializer=initializers.GlorotUniform(seed=seed()),
        kind=kind,
        strides=1 if kind == "Conv" else 2,
        use_bias=False,  # batch normalisation adds one
    )
    return layers.ReLU()(layers.BatchNormalization(momentum=MOMENTUM)(x))


def _pool(x):
    return ranked(x, "AveragePooling")(3, strides=2, padding="same")(x)
