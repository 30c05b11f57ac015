"""Network of DIRNet."""

from keras import initializers, layers

from dipy_nn_reg.networks.blocks import convolve, ranked, read_off

# Number of convolutions before the layers of 1 x 1 convolutions.
DEPTH = 5


def dirnet(moving, static, *, values, spacing, seed, filters=16):
    """Connect a regressor of control points.

    Parameters
    ----------
    moving, static, values, spacing, seed
        See :mod:`dipy_nn_reg.networks`. The spacing is a power of two from 2 to 32.
    filters : int, optional
        Number of filters of each convolution.

    Returns
    -------
    values : KerasTensor

    Raises
    ------
    ValueError
        If the spacing is not such a power of two.

    Notes
    -----
    After :footcite:t:`deVos2017`, with the settings of the author's later code for
    MNIST: five convolutions, each followed by average pooling, which halves the
    resolution, until the resolution is that of the control points; two layers of 1 x 1
    convolutions; ELU; no batch normalisation; the weights of the last layer start at
    zero. There are 10,162 parameters in 2D with 16 filters. Odd sizes are rounded up,
    not down, so that the control points reach the border.

    References
    ----------
    .. footbibliography::
    """
    if spacing not in [2**halvings for halvings in range(1, DEPTH + 1)]:
        raise ValueError(
            f"Expected spacing to be a power of two from 2 to {2**DEPTH} with "
            f"network='dirnet', which halves the resolution. "
            f"Received spacing={spacing}."
        )
    x = layers.Concatenate()([moving, static])
    stride = 1
    for _ in range(DEPTH):
        x = _convolve_elu(x, filters, 3, seed=seed)
        if stride < spacing:
            x = ranked(x, "AveragePooling")(2, padding="same")(x)
            stride *= 2
    for _ in range(2):
        x = _convolve_elu(x, filters, 1, seed=seed)
    return read_off(x, values, spacing=spacing, seed=seed, stride=stride, kernel_size=1)


def _convolve_elu(x, filters, kernel_size, *, seed):
    kernel = initializers.HeNormal(seed=seed())
    return layers.ELU()(convolve(x, filters, kernel_size, initializer=kernel))
