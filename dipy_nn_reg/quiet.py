"""Imports, silent and without packages that no command needs."""

import atexit
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
import gc
import os
import sys
import threading

# Packages that DIPY, Keras and TensorFlow import if they are installed, for classes
# that no command uses: half of the time of importing DIPY, a sixth of that of Keras.
_NOT_NEEDED = ("pandas", "pytest", "sklearn")
# Beginning of the name of the thread in which Keras is imported.
_THREAD = "dipy_nn_reg import"


def import_keras():
    """Import Keras; if :func:`start_import_of_keras` has begun, wait for it."""
    start_import_of_keras().result()


@cache
def start_import_of_keras():
    """Import Keras in a thread, beside other work.

    What other threads write through ``sys.stderr`` meanwhile is shown in a command,
    see :func:`~dipy_nn_reg.workflows.streams.open_streams`.

    Returns
    -------
    future : concurrent.futures.Future
        Its ``result`` waits for the import, and raises an error that occurred there.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix=_THREAD)
    future = pool.submit(_import)
    pool.shutdown(wait=False)
    return future


def leave(status):
    """End this process with a status, without waiting for an import in a thread.

    An import that was interrupted elsewhere may have left a lock for which the one in
    the thread waits forever, and Python would wait for the thread.
    """
    if any(thread.name.startswith(_THREAD) for thread in threading.enumerate()):
        atexit._run_exitfuncs()  # Temporary files are removed.
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)
    sys.exit(status)


def _import():
    with light_imports():
        # The compiled programs of earlier processes are read as well.
        import dipy_nn_reg.backend  # noqa: F401


@contextmanager
def light_imports():
    """Import modules without what no command needs, and without looking for garbage."""
    with _hidden(_NOT_NEEDED), _uncollected():
        yield


@contextmanager
def _hidden(packages):
    """Let packages that are not imported yet seem not to be installed."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def _uncollected():
    """Let Python never look for garbage among the objects that are made meanwhile.

    An import makes half a million objects that stay until the process ends. Looking
    through them again and again takes nearly as long as the import itself.
    """
    was_enabled = gc.isenabled()
    gc.collect()  # What is garbage now would be kept, too.
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


@contextmanager
def silent_standard_error():
    """Close the standard error of this process, also for libraries below Python.

    TensorFlow's libraries write to it when they are loaded, before they can be
    configured. Errors are raised as exceptions all the same. A user who has set
    ``TF_CPP_MIN_LOG_LEVEL`` to another level than 3 sees all that is written.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "3":
        yield
        return
    try:
        kept = os.dup(2)
    except OSError:  # The standard error is closed.
        yield
        return
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
