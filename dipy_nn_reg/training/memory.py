"""Estimates of the memory that a network needs to train and to predict."""

from math import prod
import re
from typing import NamedTuple

from dipy.utils.logging import logger
import keras

from dipy_nn_reg.losses.choices import get_loss
from dipy_nn_reg.memory import size_of_labels

# Bytes of types whose names do not tell their bits.
_BYTES = {"bool": 1, "string": 8}


def memory_to_train(model, batch, labels=0):
    """Estimate what a training step holds, in bytes.

    All that the layers put out is kept for the gradient, which needs room for the two
    largest while it is computed; the weights are kept seven times, with their gradient,
    what Adam knows of them, and a copy of the last good epoch; and sampling and the
    loss need some for each voxel.

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
    known = sum(sizes) + 2 * max(sizes) + 28 * weights + prod(batch) * per_voxel
    return known + size_of_labels(batch, labels)


def memory_to_predict(model, batch):
    """Estimate what a prediction holds at most at one time, in bytes.

    What a layer puts out is kept until the last one that reads it. Twice as much is
    needed, since convolutions make copies in an order of their own.

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
    """A layer at work: bytes that it puts out, and those inside if it is a model."""

    inputs: list
    outputs: list
    size: int
    inside: int


def _steps(model, batch, join):
    """Return what a model does, in order; ``join`` counts models inside.

    None of it if a version of Keras no longer tells, which is said.
    """
    images = {name: keras.KerasTensor(batch, "float32") for name in model.input}
    try:
        return _follow(model, images, join)
    except AttributeError as error:
        logger.warning(
            f"The memory that is needed cannot be estimated with Keras "
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
    found = keras.Model(model.input, tensors).compute_output_spec(inputs)
    steps = []
    for node, (given, made) in zip(nodes, found):
        inside = 0
        if isinstance(node.operation, keras.Model):
            given = keras.tree.pack_sequence_as(node.operation.input, given)
            inside = join(s.size for s in _follow(node.operation, given, join))
        size = sum(map(_size_of, made))
        steps.append(_Step(node.input_tensors, node.output_tensors, size, inside))
    return steps


def _size_of(tensor):
    """Return the bytes of a tensor; an axis of unknown size counts as 1."""
    bits = re.search(r"\d+", tensor.dtype)
    each = int(bits.group()) / 8 if bits else _BYTES[tensor.dtype]
    return prod(size or 1 for size in tensor.shape) * each
