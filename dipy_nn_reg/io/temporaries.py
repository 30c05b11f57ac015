"""Temporary files and folders, with names that identify their process.

The next process that writes to the same folder removes what a killed one has left.
"""

import atexit
from contextlib import contextmanager, suppress
import os
from pathlib import Path
import re
import secrets
import shutil
import tempfile
import time

from dipy_nn_reg import processes
from dipy_nn_reg.io.signals import held_back

# Pattern of the names: a process, and a random part. The files are hidden, so that no
# pattern of a user matches them as results.
_PATTERN = re.compile(rf"\.dipy_nn_reg-({processes.PATTERN})-\w+(?:\..*)?", re.DOTALL)
# Endings of two parts that libraries require of the names of their files.
_ENDINGS = (".nii.gz", ".weights.h5")
# Longest ending that is kept; a name may have 255 bytes.
_MAX_ENDING_BYTES = 32

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
    return f".dipy_nn_reg-{processes.own_name()}-"


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
    process = _PATTERN.fullmatch(entry.name)[1]
    if process == processes.own_name():
        return entry.name not in _in_use  # from an earlier process with this number
    if not processes.is_of_this_host(process) and entry.is_dir(follow_symlinks=False):
        return False
    age = time.time() - entry.stat(follow_symlinks=False).st_mtime
    return processes.has_ended(process, age)
