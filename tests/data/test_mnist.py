import gzip
import socket
from threading import Event
from time import perf_counter
import tracemalloc

import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.data import mnist


@pytest.fixture
def folder(tmp_path, rng, write_idx):
    """Return a folder with four small IDX files, two of them compressed."""
    for part, n in (("train", 30), ("t10k", 20)):
        images = rng.integers(0, 256, (n, 28, 28))
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{part}-labels.idx1-ubyte", np.arange(n) % 10)
    return tmp_path


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    monkeypatch.delenv(mnist.MNIST_VARIABLE, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


def test_idx_files_are_read_from_a_folder(folder):
    (images, labels), (test_images, test_labels) = mnist.load_mnist(folder)
    assert images.shape == (30, 28, 28)
    assert images.dtype == np.float32
    assert 0 <= images.min() < 0.01 < 0.99 < images.max() <= 1
    npt.assert_array_equal(labels, np.arange(30) % 10)
    assert test_images.shape == (20, 28, 28)
    npt.assert_array_equal(test_labels, np.arange(20) % 10)


def test_images_of_one_digit_are_selected(folder, monkeypatch):
    (everything, _), _ = mnist.load_mnist(folder)
    monkeypatch.setenv(mnist.MNIST_VARIABLE, str(folder))
    (images, labels), (test_images, _) = mnist.load_mnist(digit=7)
    npt.assert_array_equal(images, everything[7::10])
    npt.assert_array_equal(labels, 7)
    assert len(test_images) == 2


def test_a_missing_file_is_reported(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte.gz"):
        mnist.load_mnist(tmp_path / "nowhere")
    (folder / "t10k-labels.idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="t10k-labels"):
        mnist.load_mnist(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-100],  # cut short
        lambda content: b"",
        lambda content: b"<html>not found</html>",
        lambda content: content[:50] + bytes(50) + content[100:],
        lambda content: gzip.compress(gzip.decompress(content)[:-1]),
        lambda content: gzip.compress(gzip.decompress(content)[:7]),
    ],
)
def test_a_damaged_file_is_refused(folder, damage):
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f"Expected a complete.*{path.name}"):
        mnist.load_mnist(folder)


@pytest.mark.parametrize("stated", [(20, 28, 28), (2**32 - 1,) * 3, (60000, 28, 28)])
@pytest.mark.parametrize("ending", ["-ubyte.gz", "-ubyte"])
def test_a_file_takes_no_more_memory_than_its_header_states(stated, ending, folder):
    (folder / "train-images-idx3-ubyte.gz").unlink()
    path = folder / f"train-images-idx3{ending}"
    header = bytes([0, 0, 8, 3]) + np.array(stated, ">u4").tobytes()
    content = header + bytes(30 * 2**20)
    path.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"Expected a complete IDX file.*{path.name}"):
        mnist.load_mnist(folder)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = min(np.prod(stated, dtype=float), 30 * 2**20)
    assert peak < 1.5 * size + 5 * 2**20


@pytest.mark.parametrize("bit", range(0, 64, 7))
def test_a_flipped_bit_is_detected(bit, folder):
    """The checksum of a compressed file is verified."""
    path = folder / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 + bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"Expected a complete.*{path.name}"):
        mnist.load_mnist(folder)


def test_a_missing_label_is_refused(folder, write_idx):
    write_idx(folder / "t10k-labels.idx1-ubyte", np.zeros(19))
    with pytest.raises(ValueError, match="label for each image.*20 images.*19 labels"):
        mnist.load_mnist(folder)


@pytest.mark.parametrize("digit", [-1, 10, 7.0, "7"])
def test_invalid_digits_are_refused(digit):
    with pytest.raises(ValueError, match="digit"):
        mnist.load_mnist(digit=digit)


def test_bundled_digits_are_used_without_a_network(no_cache, monkeypatch):
    def refuse(*arguments, **options):
        raise socket.gaierror("no network")

    warnings = []
    monkeypatch.setattr(mnist, "urlopen", refuse)
    monkeypatch.setattr(mnist.logger, "warning", lambda *text: warnings.append(text))
    (images, labels), (test_images, test_labels) = mnist.load_mnist()
    assert images.shape[1:] == test_images.shape[1:] == (28, 28)
    assert len(images) + len(test_images) == 1797
    assert set(labels) == set(test_labels) == set(range(10))
    assert images.dtype == np.float32
    assert images.min() == 0
    assert 0.9 < images.max() <= 1
    assert len(warnings) == 1
    assert "come with dipy_nn_reg" in warnings[0][0]


def test_bundled_digits_are_those_of_scikit_learn():
    expected = pytest.importorskip("sklearn.datasets").load_digits()
    images, labels = mnist.bundled_digits()
    npt.assert_array_equal(images, expected.images)
    npt.assert_array_equal(labels, expected.target)


def test_a_failed_download_is_reported_in_one_warning(no_cache, monkeypatch):
    import keras

    def fail():
        raise Exception("URL fetch failure")  # as Keras does

    warnings = []
    monkeypatch.setattr(mnist, "_answers", lambda url: True)
    monkeypatch.setattr(keras.datasets.mnist, "load_data", fail)
    monkeypatch.setattr(mnist.logger, "warning", lambda *text: warnings.append(text))
    (images, _), _ = mnist.load_mnist(digit=3)
    assert len(images) > 100
    (warning,) = warnings
    assert "URL fetch failure" in warning[0] % warning[1:]
    assert socket.getdefaulttimeout() is None


@pytest.mark.slow
def test_a_silent_network_is_given_up_within_seconds(no_cache, monkeypatch):
    ended = Event()

    def hang(*arguments, **options):
        ended.wait(60)
        raise TimeoutError

    monkeypatch.setattr(mnist, "urlopen", hang)
    start = perf_counter()
    mnist.load_mnist()
    assert perf_counter() - start < 10
    ended.set()


def test_the_cache_of_keras_is_tried_before_the_network(
    no_cache, monkeypatch, tmp_path
):
    import keras

    cached = tmp_path / "keras" / "datasets" / "mnist.npz"
    cached.parent.mkdir(parents=True)
    cached.touch()
    images, labels = np.full((3, 28, 28), 51, np.uint8), np.array([1, 2, 3], np.uint8)
    both = ((images, labels), (images[:1], labels[:1]))
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: both)
    monkeypatch.setattr(mnist, "urlopen", None)
    (loaded, _), _ = mnist.load_mnist(digit=2)
    npt.assert_allclose(loaded, np.full((1, 28, 28), 0.2), rtol=1e-6)
