"""Temporary files and folders: names of their own, known again if they are left over.

A process that is killed cannot clean up. The next one that writes to the same folder
does: the names tell whose files they are.
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

# Hidden, so that no pattern takes them for results. The parts are the host, the process
# and a random one.
_PATTERN = re.compile(r"\.dipy_nn_reg-([0-9a-f]{8})-(\d+)-\w+(?:\..*)?", re.DOTALL)
# Endings of two parts that those who write ask for.
_ENDINGS = (".nii.gz", ".weights.h5")
_MAX_ENDING_BYTES = 32
# In seconds: files of other hosts, whose processes cannot be seen, are left over if
# nobody has written to them for so long.
_MAX_AGE = 24 * 3600

_in_use = set()
_cleaned = set()


def temporary_path(path):
    """Return a name beside a path, with the same ending, that nobody else has.

    It has to be given to :func:`discard` in the end.

    Parameters
    ----------
    path : Path

    Returns
    -------
    partial : Path
        Hidden, and short enough for any file system.
    """
    _remove_left_over(path.parent)
    ending = next((e for e in _ENDINGS if path.name.endswith(e)), path.suffix)
    ending = ending if len(os.fsencode(ending)) <= _MAX_ENDING_BYTES else ""
    partial = path.with_name(f"{_prefix()}{secrets.token_hex(8)}{ending}")
    _in_use.add(partial.name)
    return partial


def discard(partials):
    """Remove temporary files, as far as they are there."""
    with held_back():
        for partial in partials:
            with suppress(FileNotFoundError, NotADirectoryError):
                partial.unlink()
            _in_use.discard(partial.name)


@contextmanager
def temporary_folder():
    """Make a folder for temporary files, and remove it with what is in it."""
    with _new_folder() as folder:
        yield folder


@contextmanager
def temporary_files_within():
    """Keep what any library leaves in the folder for temporary files in one of ours.

    It is removed when this process ends, or by the next one if this is killed.
    """
    before = tempfile.tempdir
    try:
        folder = _new_folder()
        tempfile.tempdir = folder.name
        # What libraries remove at the end, being registered later, goes before.
        atexit.register(folder.cleanup)
    except OSError:
        pass  # What needs a temporary file will say so.
    try:
        yield
    finally:
        tempfile.tempdir = before


def _new_folder():
    parent = Path(tempfile.gettempdir())
    _remove_left_over(parent)
    # Where files are still mapped into memory, Windows keeps them from being deleted.
    folder = tempfile.TemporaryDirectory(
        prefix=_prefix(), dir=parent, ignore_cleanup_errors=True
    )
    _in_use.add(Path(folder.name).name)
    return folder


def _prefix():
    return f".dipy_nn_reg-{_host()}-{os.getpid()}-"


@cache
def _host():
    """Return a short name of this machine, since it started, or of this container.

    Containers number their processes anew, and machines may share a name.
    """
    parts = [socket.gethostname()]
    try:
        parts.append(os.readlink("/proc/self/ns/pid"))
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    except OSError:  # not on Linux
        pass
    return hashlib.sha256(" ".join(parts).encode(errors="replace")).hexdigest()[:8]


def _remove_left_over(folder):
    """Remove from a folder, once, what processes that are gone have left there."""
    folder = os.path.realpath(folder)
    if folder in _cleaned:
        return
    try:
        with os.scandir(folder) as entries:
            found = [e for e in entries if _PATTERN.fullmatch(e.name)]
    except OSError:
        return  # What is to be written there will fail, and say so.
    _cleaned.add(folder)
    for entry in found:
        try:
            if not _is_left_over(entry):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)
        except OSError:
            continue  # of another user, or removed meanwhile


def _is_left_over(entry):
    host, process = _PATTERN.fullmatch(entry.name).groups()
    if host != _host():
        age = time.time() - entry.stat(follow_symlinks=False).st_mtime
        return age > _MAX_AGE and not entry.is_dir(follow_symlinks=False)
    if int(process) == os.getpid():
        return entry.name not in _in_use  # of an earlier process with this number
    return not psutil.pid_exists(int(process))
