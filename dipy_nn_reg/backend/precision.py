"""Precision in which new layers compute, whatever the settings of Keras."""

from contextlib import contextmanager
from threading import RLock

import keras

from dipy_nn_reg.backend.devices import has_fast_bfloat16

# Name of Keras's dtype policy for each precision.
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
PRECISIONS = ("auto", *POLICIES)
# Lock while a model is built, since two settings of Keras hold for all threads.
_building = RLock()


@contextmanager
def layers_in(precision):
    """Context in which new layers compute in a precision, with float32 weights.

    The settings of Keras that a user has made do not matter, and are restored at the
    end.

    Parameters
    ----------
    precision : {"float32", "bfloat16", "auto"}
        With "auto", bfloat16 on machines that are faster with it.
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
