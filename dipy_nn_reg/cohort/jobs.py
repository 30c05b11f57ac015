"""Jobs of a cohort: the pairs of files to register, and what becomes of each."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
import logging
from pathlib import Path
from threading import Lock
from time import perf_counter

from dipy.utils.logging import logger
import psutil

from dipy_nn_reg.cohort.failures import is_fatal
from dipy_nn_reg.cohort.outputs import Outputs
from dipy_nn_reg.cohort.pair import align_pair, register_files
from dipy_nn_reg.quiet import import_keras, start_import_of_keras
from dipy_nn_reg.text import describe, printable

# A process registers one pair at a time, whatever the threads of its engine.
_LOCK = Lock()


@dataclass(frozen=True)
class Job:
    """A pair of files to register.

    Attributes
    ----------
    name : str
        Name of the pair, by which its row and its files are found again.
    files : dict of Path
        ``static`` and ``moving``.
    outputs : dict of Path
        As :class:`~dipy_nn_reg.cohort.outputs.Outputs` has them.
    annotations : dict of Path
        Masks and label maps by the names of :data:`dipy_nn_reg.annotations.PLACES`.
    channels : dict of list of Path, optional
        Further images of the same people, by ``static`` and ``moving``.
    unwanted : tuple of str, optional
        Names of outputs that are not written.
    """

    name: str
    files: dict
    outputs: dict
    annotations: dict = field(default_factory=dict)
    channels: dict | None = None
    unwanted: tuple = ()


def run_job(job, options):
    """Register a pair of files in any process, and return what became of it.

    Parameters
    ----------
    job : Job
    options : dict
        Options of :func:`~dipy_nn_reg.register`, of which ``model`` may be the Path of
        one; ``field_format`` and ``fill`` of
        :class:`~dipy_nn_reg.cohort.outputs.Outputs`.

    Returns
    -------
    row : dict
        Row of the table of a cohort.

    Raises
    ------
    OSError
        If the disk is full or cannot be written, so that no other pair would succeed.
    """
    # The time of the import is not that of a pair.
    import_keras()
    start = perf_counter()
    row = attempt(job, partial(_register, options=options))
    return {**row, "seconds": perf_counter() - start, "peak_mib": _peak_mib()}


def align_files(job, kind):
    """Estimate the affine between the images of a pair in any process.

    Parameters
    ----------
    job : Job
        Its outputs are not used, and of its annotations the masks.
    kind : str
        As :func:`~dipy_nn_reg.mapping.prealign.estimate_prealign` takes it.

    Returns
    -------
    row : dict
        With ``status``, and ``affine`` from static to moving world coordinates, or the
        ``error``.
    """

    def align(job):
        affine = align_pair(job.files, job.annotations, kind)
        # Registrations follow: Keras is imported while other processes compute.
        start_import_of_keras()
        return {"affine": affine}

    return attempt(job, align)


def attempt(job, function):
    """Return the row of a job in any process: what a function returns, or its error.

    Parameters
    ----------
    job : Job
    function : callable
        Takes the job, and returns further cells of the row.

    Returns
    -------
    row : dict

    Raises
    ------
    OSError
        If the disk is full or cannot be written, so that no other job would succeed.
    """
    with _LOCK, only_warnings():
        try:
            return {"status": "done", **function(job), **row_of(job)}
        except Exception as error:
            if is_fatal(error):
                raise
            return failed_row(job, describe(error))


def row_of(job):
    """Return the cells of a row that do not depend on what becomes of a pair."""
    cells = {name: printable(path) for name, path in job.files.items()}
    return {"id": job.name, **cells, "other_inputs": other_inputs(job)}


def other_inputs(job):
    """Return the masks, label maps and further images of a pair, in one line."""
    files = dict(job.annotations)
    for person, paths in (job.channels or {}).items():
        files |= {f"{person}_{n}": path for n, path in enumerate(paths, 2)}
    return printable("; ".join(f"{name}={files[name]}" for name in sorted(files)))


def failed_row(job, reason):
    """Return the row of a pair whose process came to an end."""
    return {**row_of(job), "status": "failed", "error": reason}


@contextmanager
def only_warnings():
    """Let DIPY's logger say nothing of each pair, or image, but what is unusual."""

    def is_unusual(record):
        return record.levelno >= logging.WARNING

    logger.addFilter(is_unusual)
    try:
        yield
    finally:
        logger.removeFilter(is_unusual)


def _register(job, options):
    model = options.get("model")
    if isinstance(model, Path):
        # A file that was replaced is another model.
        status = model.stat()
        model = _load(model, status.st_mtime_ns, status.st_size)
        options = {**options, "model": model}
    options = {**options, **job.annotations}
    style = {name: options.pop(name) for name in ("field_format", "fill")}
    for path in job.outputs.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    names = {name: path.name for name, path in job.files.items()}
    row, subjects = register_files(
        job.files,
        names,
        Outputs(job.outputs, job.unwanted, **style),
        channels=job.channels,
        **options,
    )
    measures = subjects[0] if subjects else {}
    return {**measures, **row}


@lru_cache(maxsize=1)
def _load(path, time, size):
    from dipy_nn_reg import DeformableRegistration

    return DeformableRegistration.load(path)


def _peak_mib():
    """Return the peak memory of this process in MiB, or where unknown that of now."""
    memory = psutil.Process().memory_info()
    try:
        import resource
    except ImportError:  # Windows, which says it itself
        return getattr(memory, "peak_wset", memory.rss) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
