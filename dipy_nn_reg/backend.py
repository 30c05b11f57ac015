"""What only one backend can do."""

from functools import cache, partial, wraps

import keras

# What to tell ``keras.Model.compile``: see ``compiled`` for the reason.
JIT_COMPILE = False if keras.backend.backend() == "tensorflow" else "auto"


def compiled(function):
    """Compile a function of tensors with XLA where the backend leaves that to us.

    Convolutions stay outside: on a CPU those of TensorFlow (oneDNN) are faster
    than those of XLA. Sampling and integration are many small operations, which
    XLA fuses. JAX compiles the whole training step; PyTorch runs eagerly.

    Parameters
    ----------
    function : callable
        Takes tensors, and options that can be hashed.

    Returns
    -------
    function : callable
        The same function, compiled once for each shape under TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    @cache
    def compiled_for(signature):
        # One tf.function for each signature, of a new callable: TensorFlow warns of
        # retracing when it sees the same one with images of many sizes.
        return tf.function(partial(function), autograph=False, jit_compile=True)

    @wraps(function)
    def wrapper(*arguments):
        signature = tuple(tuple(a.shape) if tf.is_tensor(a) else a for a in arguments)
        return compiled_for(signature)(*arguments)

    return wrapper
