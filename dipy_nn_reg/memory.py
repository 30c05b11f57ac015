"""Available memory, compared with an estimate of the need before the computation."""

from math import prod
from pathlib import Path

from dipy.utils.logging import logger
import psutil

# Number of bytes in 1 GiB.
GIB = 2**30
# Folder with the memory limits of a container (cgroup v2).
_CGROUP = Path("/sys/fs/cgroup")
# Smallest need that is logged at level info, in bytes; smaller ones at level debug.
_MIN_INFO = GIB


def check_memory(needed, *, what, advice):
    """Log the memory that a computation will need; raise MemoryError if it is too much.

    On a GPU, whose memory the backend manages, the need is only logged.

    Parameters
    ----------
    needed : float
        Memory needed, in bytes.
    what : str
        Name of the computation, the subject of the message.
    advice : str
        Sentence that says how to need less memory.

    Raises
    ------
    MemoryError
        If more memory is needed than is available, and there is no GPU.
    """
    available = memory_there()
    if needed > available:
        from dipy_nn_reg.backend import has_gpu  # imports Keras, which takes seconds

        if not has_gpu():
            raise MemoryError(
                f"{what} needs about {needed / GIB:.1f} GiB of memory; the available "
                f"memory is {available / GIB:.1f} GiB. {advice}"
            )
    log = logger.info if needed > _MIN_INFO else logger.debug
    log(f"{what} needs about {needed / GIB:.1f} GiB of memory.")


def memory_there():
    """Return the memory in bytes that this process can still use.

    It is limited by the machine, and by the container that the process runs in.
    """
    available = psutil.virtual_memory().available
    try:
        limit, used = (
            int((_CGROUP / f"memory.{name}").read_text()) for name in ("max", "current")
        )
        rows = (_CGROUP / "memory.stat").read_text().splitlines()
        cached = dict(row.split() for row in rows)["inactive_file"]
    except (OSError, ValueError, KeyError):  # no container, or one without a limit
        return available
    return min(available, limit - used + int(cached))


def size_of_labels(batch, labels):
    """Return the memory that the fractions of labels take, in bytes.

    Five arrays of float32 are held: the labels of the static, the moving and the warped
    image, and two gradients.

    Parameters
    ----------
    batch : tuple of int
        Shape of a batch of images: (batch, *spatial, channels).
    labels : int
        Number of labels.

    Returns
    -------
    size : int
    """
    return 4 * 5 * labels * prod(batch[:-1])
