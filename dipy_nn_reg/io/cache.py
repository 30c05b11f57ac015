"""Images on one grid, in a file beside memory: as many as the disk holds."""

from concurrent.futures import ThreadPoolExecutor
import errno
from math import prod
import os
from pathlib import Path
import shutil

import numpy as np

from dipy_nn_reg.intensities import normalize
from dipy_nn_reg.progress import progress_bar

MIB = 2**20
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def cache_images(paths, read, folder, *, name):
    """Read images by several threads into an array that lies in a file.

    Parameters
    ----------
    paths : list of Path
    read : callable
        Reads one of them; all are returned in one shape. If a type cannot hold the
        values of the one before, the array becomes one of a type that holds both.
    folder : string or Path
        Of the file, which stays there.
    name : str
        Of the file, and what to call the images in the progress bar.

    Returns
    -------
    images : numpy.memmap, shape (n, *spatial)
        The system reads it where it is used, and forgets it when memory is short.

    Raises
    ------
    OSError
        If the disk has too little room. What is written through memory to a full disk
        would end the process.
    """
    threads = min(os.cpu_count() or 1, len(paths))
    images = None
    progress = progress_bar(total=len(paths), desc=f"Reading {name}")
    with ThreadPoolExecutor(threads) as pool, progress:
        # Few at a time: what was read and not yet written is held in memory.
        for first in range(0, len(paths), threads):
            group = paths[first : first + threads]
            for i, image in enumerate(pool.map(read, group), start=first):
                if images is None:
                    path = Path(folder, f"{name}.npy")
                    images = _create(path, image.dtype, (len(paths), *image.shape))
                elif not np.can_cast(image.dtype, images.dtype):
                    images = _widen(images, image.dtype, done=i)
                images[i] = image
                progress.update()
    return images


def compact(image):
    """Return an image in half the bytes, in the range from 0 to 1.

    A network needs no more: it brings images to that range itself.
    """
    image = normalize(image)
    low, high = image.min(), image.max()
    return ((image - low) / ((high - low) or 1)).astype(np.float16)


def _create(path, dtype, shape):
    """Return an array in a file that has its place on the disk."""
    try:
        images = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        with open(path, "r+b") as file:
            _allocate(file, images.offset, path.stat().st_size)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        path.unlink(missing_ok=True)
        needed = np.dtype(dtype).itemsize * prod(shape)
        raise OSError(
            error.errno,
            f"Expected {needed / MIB:.1f} MiB of room for {shape[0]} images "
            f"({path.stem}) in the folder for temporary files, which TMPDIR names. "
            f"Received {shutil.disk_usage(path.parent).free / MIB:.1f} MiB",
            str(path.parent),
        ) from error
    return images


def _allocate(file, start, end):
    """Take room on the disk, or raise OSError, before it is written through memory."""
    try:
        os.posix_fallocate(file.fileno(), 0, end)
    except (AttributeError, OSError) as error:  # not on this system, or this disk
        if getattr(error, "errno", None) in _NO_ROOM:
            raise
        file.seek(start)
        for first in range(start, end, MIB):
            file.write(bytes(min(MIB, end - first)))


def _widen(images, dtype, *, done):
    """Return an array of a type that holds what is there and what comes."""
    wider = np.result_type(images.dtype, dtype)
    if wider.kind != images.dtype.kind and wider.kind == "f":
        raise ValueError(
            f"Expected label maps whose values one type of integers holds. Received "
            f"types {images.dtype} and {dtype}."
        )
    path = Path(images.filename)
    wide = _create(path.with_name(f"wide_{path.name}"), wider, images.shape)
    wide[:done] = images[:done]
    path.unlink()
    return wide
