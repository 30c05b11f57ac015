import errno
import os
import shutil
import subprocess
import sys

import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.io import cache
from dipy_nn_reg.io.cache import cache_images, compact


@pytest.mark.parametrize("dtype", [np.float16, np.int32])
def test_images_are_stored_in_order(dtype, rng, tmp_path):
    images = (100 * rng.random((7, 4, 5, 3))).astype(dtype)
    result = cache_images(range(7), lambda i: images[i], tmp_path, name="moving")
    assert isinstance(result, np.memmap) and result.dtype == dtype
    npt.assert_array_equal(result, images)
    del result
    npt.assert_array_equal(np.load(tmp_path / "moving.npy"), images)


def test_errors_of_the_reader_are_raised(tmp_path):
    def fail(i):
        raise ValueError(f"Nothing in image {i}.")

    with pytest.raises(ValueError, match=r"^Nothing in image 0\.$"):
        cache_images(range(3), fail, tmp_path, name="moving")


def test_compact_images_keep_their_contrast(rng):
    image = rng.normal(size=(9, 8, 7)) * 1e5 - 3e6
    small = compact(image)
    assert small.dtype == np.float16 and small.min() == 0 and small.max() == 1
    npt.assert_allclose(small, (image - image.min()) / np.ptp(image), atol=5e-4)
    npt.assert_array_equal(compact(np.full((2, 2), 7)), 0)


@pytest.mark.parametrize(
    "image",
    [
        lambda rng: rng.random((9, 8, 7)) + 1e8,
        lambda rng: 1e-30 * rng.random((9, 8, 7)),
        lambda rng: 1e300 * rng.normal(size=(9, 8, 7)),
        lambda rng: rng.integers(2**53, 2**53 + 500, (9, 8, 7)),
        lambda rng: rng.integers(-(2**15), 2**15, (9, 8, 7)).astype(np.int16),
        lambda rng: rng.random((9, 8, 7)) > 0.5,
    ],
    ids=["offset", "tiny", "huge", "int64", "int16", "bool"],
)
def test_compact_images_keep_the_contrast_of_any_type(image, rng):
    image = image(rng)
    exact = image.astype(np.longdouble)
    expected = (exact - exact.min()) / (exact.max() - exact.min())
    result = compact(image)
    assert result.dtype == np.float16
    npt.assert_allclose(result, expected.astype(float), atol=3e-3)


def test_one_bright_voxel_does_not_reduce_the_contrast_of_the_others(rng):
    image = rng.random((20, 20, 20))
    image[3, 4, 5] = 1e6
    small = compact(image).astype(float)
    others = np.delete(small.ravel(), small.argmax())
    correlation = np.corrcoef(others, np.delete(image.ravel(), image.argmax()))
    assert correlation[0, 1] > 0.99999


def test_the_type_widens_for_later_values(tmp_path):
    maps = [np.array([[1, -2]], "i4"), np.array([[4_000_000_000, -1]], "i8")]
    result = cache_images([0, 1, 0], lambda i: maps[i], tmp_path, name="labels")
    assert result.dtype == np.int64
    npt.assert_array_equal(result, [maps[0], maps[1], maps[0]])
    assert len(list(tmp_path.iterdir())) == 1
    maps[1] = np.array([[2**64 - 1, 0]], "u8")
    with pytest.raises(ValueError, match="Expected label maps.*int32 and uint64"):
        cache_images([0, 1], lambda i: maps[i], tmp_path, name="labels")


def fill_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_errors_of_a_full_disk_contain_the_size(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", fill_disk, raising=False)
    usage = shutil.disk_usage(tmp_path)._replace(free=2**20)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage)
    image = np.zeros((64, 64, 64), np.float16)
    message = rf"Expected 5\.0 MiB of room for 10 images.*Received 1\.0 MiB.*{tmp_path}"
    with pytest.raises(OSError, match=message) as raised:
        cache_images(range(10), lambda i: image, tmp_path, name="moving")
    assert raised.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("absent", [True, False])
def test_disks_without_reservation_of_room_are_supported(absent, tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    if absent:
        monkeypatch.delattr(os, "posix_fallocate")
    else:
        monkeypatch.setattr(os, "posix_fallocate", unsupported)
    images = np.arange(3 * 700_000, dtype=np.int32).reshape(3, 700, 1000)
    result = cache_images(range(3), lambda i: images[i], tmp_path, name="moving")
    npt.assert_array_equal(result, images)
    taken = (tmp_path / "moving.npy").stat().st_blocks * 512
    assert taken >= images.nbytes


READ = """
import sys
import numpy as np
from dipy_nn_reg.io.cache import cache_images
image = np.ones((32, 32, 32), np.float16)
cache_images(range(7), lambda i: image, sys.argv[1], name="moving")
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0, reason="needs to mount"
)
def test_a_full_disk_does_not_crash_the_process(tmp_path):
    """7 images of 64 KiB on a disk of 300 KiB, which was a bus error earlier."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(small)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no permission to mount")
    try:
        done = subprocess.run(
            [sys.executable, "-c", READ, str(small)], capture_output=True, text=True
        )
        assert done.returncode == 1
        assert "OSError: [Errno 28] Expected 0.4 MiB of room for 7" in done.stderr
        assert not list(small.iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)
