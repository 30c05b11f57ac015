"""Training on several devices: processes that share each batch, and what is refused."""

import json
import os
import socket
import subprocess
import sys

import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import DeformableRegistration
from dipy_nn_reg.backend import distribution

pytestmark = pytest.mark.backends
IS_JAX = keras.backend.backend() == "jax"
DEVICES = "--xla_force_host_platform_device_count={}"
# Trains alone or with others. Arguments: process, processes, port, file for results.
TRAINING = """
import json, sys
import keras
import numpy as np
process, processes, port, path = *map(int, sys.argv[1:4]), sys.argv[4]
if processes > 1:
    keras.distribution.initialize(f"127.0.0.1:{port}", processes, process)
if processes > 1 or len(keras.distribution.list_devices()) > 1:
    shared = keras.distribution.DataParallel(auto_shard_dataset=processes == 1)
    keras.distribution.set_distribution(shared)
from dipy_nn_reg import DeformableRegistration
keras.utils.set_random_seed(0)
x = np.stack(np.meshgrid(*map(np.arange, (12, 13)), indexing="ij"), -1)
centers = np.random.default_rng(0).uniform(4, 8, (8, 2))
images = np.exp(-((x - centers[:, None, None]) ** 2).sum(-1) / 8).astype("float32")
inputs = [keras.Input((None, None, 1)) for _ in range(2)]
x = keras.layers.Concatenate()(inputs)
network = keras.Model(inputs, keras.layers.Conv2D(2, 3, padding="same")(x))
registration = DeformableRegistration(
    input_shape=(12, 13), network=network, transform="displacement", loss="mse", seed=0
)
history = registration.fit(
    images[:4], epochs=2, batch_size=4, mirror=0, validation_data=(images[4:], None),
    verbose=0,
).history
registration.save(f"{path}.keras")
json.dump(history, open(path, "w"))
"""


def train_together(processes, devices, folder):
    """Train in processes with virtual devices; return history and weights of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"XLA_FLAGS": DEVICES.format(devices)}
    running, paths = [], []
    for process in range(processes):
        paths.append(folder / f"{processes}_{devices}_{process}.json")
        arguments = [process, processes, port, paths[-1]]
        command = [sys.executable, "-c", TRAINING, *map(str, arguments)]
        running.append(subprocess.Popen(command, env=environment))
    assert [process.wait(timeout=300) for process in running] == [0] * processes
    models = [DeformableRegistration.load(f"{path}.keras").model for path in paths]
    histories = [json.loads(path.read_text()) for path in paths]
    return [(h, model.get_weights()) for h, model in zip(histories, models)]


@pytest.mark.skipif(not IS_JAX, reason="the distribution is that of JAX")
def test_processes_that_share_batches_train_as_one(tmp_path):
    ((alone, expected),) = train_together(1, 1, tmp_path)
    assert len(set(alone["loss"])) == 2
    for history, weights in train_together(2, 2, tmp_path):
        for name, values in alone.items():
            npt.assert_allclose(history[name], values, rtol=1e-4, atol=1e-6)
        for actual, values in zip(weights, expected, strict=True):
            npt.assert_allclose(actual, values, atol=1e-5)


@pytest.fixture
def images(rng, blobs):
    return blobs(rng, 4, (16, 17))


def test_a_batch_that_cannot_be_shared_is_refused(images, monkeypatch):
    monkeypatch.setattr("dipy_nn_reg.training.fitting.devices_of_a_batch", lambda: 3)
    registration = DeformableRegistration(input_shape=(16, 17))
    for options, message in [
        ({"batch_size": 4}, "batches that 3 devices share evenly.*=4 and 4 images"),
        ({"batch_size": 6}, "batches that 3 devices share evenly.*=6 and 4 images"),
        ({"batch_size": 3, "validation_data": (images, None)}, "3 devices.*4 pairs"),
    ]:
        with pytest.raises(ValueError, match=f"Expected .*{message}"):
            registration.fit(images, epochs=1, verbose=0, **options)


@pytest.mark.parametrize(
    ("ndim", "devices", "size"), [(2, 3, 33), (3, 4, 4), (3, 1, 1)]
)
def test_by_default_devices_share_a_batch(ndim, devices, size, monkeypatch):
    from dipy_nn_reg.training import fitting

    monkeypatch.setattr(fitting, "devices_of_a_batch", lambda: devices)
    assert fitting.default_batch_size(ndim) == size


def test_one_device_evaluates(images, monkeypatch):
    """Keras would lose the weights if devices could not share the last batch."""
    registration = DeformableRegistration(input_shape=(16, 17))
    monkeypatch.setattr(distribution, "devices_of_a_batch", lambda: 2)
    with pytest.raises(ValueError, match="single device for evaluate: .* 2 devices"):
        registration.evaluate(images[:1], images[1], verbose=0)


class OfOtherKind:
    """A distribution that does not divide the data."""


def test_a_distribution_that_is_not_served_is_refused(images, monkeypatch):
    registration = DeformableRegistration(input_shape=(16, 17))
    monkeypatch.setattr(keras.distribution, "distribution", OfOtherKind)
    message = "DataParallel. Received OfOtherKind" if IS_JAX else "backend JAX.*"
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        registration.fit(images, epochs=1, verbose=0)


@pytest.mark.skipif(not IS_JAX, reason="the distribution is that of JAX")
def test_processes_that_do_not_share_batches_are_refused(monkeypatch):
    shared = keras.distribution.DataParallel()
    monkeypatch.setattr(keras.distribution, "distribution", lambda: shared)
    assert distribution.devices_of_a_batch() == len(keras.distribution.list_devices())
    monkeypatch.setattr(distribution, "_processes", lambda: 2)
    with pytest.raises(ValueError, match="Expected .*auto_shard_dataset=False"):
        distribution.devices_of_a_batch()
    assert np.arange(6)[distribution.own_part(6)].tolist() == [0, 1, 2]
