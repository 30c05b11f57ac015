"""Memory-mapped cache of images on one grid."""

from concurrent.futures import ThreadPoolExecutor
import errno
from math import prod
import os
from pathlib import Path
import shutil

import numpy as np

from dipy_nn_reg.intensities import normalize
from dipy_nn_reg.progress import progress_bar

# Bytes in a mebibyte.
MIB = 2**20
# Numbers of errors for a full disk, an exceeded quota and a file that is too large.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def cache_images(paths, read, folder, *, name):
    """Read images by several threads into a memory-mapped array.

    Parameters
    ----------
    paths : list of Path
    read : callable
        Reads one image from a path. All images have to have one shape. If the type of
        the array cannot hold the values of an image, the array is converted to a type
        that holds both.
    folder : string or Path
        Folder of the file. The file is not removed.
    name : str
        Name of the file without its ending, also shown in the progress bar.

    Returns
    -------
    images : numpy.memmap, shape (n, *spatial)
        The system loads the parts that are used, and drops them when memory is short.

    Raises
    ------
    OSError
        If the disk has too little room. This is checked before writing, because writing
        to a memory map on a full disk would end the process.
    """
    threads = min(os.cpu_count() or 1, len(paths))
    images = None
    progress = progress_bar(total=len(paths), desc=f"Reading {name}")
    with ThreadPoolExecutor(threads) as pool, progress:
        # One group at a time limits the images that are read but not yet written.
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
    """Return an image as float16 in the range from 0 to 1.

    This is enough for a network, which scales images to that range itself.
    """
    image = normalize(image)
    low, high = image.min(), image.max()
    return ((image - low) / ((high - low) or 1)).astype(np.float16)


def _create(path, dtype, shape):
    """Return a memory-mapped array whose room on the disk is reserved."""
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
    """Reserve room on the disk, or raise OSError, before the memory map is used."""
    try:
        os.posix_fallocate(file.fileno(), 0, end)
    except (AttributeError, OSError) as error:  # not supported by this system or disk
        if getattr(error, "errno", None) in _NO_ROOM:
            raise
        file.seek(start)
        for first in range(start, end, MIB):
            file.write(bytes(min(MIB, end - first)))


def _widen(images, dtype, *, done):
    """Return the array converted to a type that also holds values of ``dtype``."""
    wider = np.result_type(images.dtype, dtype)
    if wider.kind != images.dtype.kind and wider.kind == "f":
        raise ValueError(
            f"Expected label maps whose values fit into one integer type. Received "
            f"types {images.dtype} and {dtype}."
        )
    path = Path(images.filename)
    wide = _create(path.with_name(f"wide_{path.name}"), wider, images.shape)
    wide[:done] = images[:done]
    path.unlink()
    return wide
