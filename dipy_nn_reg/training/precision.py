"""In which precision a network computes; all that follows is float32."""

from contextlib import contextmanager
from threading import RLock

import keras

from dipy_nn_reg.backend import has_fast_bfloat16

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
PRECISIONS = ("auto", *POLICIES)
# Voxels along each axis of what a network sees, so that three are left at half of its
# resolution, see :func:`keep_coarse_layers_in_float32`.
MIN_IN_BFLOAT16 = 5
# Along each axis; large enough for any network's depth.
_NOMINAL_SIZE = 256
# Two of Keras's settings are those of all threads.
_building = RLock()


@contextmanager
def layers_in(precision):
    """Let the layers that are made compute in a precision, with float32 weights.

    Whatever a user has set for layers of their own: all of Keras's settings are as they
    were afterwards.

    Parameters
    ----------
    precision : {"float32", "bfloat16", "auto"}
        With "auto", bfloat16 where the machine is faster with it.
    """
    if precision == "auto":
        precision = "bfloat16" if has_fast_bfloat16() else "float32"
    with _building:
        policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
        layout = keras.config.image_data_format()
        keras.config.set_floatx("float32")
        keras.config.set_image_data_format("channels_last")
        keras.config.set_dtype_policy(POLICIES[precision])
        try:
            yield
        finally:
            keras.config.set_floatx(floatx)
            keras.config.set_image_data_format(layout)
            keras.config.set_dtype_policy(policy)


def keep_coarse_layers_in_float32(images, seen, values):
    """Let what a network does at a quarter of its resolution or less be float32.

    So is what it does with values of a whole image. It takes little time. The gradient
    of a convolution in bfloat16 comes out wrong from TensorFlow 2.21 with oneDNN, at
    times as NaN, where images have one or two voxels along an axis, as they have deep
    in a network.

    Parameters
    ----------
    images : dict of KerasTensor
        Input of the whole model.
    seen : KerasTensor
        Input of the network.
    values : list of KerasTensor
        Its output.
    """
    layers = [
        operation
        for operation in keras.Model(images, values).operations
        if getattr(operation, "compute_dtype", None) == "bfloat16"
    ]
    tensors = [seen, *[(layer.input, layer.output) for layer in layers]]
    sized = {
        n: keras.KerasTensor(_nominal(i.shape), i.dtype) for n, i in images.items()
    }
    seen, *found = keras.Model(images, tensors).compute_output_spec(sized)
    for layer, tensors in zip(layers, found):
        sizes = [size for t in keras.tree.flatten(tensors) for size in t.shape[1:-1]]
        if not sizes or min(sizes) < seen.shape[1] // 2:
            layer.dtype_policy = keras.DTypePolicy("float32")


def _nominal(shape):
    return (1, *[_NOMINAL_SIZE] * (len(shape) - 2), shape[-1])
