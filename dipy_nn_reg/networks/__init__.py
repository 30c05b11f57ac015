"""Networks that predict the values of a transform from a moving and a static image.

A builder connects its layers to two images of shape (batch, *spatial, channels), of
any size, and returns ``values`` numbers for

- each voxel, if ``spacing`` is 1: shape (batch, *spatial, values);
- each control point, if ``spacing`` is larger: shape (batch, *points, values), with
  ceil(n / spacing) points for n voxels;
- the pair of images, if ``spacing`` is None: shape (batch, values).

The images are those on the grid of the field, or, for the networks of
:data:`READ_IN_FULL`, in full resolution, from which these find the field on its grid.

``seed`` is a function that returns a new seed for each layer. A builder may return a
list of up to three fields with values for each voxel, each at half the resolution of
the one before it. The first field is used for registration.

A user's own network is called with the two images alone and returns the same. A
function creates new layers at each call; a Keras model is trained itself, not a copy of
it.
"""

from dipy_nn_reg.backend import keras_import  # noqa: F401

# isort: split
import keras
from keras import layers

from dipy_nn_reg.checks import DIALLED, check_name
from dipy_nn_reg.networks.dirnet import dirnet
from dipy_nn_reg.networks.encoder_decoder import encoder_decoder
from dipy_nn_reg.networks.fcn import fcn
from dipy_nn_reg.networks.pyramid import pyramid
from dipy_nn_reg.networks.unet import unet
from dipy_nn_reg.networks.voxelmorph import voxelmorph1, voxelmorph2
from dipy_nn_reg.transform.kinds import TRANSFORMS

NETWORKS = {
    "dirnet": dirnet,
    "encoder_decoder": encoder_decoder,
    "fcn": fcn,
    "pyramid": pyramid,
    "unet": unet,
    "voxelmorph1": voxelmorph1,
    "voxelmorph2": voxelmorph2,
}
# Networks that read images in full resolution, whatever the distance of the values.
READ_IN_FULL = ("pyramid",)
# Largest number of fields of a network: at full, half and a quarter of the resolution.
MAX_FIELDS = 3
# Transforms of which the first one that a network predicts is its default: each is
# integrated, so that hardly anything folds.
_DEFAULTS = ("velocity", "bspline_velocity")
# Transforms of the networks that cannot predict the values of each, and the reason.
LIMITED = {
    "dirnet": (
        [name for name, kind in TRANSFORMS.items() if kind.spline is not None],
        "predicts control points",
    ),
    "fcn": (
        ["displacement", "velocity"],
        "predicts fields at three resolutions",
    ),
    "pyramid": (["velocity"], "warps features by the velocity found so far"),
}


def choose_transform(network, transform):
    """Return a transform, by default the first one that the network can predict.

    Parameters
    ----------
    network : str, keras.Model or callable
    transform : str or None

    Raises
    ------
    ValueError
        If there is no such transform or network, or if the network cannot predict it.
    """
    if transform is None:
        limited = isinstance(network, str) and network in LIMITED
        possible = LIMITED[network][0] if limited else _DEFAULTS
        transform = next(name for name in _DEFAULTS if name in possible)
    check_name("transform", transform, TRANSFORMS)
    check_network(network, transform)
    return transform


def check_network(network, transform):
    """Raise ValueError unless a network can predict what a transform needs.

    Parameters
    ----------
    network : str, keras.Model or callable
    transform : str
        Name of the transform.

    Raises
    ------
    ValueError
        If there is no network of this name, or if it serves other transforms.
    """
    if callable(network):
        return
    check_name("network", network, NETWORKS)
    transforms, reason = LIMITED.get(network, ([transform], ""))
    if transform not in transforms:
        raise ValueError(
            f"Expected transform to be one of {transforms} with "
            f"network={network!r}, which {reason}. Received transform={transform!r}."
        )


def connect(network, moving, static, *, shape, values, spacing, seed, dial=None):
    """Connect a network of this package, or a user's, to two images.

    Parameters
    ----------
    network : str, keras.Model or callable
        A model takes the two images, or one image with the channels of both. A callable
        takes the two images.
    moving, static : KerasTensor, shape (batch, *spatial, channels)
    shape : sequence of int
        Spatial shape of the images, for which the output of a user's network is
        checked.
    values : int
        Number of values that the transform needs.
    spacing : int or None
        Distance of the values in voxels: 1 for values at each voxel, more for control
        points, None for values of the pair of images.
    seed : callable
        Returns a new seed for each layer.
    dial : KerasTensor, shape (batch, 1), optional
        Smoothness from 0 to 1, for the networks that take one.

    Returns
    -------
    fields : list of KerasTensor
        Predicted values; if there are several fields, the finest one first.

    Raises
    ------
    ValueError
        If a user's network cannot be called, or if the shape of its output is not the
        one that the transform needs.
    """
    if isinstance(network, str):
        options = {"dial": dial} if network in DIALLED else {}
        fields = NETWORKS[network](
            moving, static, values=values, spacing=spacing, seed=seed, **options
        )
        return fields if isinstance(fields, list) else [fields]
    try:
        fields = _call(network, moving, static)
    except Exception as error:
        raise ValueError(
            f"Expected a network that can be called with the moving and the static "
            f"image. Received {network!r}, which fails: {error}"
        ) from error
    fields = list(fields) if isinstance(fields, (list, tuple)) else [fields]
    max_fields = MAX_FIELDS if spacing == 1 else 1
    if len(fields) > max_fields:
        raise ValueError(
            f"Expected the network to return {max_fields} fields at most, and several "
            f"only for values at each voxel. Received {len(fields)} fields."
        )
    for level, field in enumerate(fields):
        expected = (None, values)
        if spacing is not None:
            stride = spacing * 2**level
            expected = (None, *[-(-size // stride) for size in shape], values)
        _check_output([moving, static], field, shape, expected)
    return fields


def _call(network, moving, static):
    """Call a user's network with the two images, or with both as one input."""
    inputs = getattr(network, "inputs", None)
    if inputs is None:
        return network(moving, static)
    if len(inputs) == 1:
        return network(layers.Concatenate()([moving, static]))
    return network([moving, static])


def _check_output(images, field, shape, expected):
    """Raise ValueError unless a field of images of ``shape`` has the expected shape."""
    channels = images[0].shape[-1]
    sized = [keras.KerasTensor((None, *shape, channels), "float32") for _ in images]
    if keras.backend.is_keras_tensor(field):
        output = tuple(keras.Model(images, field).compute_output_spec(sized).shape)
        if output == expected:
            return
        received = f"output of shape {output}"
    else:
        received = f"a {type(field).__name__}"
    raise ValueError(
        f"Expected the network to return a KerasTensor of shape {expected} for images "
        f"of shape {(None, *shape, channels)}. Received {received}."
    )
