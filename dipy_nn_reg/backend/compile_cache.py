"""Cache of compiled programs on disk, with which a second process compiles nothing.

XLA keeps its programs in a folder if it is told to. It raises an error for a file that
is damaged, half-written or does not fit on the disk, so no two processes share that
folder: each gets one of its own, with links to those files of the common folder whose
checksums are right, and moves its new files there when it ends.
"""

import atexit
from contextlib import suppress
from hashlib import sha256
from importlib.util import find_spec
import os
from pathlib import Path
import platform
import re
import shutil
import tempfile
import time

from dipy.utils.logging import logger
from platformdirs import user_cache_path

from dipy_nn_reg import processes

# Variable that moves the cache to another folder, or turns it off.
VARIABLE = "DIPY_NN_REG_COMPILE_CACHE"
# Largest size of all programs of one version and processor, in bytes.
MAX_BYTES = 100 * 2**20
# Room that has to be left on the disk, in bytes: many times what one process writes.
_ROOM = 16 * 2**20
# Beginning of the name of the folder of one process, and the whole name, with that of
# the process.
_OWN = "dipy_nn_reg_run_"
_OWN_NAME = re.compile(rf"{_OWN}({processes.PATTERN})_\w+")
_FLAG = "--tf_xla_persistent_cache_directory"
# Flags that name the folder of one process, be it of this one or of its parent.
_OWN_FLAGS = re.compile(rf"{_FLAG}='[^']*{_OWN}[^']*' --\S+=CPU")


def start(backend, version):
    """Keep compiled programs on disk; if that is impossible, only say so.

    Parameters
    ----------
    backend : {"tensorflow", "jax", "torch"}
        PyTorch compiles nothing here.
    version : str
    """
    _forget()
    chosen = os.environ.get(VARIABLE, "")
    if chosen.lower() == "off" or backend == "torch":
        return
    root = Path(chosen).expanduser() if chosen else user_cache_path("dipy_nn_reg")
    try:
        name = f"{backend}_{version}_{_processor()}"
        folder = _private_folder(root.absolute() / name)
        (_start_jax if backend == "jax" else _start_tensorflow)(folder)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
        logger.debug(f"Compiled programs are not kept: {error}")


def _processor():
    """Return a digest of what compiled code depends on besides its version."""
    parts = [platform.machine(), platform.processor(), os.environ.get("XLA_FLAGS", "")]
    parts.append(str(os.cpu_count()))  # work is divided when it is compiled
    if hasattr(os, "sched_getaffinity"):
        parts.append(str(len(os.sched_getaffinity(0))))
    with suppress(OSError):  # only Linux has this file
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = ("model name", "flags", "Features", "CPU part")
        parts += sorted({line for line in lines if line.startswith(names)})
    return sha256("\n".join(parts).encode()).hexdigest()[:16]


def _private_folder(folder):
    """Make a folder whose programs nobody else can have written, and return it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if hasattr(os, "getuid"):
        status = folder.stat()
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise PermissionError(f"others may write to {str(folder)!r}")
    return folder


def _start_jax(folder):
    """Let JAX keep its programs, which it does safely and in a bounded size."""
    import jax

    if find_spec("filelock") is None:
        raise OSError("JAX bounds their size only with the package filelock")
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_compilation_cache_max_size", MAX_BYTES)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _start_tensorflow(folder):
    """Give TensorFlow a folder of this process, which it reads at its first call."""
    flags = os.environ.get("TF_XLA_FLAGS", "")
    if "tf_xla_persistent_cache" in flags:
        return  # a user has chosen another folder
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "") < "3":
        # XLA would report for each program, as an error, that it cannot tell whether
        # the processor is the same.
        logger.debug("Compiled programs are not kept: TF_CPP_MIN_LOG_LEVEL is below 3.")
        return
    if "'" in str(folder):
        raise OSError(f"TensorFlow does not take a quote in {str(folder)!r}")
    own = Path(tempfile.mkdtemp(prefix=f"{_OWN}{processes.own_name()}_", dir=folder))
    try:
        _check_room(own)
        known = _link(folder, own)
    except OSError:
        shutil.rmtree(own, ignore_errors=True)
        raise
    own_flags = f"{_FLAG}='{own.as_posix()}' --tf_xla_persistent_cache_device_types=CPU"
    os.environ["TF_XLA_FLAGS"] = f"{flags} {own_flags}".strip()
    atexit.register(_publish, own, folder, known, os.getpid())


def _check_room(own):
    """Raise OSError unless there is room for the programs of a process."""
    with tempfile.TemporaryFile(dir=own) as file:
        if hasattr(os, "posix_fallocate"):  # sees a quota, too
            os.posix_fallocate(file.fileno(), 0, _ROOM)
        elif shutil.disk_usage(own).free < _ROOM:
            raise OSError(f"the disk of {str(own)!r} is full")


def _link(folder, own):
    """Link the programs of the common folder, and return their names.

    Damaged ones are removed, and so are the oldest ones if all are too large. The name
    of a program ends with its checksum.
    """
    known, size = set(), 0
    for status, path in sorted(_files(folder), reverse=True):
        name, _, digest = path.name.rpartition(".")
        size += status[1]
        content = path.read_bytes() if size <= MAX_BYTES else b""
        if name in known or sha256(content).hexdigest() != digest:
            path.unlink(missing_ok=True)
            continue
        try:
            os.link(path, own / name)
        except OSError:  # the file system has no links
            (own / name).write_bytes(content)
        known.add(name)
    return known


def _files(folder):
    """Yield age and size, and path, of each program; remove what was left behind."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process has removed it
            status = path.stat()
            if not path.name.startswith(_OWN):
                yield (status.st_mtime, status.st_size), path
                continue
            own = _OWN_NAME.fullmatch(path.name)
            if not own or processes.has_ended(own[1], time.time() - status.st_mtime):
                shutil.rmtree(path, ignore_errors=True)


def _publish(own, folder, known, process):
    """Move new programs to the common folder, under names with their checksums."""
    if os.getpid() != process:  # a fork, which has no programs of its own
        return
    with suppress(OSError):
        for path in own.glob("*.pb"):
            if path.name not in known:
                digest = sha256(path.read_bytes()).hexdigest()
                os.replace(path, folder / f"{path.name}.{digest}")
    shutil.rmtree(own, ignore_errors=True)


def _forget():
    """Let a process use no folder of its parent."""
    flags = os.environ.get("TF_XLA_FLAGS", "")
    if _OWN_FLAGS.search(flags):
        os.environ["TF_XLA_FLAGS"] = _OWN_FLAGS.sub("", flags).strip()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_forget)
