"""Tracing of TensorFlow functions, once for each signature, and release of graphs."""

from collections import OrderedDict
from functools import wraps
import gc
import os
import sys
from threading import RLock
import weakref

import numpy as np

# Number of graphs of one function that are kept when memory is released, which is done
# whenever there are more than twice as many. It suffices for the four levels of a few
# image sizes.
GRAPHS_KEPT = 8
# Size of an axis below which a graph is made for that size alone: a short axis may have
# no neighbouring voxels, or too few for a window, and so takes another branch.
MIN_FREE_SIZE = 8
# Lock under which one thread traces at a time, so that the gradients that a trace
# registers can be attributed to it.
_lock = RLock()
# Names of the gradients of traces that are kept until the process ends.
_names_kept = set()
# Whether this process was forked from one in which TensorFlow had computed.
_forked = False


def traced(function, *, jit_compile, indices=False):
    """Return a function that TensorFlow traces once for each signature.

    Parameters
    ----------
    function : callable
        Takes tensors, and options that can be hashed.
    jit_compile : bool
        Compile the function with XLA. XLA compiles a graph for each shape, and keeps
        the results until the process ends. So one graph serves images of all sizes,
        and it is kept as well. Without XLA there is one graph for each shape: the last
        ones used are kept, and the memory of the others is released.
    indices : bool, optional
        Whether tensors of integers are indices of voxels, without an axis for channels.

    Returns
    -------
    function : callable
    """
    import tensorflow as tf

    traces = OrderedDict()

    @wraps(function)
    def wrapper(*arguments):
        check_not_forked()
        flat = [
            tf.convert_to_tensor(a)
            if tf.is_tensor(a) or isinstance(a, np.ndarray)
            else a
            for a in tf.nest.flatten(arguments)
        ]
        specs = tuple(
            _spec(a, jit_compile, indices) if tf.is_tensor(a) else a for a in flat
        )
        # Two dicts of one tensor each differ by their names alone.
        signature = str(tf.nest.map_structure(lambda _: None, arguments)), specs
        with _lock:
            if signature not in traces:
                traces[signature] = trace(function, arguments, specs, jit_compile)
                if not jit_compile and len(traces) > 2 * GRAPHS_KEPT:
                    while len(traces) > GRAPHS_KEPT:
                        traces.popitem(last=False)
                    gc.collect()  # a graph is full of reference cycles
            traces.move_to_end(signature)
            graph = traces[signature]
        return graph(*filter(tf.is_tensor, flat))

    return wrapper


def trace(function, arguments, specs, jit_compile):
    """Return the graph of a function, which takes the tensors among its arguments.

    Parameters
    ----------
    function : callable
    arguments : sequence
        Arguments of the function, which may be nested; only their structure is used.
    specs : sequence
        The arguments as a flat sequence, with a TensorSpec in place of each tensor.
    jit_compile : bool
        Compile the graph with XLA.

    Returns
    -------
    graph : tensorflow.types.experimental.ConcreteFunction
    """
    import tensorflow as tf

    structure = tf.nest.pack_sequence_as(arguments, [None] * len(specs))

    def call(*tensors):
        tensors = iter(tensors)
        flat = [next(tensors) if isinstance(a, tf.TensorSpec) else a for a in specs]
        return function(*tf.nest.pack_sequence_as(structure, flat))

    tensors = [a for a in specs if isinstance(a, tf.TensorSpec)]
    with _lock:
        before = _names_of_gradients()
        graph = tf.function(call, autograph=False).get_concrete_function(*tensors)
        if jit_compile:
            graph = _compiled(graph, tensors)
        names = _names_of_gradients() - before - _names_kept
        if jit_compile:
            _names_kept.update(names)
    if not jit_compile:
        weakref.finalize(graph, _forget_gradients, names).atexit = False
    return graph


def check_not_forked():
    """Raise RuntimeError in a process in which TensorFlow would hang.

    A process that was forked from one in which TensorFlow had computed does not have
    TensorFlow's threads, so a call would wait for them forever.
    """
    if _forked:
        raise RuntimeError(
            "Expected a process that was spawned, or forked before the first call of "
            "dipy_nn_reg. Received one forked after TensorFlow had computed, in which "
            "it would hang: use multiprocessing.get_context('spawn') or 'forkserver', "
            "or joblib's 'loky'."
        )


def _spec(tensor, any_size, indices):
    """Return the TensorSpec of a tensor; free spatial sizes are unknown in it."""
    import tensorflow as tf

    shape = list(tensor.shape)
    if any_size and len(shape) > 2:
        has_channels = not (indices and tensor.dtype == "int32")
        sizes, channels = (shape[:-1], shape[-1:]) if has_channels else (shape, [])
        sizes = [s if s is not None and s < MIN_FREE_SIZE else None for s in sizes]
        shape = sizes + channels
    return tf.TensorSpec(shape, tensor.dtype)


def _compiled(trace, tensors):
    """Return a graph that XLA compiles.

    For each operation XLA keeps the Python stack that created it, 40 lines or more,
    which is half of the memory of the compiled graph. Operations of an imported graph
    have no such stack, so the graph is exported and imported. This does not work for
    graphs that contain functions.
    """
    import tensorflow as tf

    graph = trace.graph.as_graph_def()
    if graph.library.function:
        compiled = tf.function(trace, autograph=False, jit_compile=True)
        return compiled.get_concrete_function(*tensors)
    nodes = [n for n in graph.node if n.op != "Placeholder"]
    read = {name for node in nodes for name in node.input}
    inputs = [i.op.name if i.op.name in read else None for i in trace.inputs]
    outputs = [tensor.name for tensor in trace.outputs]
    structure = tf.nest.map_structure(lambda _: None, trace.structured_outputs)
    del graph.node[:]
    graph.node.extend(nodes)

    def call(*tensors):
        values = {name: t for name, t in zip(inputs, tensors) if name is not None}
        results = tf.graph_util.import_graph_def(graph, values, outputs, name="")
        return tf.nest.pack_sequence_as(structure, results)

    compiled = tf.function(call, autograph=False, jit_compile=True)
    compiled = compiled.get_concrete_function(*tensors)
    graph.Clear()  # the exported graph is not needed any more
    return compiled


def _names_of_gradients():
    """Return the registered names of the gradients of ``tf.custom_gradient``."""
    from tensorflow.python.framework.ops import gradient_registry

    return {n for n in gradient_registry.list() if n.startswith("CustomGradient-")}


def _forget_gradients(names):
    """Release the gradients of a graph that was freed.

    TensorFlow keeps references to them, and so to the whole graph, until the process
    ends. It has no public function to release them.
    """
    from tensorflow.python.framework.ops import gradient_registry

    for name in names:
        gradient_registry._registry.pop(name, None)


def _mark_fork():
    """Record in a child process whether TensorFlow had computed in the parent."""
    global _forked
    context = sys.modules.get("tensorflow.python.eager.context")
    _forked = context is not None and context.context()._initialized


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_mark_fork)
