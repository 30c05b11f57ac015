"""Memory that there is, compared with what is needed before anything is computed."""

from math import prod
from pathlib import Path

from dipy.utils.logging import logger
import psutil

from dipy_nn_reg.backend import has_gpu

GIB = 2**30
_CGROUP = Path("/sys/fs/cgroup")
# Smaller needs are logged at debug level.
_WORTH_SAYING = GIB


def check_memory(needed, *, what, advice):
    """State what will be needed, and raise MemoryError if that is not there.

    On a GPU, whose memory the backend looks after, it is stated alone.

    Parameters
    ----------
    needed : float
        In bytes.
    what : str
        What it is for.
    advice : str
        What would need less.

    Raises
    ------
    MemoryError
    """
    there = memory_there()
    if needed > there and not has_gpu():
        raise MemoryError(
            f"{what} needs about {needed / GIB:.1f} GiB of memory, and there are "
            f"{there / GIB:.1f} GiB. {advice}"
        )
    say = logger.info if needed > _WORTH_SAYING else logger.debug
    say(f"{what} needs about {needed / GIB:.1f} GiB of memory.")


def memory_there():
    """Return the bytes that this process may still use, of the machine or container."""
    there = psutil.virtual_memory().available
    try:
        limit, used = (
            int((_CGROUP / f"memory.{name}").read_text()) for name in ("max", "current")
        )
        rows = (_CGROUP / "memory.stat").read_text().splitlines()
        cached = dict(row.split() for row in rows)["inactive_file"]
    except (OSError, ValueError, KeyError):  # no container, or one without a limit
        return there
    return min(there, limit - used + int(cached))


def size_of_labels(batch, labels):
    """Return the bytes of the fractions of labels: both, the warped, two gradients.

    Parameters
    ----------
    batch : tuple of int
        Shape of a batch of images: (batch, *spatial, channels).
    labels : int
        Number of labels.
    """
    return 4 * 5 * labels * prod(batch[:-1])
