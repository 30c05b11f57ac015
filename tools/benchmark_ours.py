"""Jobs of this package, and of those installed with it, for benchmark.py."""

import os
from pathlib import Path
import subprocess
import sys
from time import time

from measured import measure, parse_shape, run_job
import numpy as np
import psutil


def warp(size):
    from dipy_nn_reg.transform.functions import warp

    image, displacement = _tensors(size)
    return measure(lambda: warp(image, displacement), times=15)


def warp_gradient(size):
    """Time the warp and its gradient in the field."""
    import tensorflow as tf

    from dipy_nn_reg.transform.functions import warp

    image, displacement = _tensors(size)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(displacement)
            value = tf.reduce_sum(warp(image, displacement, image_is_constant=True))
        return tape.gradient(value, displacement)

    return measure(step, times=9)


def map_coordinates(size):
    from scipy.ndimage import map_coordinates

    image, displacement = _image_and_displacement(size)
    positions = np.moveaxis(displacement[0], -1, 0) + np.indices(image.shape[1:-1])
    image = image[0, ..., 0]
    return measure(
        lambda: map_coordinates(image, positions, order=1, mode="grid-constant")
    )


def dipy(size):
    from dipy.align.vector_fields import warp_3d

    image, displacement = _image_and_displacement(size)
    return measure(lambda: warp_3d(image[0, ..., 0], displacement[0]))


def predict(size, precision):
    registration = _registration(size, precision=precision)
    moving, static = _pair(size)
    return measure(
        lambda: registration.predict(moving, static, return_field=True), times=5
    )


def train(size, precision):
    registration = _registration(size, precision=precision)
    return _train(registration, size)


def lncc(window):
    """Time the loss and its gradient on small volumes."""
    import tensorflow as tf

    from dipy_nn_reg.losses.images import lncc

    static = tf.constant(_pair("80x96x80")[1][..., None])
    warped = tf.constant(_pair("80x96x80")[0][..., None])

    def step():
        with tf.GradientTape() as tape:
            tape.watch(warped)
            value = lncc(static, warped, window=int(window))
        return tape.gradient(value, warped)

    return measure(step, times=15)


def first(size):
    """Time a whole process that loads a model and registers."""
    path = Path(os.environ["BENCHMARK"], "model.keras")
    if not path.exists():
        _registration(size).save(path)
    command = [sys.executable, __file__, "load_and_predict", size]
    return measure(lambda: subprocess.run(command, check=True), times=1, warm=0)


def load_and_predict(size):
    from dipy_nn_reg import DeformableRegistration

    path = Path(os.environ["BENCHMARK"], "model.keras")
    DeformableRegistration.load(path).predict(*_pair(size))
    return 0.0  # the process is timed from outside


def mnist(folder):
    """Time a training until NCC and Dice of 30 test pairs are above both of SyN's."""
    from dipy_nn_reg import DeformableRegistration
    from dipy_nn_reg.data.mnist import load_mnist
    from dipy_nn_reg.quality.beside_syn import SYN_METRICS, measure, register_with_syn

    (train, _), (test, _) = load_mnist(folder, digit=7)
    registration = DeformableRegistration(
        input_shape=(28, 28), learning_rate=0.008, precision="auto", seed=0
    )
    registration.fit(train, epochs=2, batch_size=32, verbose=0)
    static, *moving = np.random.default_rng(0).permutation(test)[:31]
    moving = np.stack(moving)
    warped = registration.predict(moving, static)
    seconds = time() - psutil.Process().create_time()

    field = registration.predict_field(moving, static)
    rows = [measure(static, *pair) for pair in zip(warped, field)]
    for metric in SYN_METRICS:
        theirs = [
            measure(static, *register_with_syn(image, static, metric=metric)[:2])
            for image in moving
        ]
        for name in ("ncc", "dice"):
            ours, syn = (np.mean([row[name] for row in r]) for r in (rows, theirs))
            if ours <= syn:
                raise SystemExit(f"{name}: {ours:.3f}, and SyN ({metric}) {syn:.3f}")
    return seconds


def _registration(size, **options):
    from dipy_nn_reg import DeformableRegistration

    return DeformableRegistration(input_shape=parse_shape(size), seed=0, **options)


def _train(registration, size):
    """Time the training step alone, on a given batch."""
    from dipy_nn_reg.training.dataset import PairDataset

    moving, static = (image[..., None] for image in _pair(size))
    batch = PairDataset(moving, static, batch_size=1)[0]
    return measure(lambda: registration.model.train_on_batch(batch), times=3, warm=2)


def _pair(size):
    rng = np.random.default_rng(0)
    return [rng.random((1, *parse_shape(size)), dtype=np.float32) for _ in range(2)]


def _image_and_displacement(size):
    """Return a batch of 2D images or one volume, and displacements of up to a voxel."""
    rng = np.random.default_rng(0)
    shape = parse_shape(size)
    batch, spatial = (shape[0], shape[1:]) if shape[0] == 32 else (1, shape)
    field = rng.random((batch, *spatial, len(spatial)), dtype=np.float32)
    return rng.random((batch, *spatial, 1), dtype=np.float32), 2 * field - 1


def _tensors(size):
    import tensorflow as tf

    return [tf.constant(array) for array in _image_and_displacement(size)]


if __name__ == "__main__":
    run_job({name: job for name, job in globals().items() if callable(job)})
