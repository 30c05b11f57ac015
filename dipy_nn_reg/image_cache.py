"""Images on one grid, in a file beside memory: as many as the disk holds."""

from concurrent.futures import ThreadPoolExecutor
import os
from pathlib import Path

import numpy as np

from dipy_nn_reg.progress import progress_bar


def cache_images(paths, read, folder, *, name):
    """Read images by several threads into an array that lies in a file.

    Parameters
    ----------
    paths : list of Path
    read : callable
        Reads one of them; all are returned in one shape and type.
    folder : string or Path
        Of the file, which stays there.
    name : str
        Of the file, and what to call the images in the progress bar.

    Returns
    -------
    images : numpy.memmap, shape (n, *spatial)
        The system reads it where it is used, and forgets it when memory is short.
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
                    images = np.lib.format.open_memmap(
                        Path(folder, f"{name}.npy"),
                        mode="w+",
                        dtype=image.dtype,
                        shape=(len(paths), *image.shape),
                    )
                images[i] = image
                progress.update()
    return images


def compact(image):
    """Return an image in half the bytes, in the range from 0 to 1.

    A network needs no more: it brings images to that range itself.
    """
    low, high = float(image.min()), float(image.max())
    return ((image - low) / ((high - low) or 1)).astype(np.float16)
