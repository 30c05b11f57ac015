"""What a model will need of memory, known before anything is computed."""

from math import prod
from pathlib import Path
import re
from typing import NamedTuple

from dipy.utils.logging import logger
import keras
import psutil

from dipy_nn_reg.backend import has_gpu

GIB = 2**30
_CGROUP = Path("/sys/fs/cgroup")
# Less is not worth a line each time.
_WORTH_SAYING = GIB
# Float32 numbers for each voxel that sampling and a loss were seen to hold while their
# gradient is computed (doc/performance.md).
VALUES_PER_VOXEL = {"mse": 40, "ncc": 40, "lncc": 60, "mi": 330, "mind": 540}
OTHER_LOSS = 60
# What the optimisation of a pair holds beside them: fields, and what tells of folds.
FIELDS_PER_VOXEL = 70
# Bytes of types whose names do not tell their bits.
_BYTES = {"bool": 1, "string": 8}


def check_memory(needed, *, what, advice):
    """State what will be needed, and raise MemoryError if that is not there.

    On a GPU, whose memory the backend looks after, it is stated alone.

    Parameters
    ----------
    needed : float
        In bytes.
    what : str
        What it is for.
    advice : str
        What would need less.

    Raises
    ------
    MemoryError
    """
    there = memory_there()
    if needed > there and not has_gpu():
        raise MemoryError(
            f"{what} needs about {needed / GIB:.1f} GiB of memory, and there are "
            f"{there / GIB:.1f} GiB. {advice}"
        )
    say = logger.info if needed > _WORTH_SAYING else logger.debug
    say(f"{what} needs about {needed / GIB:.1f} GiB of memory.")


def memory_there():
    """Return the bytes that this process may still use, of the machine or container."""
    there = psutil.virtual_memory().available
    try:
        limit, used = (
            int((_CGROUP / f"memory.{name}").read_text()) for name in ("max", "current")
        )
        rows = (_CGROUP / "memory.stat").read_text().splitlines()
        cached = dict(row.split() for row in rows)["inactive_file"]
    except (OSError, ValueError, KeyError):  # no container, or one without a limit
        return there
    return min(there, limit - used + int(cached))


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
    values = VALUES_PER_VOXEL.get(model.options["loss"], OTHER_LOSS)
    per_voxel = 4 * values * directions
    known = sum(sizes) + 2 * max(sizes) + 28 * weights + prod(batch) * per_voxel
    return known + _size_of_labels(batch, labels)


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


def memory_to_optimize(loss, batch, labels):
    """Estimate what the optimisation of a pair holds, in bytes.

    Parameters
    ----------
    loss : str or callable
    batch : tuple of int
        Shape of an image: (1, *spatial, channels).
    labels : int
        Number of labels whose overlap counts.
    """
    known = VALUES_PER_VOXEL if isinstance(loss, str) else {}
    values = known.get(loss, OTHER_LOSS) + FIELDS_PER_VOXEL
    return 4 * values * prod(batch) + _size_of_labels(batch, labels)


def _size_of_labels(batch, labels):
    """Return the bytes of shares of labels: both, what is warped, two gradients."""
    return 4 * 5 * labels * prod(batch[:-1])


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
