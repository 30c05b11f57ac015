"""TensorFlow functions that are traced once for each signature, and freed again."""

from collections import OrderedDict
from functools import wraps
import gc
import os
import sys
from threading import RLock
import weakref

import numpy as np

# Graphs of one function that are kept, and up to twice as many, so that memory is
# tidied up now and then: of four levels each for some sizes.
GRAPHS_KEPT = 8
# Fewer voxels along an axis are known to a graph: there may be none to subtract from
# the next one, or too few for what is asked.
FEW = 8
# One thread traces at a time, so that what a trace registers can be told apart.
_lock = RLock()
# Names of gradients that belong to traces which are kept for good.
_names_kept = set()
_forked = False


def traced(function, *, jit_compile, indices=False):
    """Let TensorFlow trace a function, once for each signature.

    Parameters
    ----------
    function : callable
        Takes tensors, and options that can be hashed.
    jit_compile : bool
        Compile it with XLA, which does so for each shape, and keeps it for each graph
        until the process ends. So there is one graph for images of all sizes, and it is
        kept as well. Without XLA there is one for each shape: the last ones are kept,
        and the memory of the others is given back.
    indices : bool, optional
        Tensors of integers are indices of voxels, without an axis for channels.

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
        signature = tuple(
            _spec(a, jit_compile, indices) if tf.is_tensor(a) else a for a in flat
        )
        with _lock:
            if signature not in traces:
                traces[signature] = trace(function, arguments, signature, jit_compile)
                if not jit_compile and len(traces) > 2 * GRAPHS_KEPT:
                    while len(traces) > GRAPHS_KEPT:
                        traces.popitem(last=False)
                    gc.collect()  # a graph is full of circles
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
        Of the structure of its arguments.
    specs : sequence
        The arguments, without structure: a TensorSpec in place of each tensor.
    jit_compile : bool
    """
    import tensorflow as tf

    structure = tf.nest.pack_sequence_as(arguments, [None] * len(specs))

    def call(*tensors):
        tensors = iter(tensors)
        known = [next(tensors) if isinstance(a, tf.TensorSpec) else a for a in specs]
        return function(*tf.nest.pack_sequence_as(structure, known))

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
    """Raise RuntimeError in a process in which TensorFlow would never answer.

    TensorFlow's threads are not there in a process that was forked from one in which
    it has computed, so that a call would wait for them forever.
    """
    if _forked:
        raise RuntimeError(
            "Expected a process that was spawned, or forked before the first call of "
            "dipy_nn_reg. Received one forked after TensorFlow had computed, in which "
            "it would hang: use multiprocessing.get_context('spawn') or 'forkserver', "
            "or joblib's 'loky'."
        )


def _spec(tensor, any_size, indices):
    """Return what a graph knows of a tensor, which may be images of any size."""
    import tensorflow as tf

    shape = list(tensor.shape)
    if any_size and len(shape) > 2:
        has_channels = not (indices and tensor.dtype == "int32")
        sizes, channels = (shape[:-1], shape[-1:]) if has_channels else (shape, [])
        shape = [s if s is not None and s < FEW else None for s in sizes] + channels
    return tf.TensorSpec(shape, tensor.dtype)


def _compiled(trace, tensors):
    """Return a graph for XLA.

    XLA keeps for each operation the lines of Python that it came from, 40 or more,
    which is half of the memory that it takes. What is imported has none. That cannot
    be done with functions inside of functions.
    """
    import tensorflow as tf

    graph = trace.graph.as_graph_def()
    if graph.library.function:
        compiled = tf.function(trace, autograph=False, jit_compile=True)
        return compiled.get_concrete_function(*tensors)
    nodes = [n for n in graph.node if n.op != "Placeholder"]
    read = {name for node in nodes for name in node.input}
    given = [i.op.name if i.op.name in read else None for i in trace.inputs]
    made = [tensor.name for tensor in trace.outputs]
    structure = tf.nest.map_structure(lambda _: None, trace.structured_outputs)
    del graph.node[:]
    graph.node.extend(nodes)

    def call(*tensors):
        known = {name: t for name, t in zip(given, tensors) if name is not None}
        results = tf.graph_util.import_graph_def(graph, known, made, name="")
        return tf.nest.pack_sequence_as(structure, results)

    compiled = tf.function(call, autograph=False, jit_compile=True)
    compiled = compiled.get_concrete_function(*tensors)
    graph.Clear()  # what was imported from is not held beside it
    return compiled


def _names_of_gradients():
    """Return the names of the gradients that functions define for themselves."""
    from tensorflow.python.framework.ops import gradient_registry

    return {n for n in gradient_registry.list() if n.startswith("CustomGradient-")}


def _forget_gradients(names):
    """Free what belongs to gradients of a graph that is gone.

    TensorFlow holds it, and by it the whole graph, until the process ends, and has no
    public function to give it up.
    """
    from tensorflow.python.framework.ops import gradient_registry

    for name in names:
        gradient_registry._registry.pop(name, None)


def _mark_fork():
    """Note in a child process whether TensorFlow had computed in the parent."""
    global _forked
    context = sys.modules.get("tensorflow.python.eager.context")
    _forked = context is not None and context.context()._initialized


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_mark_fork)
