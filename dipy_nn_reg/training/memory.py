"""Estimates of the memory that a network needs to train and to predict."""

from math import prod
import re
from typing import NamedTuple

from dipy.utils.logging import logger
import keras

from dipy_nn_reg.losses.choices import get_loss
from dipy_nn_reg.memory import size_of_labels

# Bytes of types whose names do not contain their number of bits.
_BYTES = {"bool": 1, "string": 8}


def memory_to_train(model, batch, labels=0):
    """Estimate the memory of a training step, in bytes.

    All outputs of the layers are kept for the gradient, whose computation needs memory
    for the two largest of them. The weights are kept seven times, with their gradient,
    the moments of Adam, and a copy of the last good epoch. Sampling and the loss need
    memory for each voxel.

    Parameters
    ----------
    model : keras.Model
    batch : tuple of int
        Shape of a batch of images: (batch, *spatial, channels).
    labels : int, optional
        Number of labels whose overlap is trained.
    """
    sizes = [step.size + step.inside for step in _steps(model, batch, sum)]
    weights = sum(prod(w.shape) for w in model.weights)
    directions = 2 if "backward" in model.output else 1
    values = get_loss(model.options["loss"]).values_per_voxel
    per_voxel = 4 * values * directions
    needed = sum(sizes) + 2 * max(sizes) + 28 * weights + prod(batch) * per_voxel
    return needed + size_of_labels(batch, labels)


def memory_to_predict(model, batch):
    """Estimate the largest memory of a prediction at one time, in bytes.

    The output of a layer is kept until the last layer that reads it. Twice as much is
    needed, since convolutions make copies in another memory layout.

    Parameters
    ----------
    model : keras.Model
    batch : tuple of int
        As for :func:`memory_to_train`.
    """
    steps = _steps(model, batch, max)
    last_reader = {id(t): len(steps) for t in keras.tree.flatten(model.output)}
    for i, step in reversed(list(enumerate(steps))):
        for tensor in step.inputs:
            last_reader.setdefault(id(tensor), i)
    kept = [
        max((last_reader.get(id(t), i) for t in s.outputs), default=i)
        for i, s in enumerate(steps)
    ]
    return 2 * max(
        step.inside
        + sum(s.size for s, until in zip(steps[: i + 1], kept) if until >= i)
        for i, step in enumerate(steps)
    )


class _Step(NamedTuple):
    """Call of a layer: the bytes of its output, and those inside if it is a model."""

    inputs: list
    outputs: list
    size: int
    inside: int


def _steps(model, batch, join):
    """Return the calls of all layers of a model in their order.

    ``join`` combines the sizes of the steps of a model inside. If a version of Keras
    has no such list of calls, a warning is logged and one step of no size returned.
    """
    # A smoothness, unlike an image, is one number.
    inputs = {
        name: keras.KerasTensor(batch if i.ndim > 2 else (batch[0], 1), i.dtype)
        for name, i in model.input.items()
    }
    try:
        return _follow(model, inputs, join)
    except AttributeError as error:
        logger.warning(
            f"The memory of the model cannot be estimated with Keras "
            f"{keras.__version__}: {error}"
        )
        return [_Step([], [], 0, 0)]


def _follow(model, inputs, join):
    nodes = [
        node
        for depth in sorted(model._nodes_by_depth, reverse=True)
        for node in model._nodes_by_depth[depth]
    ]
    tensors = [(node.input_tensors, node.output_tensors) for node in nodes]
    specs = keras.Model(model.input, tensors).compute_output_spec(inputs)
    steps = []
    for node, (node_inputs, node_outputs) in zip(nodes, specs):
        inside = 0
        if isinstance(node.operation, keras.Model):
            packed = keras.tree.pack_sequence_as(node.operation.input, node_inputs)
            inside = join(s.size for s in _follow(node.operation, packed, join))
        size = sum(map(_size_of, node_outputs))
        steps.append(_Step(node.input_tensors, node.output_tensors, size, inside))
    return steps


def _size_of(tensor):
    """Return the bytes of a tensor; an axis of unknown size counts as 1."""
    bits = re.search(r"\d+", tensor.dtype)
    each = int(bits.group()) / 8 if bits else _BYTES[tensor.dtype]
    return prod(size or 1 for size in tensor.shape) * each
