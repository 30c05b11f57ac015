"""Choice of the fast or the slow lane, and images and oracles of several tests."""

from dataclasses import dataclass
import gzip
import logging
import os
import shutil
import subprocess
import sys
import tempfile

# Before NumPy is imported. Threads of OpenBLAS that wait for each other take more than
# half of the time of SciPy's optimisers of a few numbers.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# The compiled programs of tests would take the place of those of the user's commands.
os.environ["DIPY_NN_REG_COMPILE_CACHE"] = os.environ.get(
    "DIPY_NN_REG_COMPILE_CACHE"
) or tempfile.mkdtemp(prefix=f"dipy_nn_reg_tests_{os.getpid()}_")

import nibabel as nib
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.ndimage import gaussian_filter

from dipy_nn_reg import DeformableRegistration, processes
from dipy_nn_reg.data import mnist
from dipy_nn_reg.io import signals
from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.networks import NETWORKS
from dipy_nn_reg.networks.blocks import convolve

# Name of a file of crops with ``images``, shape (n, *spatial), of even size.
HIPPOCAMPUS_VARIABLE = "DIPY_NN_REG_HIPPOCAMPUS"


def pytest_addoption(parser):
    parser.addoption(
        "--all", action="store_true", help="run the tests marked as slow as well"
    )


def pytest_unconfigure():
    """Remove the compiled programs of this process, and of those that it started."""
    folder = os.environ["DIPY_NN_REG_COMPILE_CACHE"]
    if f"dipy_nn_reg_tests_{os.getpid()}_" in folder:
        shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_modifyitems(config, items):
    """Skip tests of another backend, and deselect slow ones that are not asked for."""
    _skip_those_of_tensorflow(items)
    if config.getoption("all") or "slow" in config.option.markexpr:
        return
    folder = config.invocation_params.dir
    named = [argument.split("::", 1) for argument in config.args if "::" in argument]
    named = [((folder / path).resolve(), test) for path, test in named]
    slow = [i for i in items if i.get_closest_marker("slow") and not _is_in(i, named)]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


def _skip_those_of_tensorflow(items):
    import keras  # after dipy_nn_reg, which configures TensorFlow

    backend = keras.backend.backend()
    skip = pytest.mark.skip(reason=f"of TensorFlow; the backend is {backend}")
    for item in items:
        if backend != "tensorflow" and item.get_closest_marker("tensorflow"):
            item.add_marker(skip)


def _is_in(item, named):
    """Return whether a test is one of those named, with any of its parameters."""
    ids = item.nodeid.split("::", 1)[1], item.nodeid.split("::", 1)[1].split("[")[0]
    return any(path == item.path and test in ids for path, test in named)


@pytest.fixture
def dipy_log(caplog, monkeypatch):
    """Return caplog with what goes to the ``dipy`` logger, which keeps it to itself."""
    monkeypatch.setattr(logging.getLogger("dipy"), "propagate", True)
    caplog.set_level(logging.DEBUG, logger="dipy")
    return caplog


@pytest.fixture(autouse=True)
def no_signal(monkeypatch):
    """Let no test see a signal that came in the one before."""
    monkeypatch.setattr(signals, "_first", None)


@pytest.fixture
def rng():
    return np.random.default_rng(1234)


@pytest.fixture
def ended_process():
    """Return the name of a process of this host that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return processes.name_of(process.pid)


# A module that is run at the start of Python, and hides others.
_HIDING = """
from importlib.machinery import ModuleSpec
import sys

class Hidden:
    def find_spec(name, path=None, target=None):
        return ModuleSpec(name, Hidden) if name in {names} else None

    def create_module(spec):
        raise ModuleNotFoundError("No module named " + spec.name, name=spec.name)

    def exec_module(module):
        pass

sys.meta_path.insert(0, Hidden)
"""


@pytest.fixture
def environment_without(tmp_path):
    """Return a maker of variables for a process in which modules are not installed."""

    def make(names, **variables):
        folder = tmp_path / "hiding"
        folder.mkdir()
        hiding = _HIDING.replace("{names}", repr(set(names)))
        (folder / "sitecustomize.py").write_text(hiding)
        path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
        return {**os.environ, "PYTHONPATH": path, **variables}

    return make


@pytest.fixture(scope="session")
def sevens():
    """Images of the digit 7, (n, 28, 28): MNIST if a folder is named, else bundled."""
    if os.environ.get(mnist.MNIST_VARIABLE):
        (images, _), _ = mnist.load_mnist(digit=7)
        return images[:640]
    (images, labels), _ = mnist._from_bundle(reason="a test")
    return images[labels == 7].astype(np.float32) / 255


@pytest.fixture(scope="session")
def crops(blobs):
    """Volumes, (n, *spatial): of the hippocampus if a file is named, else blobs."""
    path = os.environ.get(HIPPOCAMPUS_VARIABLE)
    if not path:
        return blobs(np.random.default_rng(0), 4, (12, 13, 11))
    with np.load(path) as file:
        images = file["images"][:4].astype(np.float32) / 255
    n, *spatial = images.shape
    split = [part for size in spatial for part in (size // 2, 2)]
    return images.reshape(n, *split).mean(axis=(2, 4, 6))


@pytest.fixture(scope="session")
def write_idx():
    """Return a writer of an array of bytes in the IDX format of MNIST."""

    def write(path, array):
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        content = header + array.astype(np.uint8).tobytes()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)

    return write


@pytest.fixture
def smooth_field(rng):
    """Return a maker of smooth random fields of shape (*shape, ndim)."""

    def make(shape, *, sigma, largest):
        field = np.stack(
            [gaussian_filter(rng.normal(size=shape), sigma) for _ in shape], axis=-1
        )
        field *= largest / np.linalg.norm(field, axis=-1).max()
        return field.astype(np.float32)

    return make


@pytest.fixture(scope="session")
def blobs():
    """Return a maker of images of a smooth blob each, at random places."""

    def make(rng, n, shape):
        images = np.zeros((n, *shape))
        for image in images:
            place = tuple(rng.integers(size // 3, 2 * size // 3) for size in shape)
            image[place] = 1
            image[:] = gaussian_filter(image, min(shape) / 8)
        return (images / images.max()).astype(np.float32)

    return make


@pytest.fixture
def tiny_pyramid(monkeypatch):
    """Let "pyramid" name a network with a dial that compiles in a second."""
    import keras  # here, since it is the package that silences its first import
    from keras import layers

    def tiny(moving, static, *, values, spacing, seed, dial=None):
        kernel = keras.initializers.HeNormal(seed=seed())
        x = layers.Concatenate()([moving, static])
        x = convolve(x, 4, initializer=kernel, strides=spacing, activation="relu")
        if dial is not None:
            scale = layers.Dense(4, kernel_initializer=kernel)(dial)
            scale = layers.Reshape((*[1] * (len(x.shape) - 2), 4))(scale)
            x = layers.Add()([x, layers.Multiply()([x, scale])])
        return convolve(x, values, initializer="zeros", dtype="float32")

    monkeypatch.setitem(NETWORKS, "pyramid", tiny)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes images to a folder for inputs."""

    def write(name, data, affine=None):
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        affine = np.diag([2.0, 2, 2, 1]) if affine is None else affine
        nib.save(nib.Nifti1Image(np.asarray(data), affine), path)
        return path

    return write


