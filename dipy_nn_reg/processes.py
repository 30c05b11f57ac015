"""Names that identify a process, in the names of files that it has to remove.

A process that is killed cannot clean up. Another one recognises by such a name what
was left behind.
"""

from functools import cache
import hashlib
import os
from pathlib import Path
import socket

import psutil

# Pattern of the names: a host, and the number of a process there.
PATTERN = r"[0-9a-f]{8}-\d+"
# Age in seconds after which files of other hosts, whose processes cannot be checked,
# count as left behind.
_MAX_AGE = 24 * 3600


def name_of(number):
    """Return the name of a process of this host."""
    return f"{_host()}-{number}"


def own_name():
    """Return the name of this process."""
    return name_of(os.getpid())


def is_of_this_host(name):
    """Return whether a process runs, or ran, on this host."""
    return name.startswith(name_of(""))


def has_ended(name, age):
    """Return whether a process has ended, as far as this one can tell.

    Parameters
    ----------
    name : str
        Name of a process, as :func:`name_of` returns it.
    age : float
        Seconds since it changed its file.

    Returns
    -------
    has_ended : bool
        For a process of another host, whether the file is a day old.
    """
    if not is_of_this_host(name):
        return age > _MAX_AGE
    return not psutil.pid_exists(int(name.partition("-")[2]))


@cache
def _host():
    """Return a short hash that identifies this machine since its start, or container.

    Names of machines are not unique, and each container numbers its own processes.
    """
    parts = [socket.gethostname()]
    try:
        parts.append(os.readlink("/proc/self/ns/pid"))
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    except OSError:  # not on Linux
        pass
    return hashlib.sha256(" ".join(parts).encode(errors="replace")).hexdigest()[:8]
