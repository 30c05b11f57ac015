"""Compilation and gradients of functions of tensors, for each backend."""

from functools import wraps

import keras

from dipy_nn_reg.tracing import trace, traced

# Argument ``jit_compile`` of ``keras.Model.compile``; see ``compiled`` for the reason.
JIT_COMPILE = False if keras.backend.backend() == "tensorflow" else "auto"


def compiled(function):
    """Compile a function of tensors with XLA under TensorFlow.

    Sampling and integration are many small operations, which XLA fuses. Convolutions
    are not compiled: on a CPU those of TensorFlow (oneDNN) are faster than those of
    XLA. With the other backends the function is returned unchanged: JAX compiles the
    whole training step, and PyTorch runs eagerly.

    Parameters
    ----------
    function : callable
        Takes tensors, and options that can be hashed.

    Returns
    -------
    function : callable
        The same function; under TensorFlow compiled once for each shape.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    return traced(function, jit_compile=True)


def recomputed(function, *, constants=0):
    """Compile a function, and recompute its intermediate values in its gradient.

    The intermediate values that the gradient needs are then computed within one
    compiled function, and not written to memory in the forward pass. No gradient is
    computed for constants, as TensorFlow would otherwise do.

    Parameters
    ----------
    function : callable
        Takes tensors.
    constants : int, optional
        Number of tensors, the last ones, that get no gradient.

    Returns
    -------
    function : callable
    """
    if keras.backend.backend() != "tensorflow":
        return _with_constants(function, constants)
    import tensorflow as tf

    def backward(upstream, *tensors):
        variables = tensors[: len(tensors) - constants]
        with tf.GradientTape() as tape:
            tape.watch(variables)
            result = function(*tensors)
        return tape.gradient(result, variables, upstream)

    forward, backward = (
        traced(f, jit_compile=True, indices=True) for f in (function, backward)
    )

    @wraps(function)
    @tf.custom_gradient
    def wrapper(*tensors):
        def gradient(upstream):
            return [*backward(upstream, *tensors), *[None] * constants]

        # Without stop_gradient, a tape would keep all intermediate values.
        return forward(*map(tf.stop_gradient, tensors)), gradient

    return wrapper


def _with_constants(function, constants):
    """Return a function, no gradient of which is computed for its last arguments."""

    @wraps(function)
    def wrapper(*tensors):
        variables = len(tensors) - constants
        fixed = map(keras.ops.stop_gradient, tensors[variables:])
        return function(*tensors[:variables], *fixed)

    return wrapper


def self_adjoint(function):
    """Use a symmetric linear function as its own gradient.

    Parameters
    ----------
    function : callable
        Takes a tensor, and options. It is linear in the tensor, and its matrix is
        symmetric.

    Returns
    -------
    function : callable
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    @wraps(function)
    def wrapper(x, *options):
        @tf.custom_gradient
        def apply(x):
            return function(x, *options), lambda upstream: wrapper(upstream, *options)

        return apply(x)

    return wrapper


def as_one_graph(function):
    """Trace a function into one graph.

    This removes the overhead of dispatching each operation, which takes most of the
    time for small images.

    Parameters
    ----------
    function : callable
        Takes tensors.

    Returns
    -------
    function : callable
        The same function, traced once for each shape; unchanged with PyTorch.
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    if keras.backend.backend() == "torch":
        return function
    return traced(function, jit_compile=False)


def value_and_gradient(function, *, arguments=1):
    """Return a function that computes the value and gradients of ``function``.

    Parameters
    ----------
    function : callable
        Takes one or more tensors, and further arguments that get no gradient; returns
        one number.
    arguments : int, optional
        Number of the first arguments with respect to which gradients are computed.

    Returns
    -------
    function : callable
        Takes the same arguments, and returns the value and the gradients, tensors.
    """
    first = slice(arguments)
    if keras.backend.backend() == "jax":
        import jax

        gradients = jax.value_and_grad(function, argnums=tuple(range(arguments)))

        def evaluate(*values):
            value, found = gradients(*values)
            return value, *found

        return jax.jit(evaluate)
    if keras.backend.backend() == "torch":

        def evaluate(*values):
            variables = [x.detach().requires_grad_() for x in values[first]]
            value = function(*variables, *values[arguments:])
            value.backward()
            return value.detach(), *[x.grad for x in variables]

        return evaluate
    import tensorflow as tf

    def evaluate(*values):
        with tf.GradientTape() as tape:
            tape.watch(values[first])
            value = function(*values)
        return value, *tape.gradient(value, values[first])

    return as_one_graph(evaluate)


def output_shape(function, *shapes):
    """Return the shape of the output of a function.

    TensorFlow and JAX infer it without computing anything.

    Parameters
    ----------
    function : callable
        Takes tensors and returns one.
    *shapes : tuple of int
        Shapes of the tensors, of float32.

    Returns
    -------
    shape : tuple of int
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        specs = [tf.TensorSpec(shape, "float32") for shape in shapes]
        graph = trace(function, specs, specs, jit_compile=False)
        return tuple(graph.structured_outputs.shape)
    if keras.backend.backend() == "jax":
        import jax

        specs = [jax.ShapeDtypeStruct(shape, "float32") for shape in shapes]
        return tuple(jax.eval_shape(function, *specs).shape)
    return tuple(
        function(*[keras.ops.zeros(shape, dtype="float32") for shape in shapes]).shape
    )