@pytest.fixture
def brains(write, crops):
    """Return the paths of four images on one grid, in files."""
    return [write(f"brain_{i}.nii.gz", image) for i, image in enumerate(crops)]


@pytest.fixture(scope="session")
def gradient():
    """Return a function: the gradient of a scalar function in each of its arrays."""
    import keras

    backend = keras.backend.backend()
    return {"tensorflow": _by_tensorflow, "jax": _by_jax, "torch": _by_torch}[backend]


def _by_tensorflow(function, *arrays):
    import tensorflow as tf

    tensors = [tf.constant(array, tf.float32) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = function(*tensors)
    return [g.numpy() for g in tape.gradient(value, tensors)]


def _by_jax(function, *arrays):
    import jax

    arrays = [jax.numpy.asarray(array, "float32") for array in arrays]
    gradients = jax.grad(function, argnums=tuple(range(len(arrays))))(*arrays)
    return [np.asarray(g) for g in gradients]


def _by_torch(function, *arrays):
    import torch

    tensors = [torch.tensor(array, dtype=torch.float32) for array in arrays]
    value = function(*[tensor.requires_grad_() for tensor in tensors])
    return [g.numpy() for g in torch.autograd.grad(value, tensors)]


@pytest.fixture
def train_briefly(rng, blobs):
    """Return a maker of models that have seen a few images."""

    def train(shape=(16, 17), **options):
        registration = DeformableRegistration(input_shape=shape, seed=3, **options)
        registration.fit(blobs(rng, 8, shape), epochs=2, batch_size=4, verbose=0)
        return registration

    return train


@dataclass
class Scene:
    """Images on two grids, and a field between them."""

    field: np.ndarray
    moving: np.ndarray
    static_affine: np.ndarray
    moving_affine: np.ndarray
    prealign: np.ndarray | None

    def make_mapping(self, **options):
        return displacement_to_mapping(
            self.field,
            static_affine=self.static_affine,
            moving_shape=self.moving.shape,
            moving_affine=self.moving_affine,
            prealign=self.prealign,
            **options,
        )


@pytest.fixture
def scene(smooth_field):
    """Return a maker of scenes: oblique, anisotropic, flipped and sheared grids."""

    def make(ndim, prealigned, *, shear=0.2):
        rng = np.random.default_rng(ndim)
        shape, moving_shape = (22, 25, 19)[:ndim], (27, 24, 21)[:ndim]
        static_affine = affine(rng, [-1.4, 1.1, 2.0][:ndim], shape, shear)
        moving_affine = affine(rng, [1.2, -1.5, 1.6][:ndim], moving_shape, shear)
        prealign = None
        if prealigned:
            prealign = affine(rng, [1.05, 0.97, 1.02][:ndim], (1,) * ndim, shear)
            prealign[:-1, -1] = [1.5, -2.0, 0.7][:ndim]
        moving = gaussian_filter(rng.random(moving_shape), 1.5)
        moving = (moving - moving.min()) / np.ptp(moving)
        field = smooth_field(shape, sigma=4, largest=2.0)
        return Scene(field, moving, static_affine, moving_affine, prealign)

    return make


@pytest.fixture(
    params=[(2, False), (2, True), (3, False), (3, True)],
    ids=["2D", "2D prealigned", "3D", "3D prealigned"],
)
def pair(request, scene):
    return scene(*request.param)


def affine(rng, sizes, shape, shear):
    """Return a slightly rotated and sheared affine; the grid's centre is at 0."""
    ndim = len(sizes)
    skew = rng.uniform(-0.15, 0.15, (ndim, ndim))
    matrix = np.eye(ndim + 1)
    matrix[:ndim, :ndim] = expm(skew - skew.T) @ (np.eye(ndim) + shear * skew)
    matrix[:ndim, :ndim] *= sizes
    matrix[:ndim, ndim] = -matrix[:ndim, :ndim] @ ((np.array(shape) - 1) / 2)
    return matrix
