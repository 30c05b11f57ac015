"""MNIST digits from a folder, from Keras, or a stand-in that needs no network."""

import gzip
from math import prod
import os
from pathlib import Path
import socket
from threading import Thread
from urllib.request import urlopen
import zlib

from dipy.utils.logging import logger
import numpy as np

from dipy_nn_reg.checks import check_integer, check_path

# Environment variable that names the folder with the IDX files.
MNIST_VARIABLE = "DIPY_NN_REG_MNIST"
# Seconds without an answer after which the network counts as unavailable.
TIMEOUT = 4
# Largest ratio of the uncompressed to the compressed size of a file (zlib).
_MAX_RATIO = 1032
# Digits that need no network, with their source and license in a text file beside them.
_BUNDLED = Path(__file__).parent / "digits" / "optical_digits.npz"
_MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"


def load_mnist(folder=None, *, digit=None):
    """Load the MNIST handwritten digits.

    The digits are read from IDX files if a folder is named, and from Keras's cache or
    download otherwise. Without a network, small handwritten digits that come with this
    package are returned instead, at the same image size, with a warning.

    Parameters
    ----------
    folder : string or Path, optional
        Folder with the four IDX files under their usual names, compressed (.gz) or
        not. By default the folder named by the environment variable
        DIPY_NN_REG_MNIST.
    digit : int, optional
        Return only the images of this digit.

    Returns
    -------
    train, test : tuple of ndarray
        Each is ``(images, labels)``: images of shape (n, 28, 28), float32 from 0 to
        1, and labels of shape (n,), uint8.

    Raises
    ------
    FileNotFoundError
        If a folder is named and one of the files is missing from it.
    ValueError
        If a file is damaged, or if ``digit`` is not one of 0 to 9.

    Notes
    -----
    For MNIST see :footcite:t:`LeCun1998`.

    References
    ----------
    .. footbibliography::
    """
    if digit is not None:
        check_integer("digit", digit, lowest=0, highest=9)
    folder = folder or os.environ.get(MNIST_VARIABLE)
    folder = check_path("folder", folder) if folder else None
    if folder:
        train, test = _read_folder(folder)
    else:
        try:
            train, test = _from_keras()
        except OSError as error:
            train, test = _from_bundle(reason=error)
    return _prepare(*train, digit), _prepare(*test, digit)


def _prepare(images, labels, digit):
    """Rescale images to the range from 0 to 1 and keep those of one digit."""
    if digit is not None:
        images, labels = images[labels == digit], labels[labels == digit]
    return images.astype(np.float32) / 255, labels


def _read_folder(folder):
    return _read_part(Path(folder), "train"), _read_part(Path(folder), "t10k")


def _read_part(folder, part):
    images = _read_idx(folder, f"{part}-images", ndim=3)
    labels = _read_idx(folder, f"{part}-labels", ndim=1)
    if len(images) != len(labels):
        raise ValueError(
            f"Expected a label for each image. Received {len(images)} images and "
            f"{len(labels)} labels in the {part} files of {folder}."
        )
    return images, labels


def _read_idx(folder, stem, *, ndim):
    """Read an array of bytes in the IDX format, in which MNIST is published."""
    names = [f"{stem}{dot}idx{ndim}-ubyte{gz}" for dot in "-." for gz in (".gz", "")]
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"Expected one of the files {', '.join(names)}. Received "
            f"folder={str(folder)!r}, which has none of them."
        )
    max_size = path.stat().st_size * (_MAX_RATIO if path.suffix == ".gz" else 1)
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        try:
            shape = _read_shape(file, ndim)
            size = prod(shape)
            # Reading past the end makes gzip compare its checksum.
            content = _read_at_most(file, size + 1) if size <= max_size else b""
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"Expected a complete file. Received {path}.") from error
    if not size or len(content) != size:
        raise ValueError(
            f"Expected a complete IDX file of {ndim} axes. Received {path}."
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_shape(file, ndim):
    """Return the shape in the header; (0,) if this is not an IDX file of bytes."""
    header = file.read(4 * (1 + ndim))
    magic = bytes([0, 0, 8, ndim])  # 8: unsigned bytes
    if len(header) < 4 * (1 + ndim) or header[:4] != magic:
        return (0,)
    return tuple(np.frombuffer(header[4:], ">u4").tolist())


def _read_at_most(file, number):
    """Read up to ``number`` bytes in chunks; a header may state more than exists."""
    content = bytearray()
    while len(content) < number:
        chunk = file.read(min(number - len(content), 2**20))
        if not chunk:
            break
        content += chunk
    return content


def _from_keras():
    """Load from Keras's cache, after a download if needed; OSError on failure."""
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    is_cached = (home / "datasets" / "mnist.npz").is_file()
    if not is_cached and not _answers(_MNIST_URL):
        raise OSError("no answer from the network")
    import keras  # takes seconds, so not at the top

    time_out = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        return keras.datasets.mnist.load_data()
    except Exception as error:  # Keras raises a bare Exception
        raise OSError(str(error)) from error
    finally:
        socket.setdefaulttimeout(time_out)


def _answers(url):
    """Return whether a server answers within the time-out.

    The request runs in a thread, since the look-up of a host name has no time-out.
    """
    answers = []

    def ask():
        try:
            with urlopen(url, timeout=TIMEOUT):
                answers.append(True)
        except OSError:
            pass

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    return bool(answers)


def bundled_digits():
    """Return the 1,797 digits that come with the package.

    Returns
    -------
    images : ndarray, shape (1797, 8, 8)
        Uint8, from 0 to 16.
    labels : ndarray, shape (1797,)
        Uint8. The text file beside the digits has their source and license.
    """
    with np.load(_BUNDLED) as file:
        return file["images"], file["labels"]


def _from_bundle(*, reason):
    """Return the bundled digits, of 8x8 pixels, as 20x20 in 28x28."""
    from scipy.ndimage import zoom

    logger.warning(
        "MNIST is not at hand and cannot be downloaded (%s): using 1,797 smaller "
        "handwritten digits that come with dipy_nn_reg instead. For MNIST, set %s to a "
        "folder with its IDX files.",
        reason,
        MNIST_VARIABLE,
    )
    images, labels = bundled_digits()
    images = zoom(images.astype(float), (1, 20 / 8, 20 / 8), order=1) * (255 / 16)
    images = np.pad(images, [(0, 0), (4, 4), (4, 4)]).astype(np.uint8)
    test = np.arange(len(labels)) % 5 == 0
    return (images[~test], labels[~test]), (images[test], labels[test])
