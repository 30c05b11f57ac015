"""In which precision a network computes; all that follows is float32."""

from contextlib import contextmanager

import keras

from dipy_nn_reg.backend import has_fast_bfloat16

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
PRECISIONS = ("auto", *POLICIES)


@contextmanager
def layers_in(precision):
    """Let the layers that are made compute in a precision, with float32 weights.

    Parameters
    ----------
    precision : {"float32", "bfloat16", "auto"}
        With "auto", bfloat16 where the machine is faster with it.
    """
    if precision == "auto":
        precision = "bfloat16" if has_fast_bfloat16() else "float32"
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
