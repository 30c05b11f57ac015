"""Networks that read a moving and a static image and predict what a transform needs.

A builder connects its layers to two images of shape (batch, *spatial, channels), of
any size, and returns ``values`` numbers for

- each voxel, if ``spacing`` is 1: shape (batch, *spatial, values);
- each control point, if it is more: shape (batch, *points, values), with
  ceil(n / spacing) of them for n voxels;
- the pair of images, if it is None: shape (batch, values).

``seed`` is a function that returns a new seed for each layer. A builder may return a
list of up to three fields for each voxel, each at half the resolution of the one before
it; the first registers.

A network of one's own is called with the two images alone and returns the same. A
function makes new layers each time; a Keras model is trained itself, not a copy of it.
"""

import keras
from keras import layers

from dipy_nn_reg.checks import check_name
from dipy_nn_reg.networks.dirnet import dirnet
from dipy_nn_reg.networks.encoder_decoder import encoder_decoder
from dipy_nn_reg.networks.fcn import fcn
from dipy_nn_reg.networks.unet import unet
from dipy_nn_reg.networks.voxelmorph import voxelmorph1, voxelmorph2

NETWORKS = {
    "dirnet": dirnet,
    "encoder_decoder": encoder_decoder,
    "fcn": fcn,
    "unet": unet,
    "voxelmorph1": voxelmorph1,
    "voxelmorph2": voxelmorph2,
}


# At full, half and a quarter of the resolution.
MOST_FIELDS = 3
# What networks predict that cannot serve every transform, and why.
LIMITED = {
    "dirnet": (
        ("bspline", "bspline_velocity", "tps"),
        "predicts control points",
    ),
    "fcn": (
        ("displacement", "velocity"),
        "predicts fields at three resolutions",
    ),
}


def check_network(network, transform):
    """Raise ValueError unless a network can predict what a transform needs.

    Parameters
    ----------
    network : str, keras.Model or callable
    transform : str
    """
    if callable(network):
        return
    check_name("network", network, NETWORKS)
    transforms, reason = LIMITED.get(network, ((transform,), ""))
    if transform not in transforms:
        raise ValueError(
            f"Expected transform to be one of {list(transforms)} with "
            f"network={network!r}, which {reason}. Received transform={transform!r}."
        )


def connect(network, moving, static, *, shape, values, spacing, seed):
    """Connect a network, ours or the user's, to two images.

    Parameters
    ----------
    network : str, keras.Model or callable
        A model takes the two images, or both in one, channels together. A callable
        takes the two.
    moving, static : KerasTensor, shape (batch, *spatial, channels)
    shape : sequence of int
        Spatial shape of the images, by which the output of a user's network is checked.
    values : int
        How many the transform needs.
    spacing : int or None
        For what they are needed: 1 for each voxel, more for control points, None for
        the pair of images.
    seed : callable
        Returns a new seed for each layer.

    Returns
    -------
    fields : list of KerasTensor
        The finest one first.

    Raises
    ------
    ValueError
        If the output of a user's network does not fit.
    """
    if isinstance(network, str):
        builder = NETWORKS[network]
        fields = builder(moving, static, values=values, spacing=spacing, seed=seed)
        return fields if isinstance(fields, list) else [fields]
    try:
        fields = _call(network, moving, static)
    except Exception as error:
        raise ValueError(
            f"Expected a network that can be called with the moving and the static "
            f"image. Received {network!r}, which fails: {error}"
        ) from error
    fields = list(fields) if isinstance(fields, (list, tuple)) else [fields]
    most = MOST_FIELDS if spacing == 1 else 1
    if len(fields) > most:
        raise ValueError(
            f"Expected {most} fields at most of the network, several of them only for "
            f"values at each voxel. Received {len(fields)}."
        )
    for level, field in enumerate(fields):
        expected = (None, values)
        if spacing is not None:
            stride = spacing * 2**level
            expected = (None, *[-(-size // stride) for size in shape], values)
        _check_output([moving, static], field, shape, expected)
    return fields


def _call(network, moving, static):
    """Call a user's network; a Keras model knows how many inputs it has."""
    inputs = getattr(network, "inputs", None)
    if inputs is None:
        return network(moving, static)
    if len(inputs) == 1:
        return network(layers.Concatenate()([moving, static]))
    return network([moving, static])


def _check_output(images, field, shape, expected):
    """Raise ValueError unless a field has the expected shape for images of a size."""
    channels = images[0].shape[-1]
    sized = [keras.KerasTensor((None, *shape, channels), "float32") for _ in images]
    if keras.backend.is_keras_tensor(field):
        found = tuple(keras.Model(images, field).compute_output_spec(sized).shape)
        if found == expected:
            return
        received = f"output of shape {found}"
    else:
        received = f"a {type(field).__name__}"
    raise ValueError(
        f"Expected the network to return a KerasTensor of shape {expected} for images "
        f"of shape {(None, *shape, channels)}. Received {received}."
    )
