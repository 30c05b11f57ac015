"""Atomic writing: files that are complete or absent, alone or several together."""

from contextlib import contextmanager
import os

from dipy_nn_reg.checks import check_path
from dipy_nn_reg.io.signals import held_back
from dipy_nn_reg.io.temporaries import discard, temporary_path


@contextmanager
def whole_file(path):
    """Yield a temporary path, and move the file to its final name on success.

    Parameters
    ----------
    path : string or Path
        Final name. Its folder must exist.

    Yields
    ------
    partial : Path
        In the folder of ``path`` and with the same ending. The file is removed when the
        block ends with an exception, including an interruption.

    Raises
    ------
    OSError
        If the file cannot be written. The error contains the final name.
    """
    with whole_files({"file": path}) as partial:
        yield partial["file"]


@contextmanager
def whole_files(paths, *, optional=()):
    """Yield temporary paths, and move all files to their final names on success.

    Parameters
    ----------
    paths : dict of string or Path
        Final names. Their folders must exist.
    optional : collection of str
        Keys of files that need not be written. If one is not, an earlier file of that
        name is removed, because it belongs to earlier results.

    Yields
    ------
    partials : dict of Path
        For each key, a path as :func:`whole_file` yields it.

    Raises
    ------
    OSError
        If a file cannot be written. The error contains the final name, and all earlier
        files are unchanged.

    Notes
    -----
    The moves follow one another within microseconds, and signals are held back
    meanwhile. Only a process that is killed (SIGKILL) between two moves leaves old
    files beside new ones.
    """
    paths = {name: check_path("path", path) for name, path in paths.items()}
    partials = {name: temporary_path(path) for name, path in paths.items()}
    try:
        yield partials
        with held_back():
            _move(partials, paths, optional)
    except OSError as error:
        named = _with_final_name(error, partials, paths)
        if named is error:
            raise
        raise named from error
    finally:
        discard(partials.values())


def _move(partials, paths, optional):
    absent = [n for n in optional if not partials[n].exists()]
    earlier, done = {}, []
    try:
        if len(paths) > 1:
            earlier = {n: _second_name(path) for n, path in paths.items()}
        for name, path in paths.items():
            if name in absent:
                path.unlink(missing_ok=True)
            else:
                os.replace(partials[name], path)
            done.append(name)
    except OSError:
        for name in done:
            _undo(paths[name], earlier[name])
        raise
    finally:
        discard(name for name in earlier.values() if name)


def _second_name(path):
    """Return a second name (hard link) of a file, from which it can be restored.

    It is None if there is no file, and False if the file system has no hard links.
    """
    if not os.path.lexists(path):
        return None
    second = temporary_path(path)
    try:
        os.link(path, second, follow_symlinks=False)
    except OSError:
        discard([second])
        return False
    return second


def _undo(path, earlier):
    if earlier:
        os.replace(earlier, path)
    elif earlier is None:
        path.unlink(missing_ok=True)


def _with_final_name(error, partials, paths):
    """Return an error of the system that contains the final name of the file."""
    name = error.filename
    for key, partial in partials.items():
        if name is not None and os.fspath(name) == os.fspath(partial):
            name = str(paths[key])
    if name is None and len(paths) == 1:
        (name,) = map(str, paths.values())
        if error.errno is None:
            return OSError(f"{name!r} cannot be written: {error}")
    if name is None or name == error.filename:
        return error
    return OSError(error.errno, error.strerror, name)
