"""Precision of a network; sampling, fields and losses are always float32."""

import keras

# Smallest size along each axis of the input of a network in bfloat16: three voxels are
# then left at half of its resolution, see :func:`keep_coarse_layers_in_float32`.
MIN_IN_BFLOAT16 = 5
# Size along each axis of an input from which sizes of layers are computed: large enough
# for any depth of a network.
_NOMINAL_SIZE = 256


def keep_coarse_layers_in_float32(inputs, network_input, values):
    """Set layers at a quarter of the network's resolution or less to float32.

    Layers on values of a whole image are set to float32 as well, and those of a model
    within the network, whose sizes are not known here. These layers take little time.
    In TensorFlow 2.21 with oneDNN the gradient of a convolution in bfloat16 is wrong,
    at times NaN, for images of one or two voxels along an axis, as they occur deep in a
    network.

    Parameters
    ----------
    inputs : dict of KerasTensor
        Input of the whole model.
    network_input : KerasTensor
        Input of the network.
    values : list of KerasTensor
        Output of the network.
    """
    layers = []
    for operation in keras.Model(inputs, values).operations:
        if getattr(operation, "compute_dtype", None) != "bfloat16":
            continue
        if isinstance(operation, keras.Model):
            _keep_in_float32(operation)
        else:
            layers.append(operation)
    tensors = [network_input, *[(layer.input, layer.output) for layer in layers]]
    sized = {
        n: keras.KerasTensor(_nominal(i.shape), i.dtype) for n, i in inputs.items()
    }
    network_input, *specs = keras.Model(inputs, tensors).compute_output_spec(sized)
    for layer, tensors in zip(layers, specs):
        sizes = [size for t in keras.tree.flatten(tensors) for size in t.shape[1:-1]]
        if not sizes or min(sizes) < network_input.shape[1] // 2:
            _keep_in_float32(layer)


def _keep_in_float32(layer):
    """Set a layer, or all layers of a model, to float32."""
    for part in getattr(layer, "layers", [layer]):
        if part is not layer:
            _keep_in_float32(part)
        elif part.compute_dtype == "bfloat16":
            part.dtype_policy = keras.DTypePolicy("float32")


def _nominal(shape):
    return (1, *[_NOMINAL_SIZE] * (len(shape) - 2), shape[-1])
