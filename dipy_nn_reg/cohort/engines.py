"""Engines that map one function over the jobs of a cohort, in one process or in many.

Whichever is used, the function is the same, and so are the results.
"""

from collections import deque
from contextlib import closing
import json
import os
from pathlib import Path

from dipy_nn_reg.checks import check_integer
from dipy_nn_reg.cohort.workers import (
    NOT_GUARDED,
    Worker,
    check_importable,
    end,
    ended,
    kill,
)

# Reason of a pair whose process came to an end twice, once alone.
KILLED = "Its process was killed, possibly for want of memory."
# Number of connections for which Windows can wait at once.
_MOST_OF_WINDOWS = 60
# Seconds in which a scheduler has to answer.
_TIMEOUT = 20


def open_engine(*, n_jobs=1, scheduler=None, killed):
    """Return the engine that a user has chosen.

    Parameters
    ----------
    n_jobs : int, optional
        Number of processes of this machine, which share its processors.
    scheduler : str, optional
        Address of a Dask scheduler, such as ``tcp://host:8786``, or the file that it
        has written.
    killed : callable
        Takes a job and a reason, and returns the result of one that was killed.

    Returns
    -------
    engine
        Its method ``run`` takes a function and jobs, and yields a job and its result as
        it ends; ``close`` ends what was opened.

    Raises
    ------
    ImportError
        If the package ``distributed`` is needed and not installed.
    ValueError
        If an option is invalid, or if no scheduler answers.
    RuntimeError
        In a process that was started by a script without a guard.
    """
    check_integer("n_jobs", n_jobs, lowest=1)
    if n_jobs > 1:
        check_importable()
    if os.name == "nt" and n_jobs > _MOST_OF_WINDOWS:
        raise ValueError(
            f"Expected at most {_MOST_OF_WINDOWS} processes, as Windows waits for no "
            f"more. Received n_jobs={n_jobs}."
        )
    if scheduler is not None and n_jobs != 1:
        raise ValueError(
            f"Expected n_jobs or a scheduler, whose workers are started elsewhere. "
            f"Received n_jobs={n_jobs} and scheduler={str(scheduler)!r}."
        )
    if scheduler is not None:
        return OnDask(str(scheduler), killed)
    return Here() if n_jobs == 1 else InProcesses(n_jobs, killed)


class Here:
    """Engine of this process."""

    def run(self, function, jobs):
        """Yield each job and its result."""
        for job in jobs:
            yield job, function(job)

    def close(self):
        """End nothing."""


class _Elsewhere:
    """Engine whose jobs are done by other processes, which may be killed."""

    def run(self, function, jobs):
        """Yield each job and its result as it ends. The function can be pickled."""
        suspects = []
        with closing(self._map(function, jobs)) as results:
            for job, result, is_lost in results:
                if is_lost:
                    suspects.append(job)
                else:
                    yield job, result
        # Alone, a job shows whether it was its own fault.
        for suspect in suspects:
            self._make_room()
            with closing(self._map(function, [suspect])) as results:
                for job, result, is_lost in results:
                    yield job, self.killed(job, KILLED) if is_lost else result

    def _make_room(self):
        """Give back memory, for want of which a process may have been killed."""


class InProcesses(_Elsewhere):
    """Engine of processes of this machine, which share its processors.

    The processes are started by the first jobs, and stay for all that follow. They end
    with this one, even if it is killed.
    """

    def __init__(self, n_jobs, killed):
        self.n_jobs, self.killed, self._idle = n_jobs, killed, []
        self._has_begun = False  # whether any process has done a job

    def _map(self, function, jobs):
        """Yield each job, its result, and whether its process was killed."""
        waiting, running = deque(jobs), {}
        try:
            while waiting or running:
                while waiting and len(running) < self.n_jobs:
                    worker = self._idle_worker()
                    running[worker] = waiting.popleft()
                    worker.begin(function, running[worker])
                for worker in ended(running):
                    result, is_lost = worker.result()
                    job = running.pop(worker)
                    if not is_lost:
                        self._has_begun = True
                        self._idle.append(worker)
                    elif worker.has_failed() and not self._has_begun:
                        raise RuntimeError(NOT_GUARDED)
                    yield job, result, is_lost
        finally:
            # Jobs are in flight after an error, or if nobody waits for their results.
            if running:
                kill(running)
                self.close()

    def _idle_worker(self):
        """Return a worker that waits for a job, or a new one."""
        while self._idle:
            worker = self._idle.pop()
            if worker.is_alive():
                return worker
            kill([worker])
        return Worker(max(1, _cores() // self.n_jobs))

    def close(self):
        """End the processes."""
        end(self._idle)
        self._idle.clear()

    _make_room = close


class OnDask(_Elsewhere):
    """Engine of a Dask cluster, which does the jobs of a lost worker again.

    Dask suspects what a lost worker had still to do as well.
    """

    def __init__(self, scheduler, killed):
        self.client, self.killed = _connect(scheduler), killed

    def _map(self, function, jobs):
        """Yield each job, its result, and whether workers were lost during it."""
        from distributed import KilledWorker, as_completed

        futures = {self.client.submit(function, j, pure=False): j for j in jobs}
        try:
            for future in as_completed(list(futures), loop=self.client.loop):
                job = futures.pop(future)
                try:
                    yield job, future.result(), False
                except KilledWorker:
                    yield job, None, True
                future.release()
        finally:
            self.client.cancel(list(futures))

    def close(self):
        """End the connection, and not the cluster."""
        self.client.close()


def _cores():
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _connect(scheduler):
    """Return a client of a Dask cluster that is running."""
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError(
            'Expected the package distributed: pip install "dipy_nn_reg[cohort]".'
        ) from error
    try:
        # Dask itself would wait for ever for a file that does not exist.
        if "://" in scheduler:
            address = scheduler
        else:
            address = json.loads(Path(scheduler).read_text())["address"]
        return Client(address, timeout=_TIMEOUT, set_as_default=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"Expected a scheduler of Dask that answers within {_TIMEOUT} s. "
            f"Received {scheduler!r}: {error}"
        ) from error
