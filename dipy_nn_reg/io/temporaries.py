"""Temporary files and folders, with names that identify their process.

A process that is killed cannot clean up. The next process that writes to the same
folder removes its files, which it recognises by their names.
"""

import atexit
from contextlib import contextmanager, suppress
from functools import cache
import hashlib
import os
from pathlib import Path
import re
import secrets
import shutil
import socket
import tempfile
import time

import psutil

from dipy_nn_reg.io.signals import held_back

# Pattern of the names: host, number of the process, and a random part. The files are
# hidden, so that no pattern of a user matches them as results.
_PATTERN = re.compile(r"\.dipy_nn_reg-([0-9a-f]{8})-(\d+)-\w+(?:\..*)?", re.DOTALL)
# Endings of two parts that libraries require of the names of their files.
_ENDINGS = (".nii.gz", ".weights.h5")
# Longest ending that is kept; a name may have 255 bytes.
_MAX_ENDING_BYTES = 32
# Age in seconds after which files of other hosts, whose processes cannot be checked,
# count as left over.
_MAX_AGE = 24 * 3600

# Names of temporary files of this process.
_in_use = set()
# Folders that this process has cleaned.
_cleaned = set()


def temporary_path(path):
    """Return a unique path in the same folder and with the same ending.

    It has to be passed to :func:`discard` in the end.

    Parameters
    ----------
    path : Path

    Returns
    -------
    partial : Path
        Its name is hidden, and short enough for any file system.
    """
    _remove_left_over(path.parent)
    ending = next((e for e in _ENDINGS if path.name.endswith(e)), path.suffix)
    ending = ending if len(os.fsencode(ending)) <= _MAX_ENDING_BYTES else ""
    partial = path.with_name(f"{_prefix()}{secrets.token_hex(8)}{ending}")
    _in_use.add(partial.name)
    return partial


def discard(partials):
    """Remove temporary files, as far as they exist."""
    with held_back():
        for partial in partials:
            with suppress(FileNotFoundError, NotADirectoryError):
                partial.unlink()
            _in_use.discard(partial.name)


@contextmanager
def temporary_folder():
    """Make a folder for temporary files, and remove it with its content in the end."""
    with _new_folder() as folder:
        yield folder


@contextmanager
def temporary_files_within():
    """Make libraries create their temporary files in a folder of this package.

    The folder is removed when this process ends, or by the next process if this one is
    killed.
    """
    before = tempfile.tempdir
    try:
        folder = _new_folder()
        tempfile.tempdir = folder.name
        # Exit handlers run last in, first out: those of libraries run before this.
        atexit.register(folder.cleanup)
    except OSError:
        pass  # Code that needs a temporary file raises the error again.
    try:
        yield
    finally:
        tempfile.tempdir = before


def _new_folder():
    parent = Path(tempfile.gettempdir())
    _remove_left_over(parent)
    # Windows does not delete files that are still mapped into memory.
    folder = tempfile.TemporaryDirectory(
        prefix=_prefix(), dir=parent, ignore_cleanup_errors=True
    )
    _in_use.add(Path(folder.name).name)
    return folder


def _prefix():
    return f".dipy_nn_reg-{_host()}-{os.getpid()}-"


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


def _remove_left_over(folder):
    """Remove files that ended processes left in a folder, once for each folder."""
    folder = os.path.realpath(folder)
    if folder in _cleaned:
        return
    try:
        with os.scandir(folder) as entries:
            temporaries = [e for e in entries if _PATTERN.fullmatch(e.name)]
    except OSError:
        return  # Writing to the folder raises the error again.
    _cleaned.add(folder)
    for entry in temporaries:
        try:
            if not _is_left_over(entry):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)
        except OSError:
            continue  # a file of another user, or removed meanwhile


def _is_left_over(entry):
    host, process = _PATTERN.fullmatch(entry.name).groups()
    if host != _host():
        age = time.time() - entry.stat(follow_symlinks=False).st_mtime
        return age > _MAX_AGE and not entry.is_dir(follow_symlinks=False)
    if int(process) == os.getpid():
        return entry.name not in _in_use  # from an earlier process with this number
    return not psutil.pid_exists(int(process))
