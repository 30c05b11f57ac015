"""What only one backend can do."""

from functools import wraps
from pathlib import Path

import keras

from dipy_nn_reg.tracing import trace, traced

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
    return traced(function, jit_compile=True)


def recomputed(function, *, constants=0):
    """Let the gradient of a compiled function compute it anew.

    What the gradient needs is then made where it is used, within one compiled function,
    and not written to memory in the forward pass; and it is not computed for what is
    constant, which TensorFlow would do.

    Parameters
    ----------
    function : callable
        Takes tensors.
    constants : int, optional
        How many of them, the last ones, are given no gradient.

    Returns
    -------
    function : callable
    """
    if keras.backend.backend() != "tensorflow":
        return lambda *tensors: function(
            *tensors[: len(tensors) - constants],
            *map(keras.ops.stop_gradient, tensors[len(tensors) - constants :]),
        )
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

    @tf.custom_gradient
    def wrapper(*tensors):
        def gradient(upstream):
            return [*backward(upstream, *tensors), *[None] * constants]

        # A tape that sees the tensors would have all intermediate values kept for it.
        return forward(*map(tf.stop_gradient, tensors)), gradient

    return wrapper


def self_adjoint(function):
    """Let a linear function be its own gradient, which saves deriving one.

    Parameters
    ----------
    function : callable
        Takes a tensor, and options. As a matrix it is symmetric.

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
    """Spare what each single operation costs when it is called.

    For small images that is most of the time.

    Parameters
    ----------
    function : callable
        Takes tensors.

    Returns
    -------
    function : callable
        The same, traced once for each shape where the backend does so.
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    if keras.backend.backend() == "torch":
        return function
    return traced(function, jit_compile=False)


def value_and_gradient(function):
    """Return a function that returns what ``function`` does, and its gradient.

    Parameters
    ----------
    function : callable
        Takes a tensor, and further arguments that are given no gradient; returns one
        number.

    Returns
    -------
    function : callable
        Takes the same, and returns two tensors.
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(jax.value_and_grad(function))
    if keras.backend.backend() == "torch":

        def evaluate(x, *constants):
            x = x.detach().requires_grad_()
            value = function(x, *constants)
            value.backward()
            return value.detach(), x.grad

        return evaluate
    import tensorflow as tf

    def evaluate(x, *constants):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x, *constants)
        return value, tape.gradient(value, x)

    return as_one_graph(evaluate)


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


def take_known(values, index):
    """Take rows whose index is known to be there, and not looked for from the end.

    Parameters
    ----------
    values : tensor, shape (n, any)
    index : tensor of int

    Returns
    -------
    rows : tensor, shape (*index.shape, any)
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.gather(values, index)
    return keras.ops.take(values, index, axis=0)


def grid_sample(field, positions):
    """Read a field, its border repeated, by PyTorch's own function.

    Parameters
    ----------
    field : torch.Tensor, shape (batch, *spatial, ndim)
    positions : list of torch.Tensor, shape (batch, *any)
        In voxels, for each axis, with as many axes. A batch of one serves all of the
        other.

    Returns
    -------
    values : torch.Tensor, shape (batch, *any, ndim)
    """
    import torch

    positions = torch.stack(positions, -1)
    batch = max(len(field), len(positions))
    field, positions = (t.expand(batch, *t.shape[1:]) for t in (field, positions))
    # It counts from -1 to 1, the last axis first; an axis of one voxel has no length.
    last = [max(size - 1, 1) for size in field.shape[1:-1]]
    last = torch.tensor(last, dtype=positions.dtype, device=positions.device)
    values = torch.nn.functional.grid_sample(
        field.movedim(-1, 1),
        (2 * positions / last - 1).flip(-1),
        padding_mode="border",
        align_corners=True,
    )
    return values.movedim(1, -1)


def has_gpu():
    """Tell whether the backend computes on a GPU."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.default_backend() != "cpu"
    if backend == "torch":
        import torch

        return torch.cuda.is_available()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def has_fast_bfloat16():
    """Tell whether convolutions in bfloat16 are faster than in float32.

    They are on a GPU; and with TensorFlow and PyTorch, which use oneDNN, on a processor
    that has instructions for them. XLA, and so JAX, makes no use of those.
    """
    if has_gpu() or keras.backend.backend() == "jax":
        return has_gpu()
    try:
        processor = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux, which alone tells
        return False
    return "avx512_bf16" in processor or "amx_bf16" in processor


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
        graph = trace(function, specs, specs, jit_compile=False)
        return tuple(graph.structured_outputs.shape)
    if keras.backend.backend() == "jax":
        import jax

        specs = [jax.ShapeDtypeStruct(shape, "float32") for shape in shapes]
        return tuple(jax.eval_shape(function, *specs).shape)
    return tuple(
        function(*[keras.ops.zeros(shape, dtype="float32") for shape in shapes]).shape
    )
