"""What only one backend can do."""

from functools import cache, partial, wraps

import keras
import numpy as np

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
        arguments = [
            tf.convert_to_tensor(a) if isinstance(a, np.ndarray) else a
            for a in arguments
        ]
        signature = tuple(tuple(a.shape) if tf.is_tensor(a) else a for a in arguments)
        return compiled_for(signature)(*arguments)

    return wrapper


def recomputed(function):
    """Let the gradient of a compiled function compute it anew.

    What the gradient needs is then made where it is used, within one compiled function,
    and not written to memory in the forward pass. For functions whose tensors all need
    a gradient.

    Parameters
    ----------
    function : callable
        Takes tensors.

    Returns
    -------
    function : callable
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    def backward(upstream, *tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            result = function(*tensors)
        return tape.gradient(result, tensors, upstream)

    forward, backward = compiled(function), compiled(backward)

    @tf.custom_gradient
    def wrapper(*tensors):
        return forward(*tensors), lambda upstream: backward(upstream, *tensors)

    return wrapper


def from_sizes(function, *sizes):
    """Make an array with NumPy from sizes, which TensorFlow may not know in advance.

    Parameters
    ----------
    function : callable
        Takes integers and returns a matrix of float32.
    *sizes : int or tensor

    Returns
    -------
    matrix : ndarray or tensor
    """
    if all(isinstance(size, int) for size in sizes):
        return function(*sizes)
    import tensorflow as tf

    matrix = tf.numpy_function(
        lambda *known: function(*map(int, known)), sizes, tf.float32
    )
    matrix.set_shape((None, None))
    return matrix


def output_shape(function, *shapes):
    """Follow shapes through a function, without computing where that is possible.

    Parameters
    ----------
    function : callable
        Takes tensors and returns one.
    *shapes : tuple of int
        Of the tensors, of float32.

    Returns
    -------
    shape : tuple of int
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        specs = [tf.TensorSpec(shape, "float32") for shape in shapes]
        graph = tf.function(function, autograph=False).get_concrete_function(*specs)
        return tuple(graph.structured_outputs.shape)
    if keras.backend.backend() == "jax":
        import jax

        specs = [jax.ShapeDtypeStruct(shape, "float32") for shape in shapes]
        return tuple(jax.eval_shape(function, *specs).shape)
    return tuple(function(*[keras.ops.zeros(shape) for shape in shapes]).shape)
