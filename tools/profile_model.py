r"""Profile of a prediction and of a training step, with a lower bound of their time.

    python tools/profile_model.py --shape 160x192x224

The profile is TensorFlow's. The lower bound (floor) of the convolutions is their number
of operations at the rate of a product of large matrices, which is measured beforehand.
That of all else is the bytes of its results, written once and read once, at the rate of
a copy.
"""

from argparse import ArgumentParser
from collections import Counter
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
from measured import measure, parse_shape
import numpy as np
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from dipy_nn_reg import DeformableRegistration
from dipy_nn_reg.training.dataset import PairDataset

# Number of runs of each step.
TIMES = 3


def main():
    options = _parse_arguments()
    shape = parse_shape(options.shape)
    rate, bandwidth = _matrix_rate(), _bandwidth()
    print(f"matrix product {rate / 1e9:.0f} GFLOP/s, copy {bandwidth / 1e9:.1f} GB/s")
    registration = DeformableRegistration(
        input_shape=shape, seed=0, precision=options.precision
    )
    images = np.random.default_rng(0).random((2, 1, *shape, 1), dtype=np.float32)
    pairs = PairDataset(*images, batch_size=1)
    batch = pairs[0]
    operations, written = _count(registration.model, batch["moving"].shape)
    for name, step, passes in (
        ("prediction", lambda: next(registration.predictor.outputs(pairs)), 1),
        ("training step", lambda: registration.model.train_on_batch(batch), 3),
    ):
        seconds = measure(step, times=TIMES, warm=2)
        parts = _profile(step)
        print(f"{name}: {1000 * seconds:.0f} ms")
        for part, milliseconds in parts.most_common():
            print(f"    {part}: {milliseconds:.0f} ms")
        print(
            f"    floor: convolutions {1000 * passes * operations / rate:.0f} ms, "
            f"others {1000 * 2 * passes * written / bandwidth:.0f} ms"
        )


def _count(model, shape):
    """Return the operations of all convolutions, and the bytes of all other results."""
    layers = [w for w in model.layers if not isinstance(w, keras.layers.InputLayer)]
    images = {name: keras.KerasTensor(shape) for name in model.input}
    outputs = keras.Model(model.input, [w.output for w in layers])
    operations = written = 0
    for layer, output in zip(layers, outputs.compute_output_spec(images)):
        if layer.name.startswith("conv"):
            operations += 2 * prod(layer.kernel.shape) * prod(output.shape[1:-1])
        else:
            written += 4 * prod(output.shape)
    return operations, written


def _profile(step):
    """Return the milliseconds of each kind of operation."""
    with TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        for _ in range(TIMES):
            step()
        tf.profiler.experimental.stop()
        (path,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
    parts = Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                part = _part(plane.event_metadata[event.metadata_id].name)
                parts[part] += event.duration_ps / 1e9 / TIMES
    del parts[None]
    return parts


def _part(name):
    """Return the kind of an operation; None if it consists of other ones."""
    if "CpuExecutable::Execute" in name:
        return "sampling, integration, penalty (XLA)"
    kind = name.rpartition(":")[2]
    if (
        "/" not in name
        or name.count(":") != 1
        or kind.startswith(("XlaLaunch", "_Xla"))
    ):
        return None
    if "Conv" in kind:
        return "convolutions (oneDNN)"
    return "all else"


def _matrix_rate():
    n = 4096
    a = tf.random.normal((n, n))
    return 2 * n**3 / measure(lambda: tf.matmul(a, a).numpy()[0, 0], times=5)


def _bandwidth():
    a = np.ones(2**26, np.float32)
    b = np.empty_like(a)
    return 2 * a.nbytes / measure(lambda: np.copyto(b, a), times=5)


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", default="160x192x224")
    parser.add_argument("--precision", default="float32")
    return parser.parse_args()


if __name__ == "__main__":
    main()
