"""Engines that map one function over the jobs of a cohort, in one process or in many.

Whichever is used, the function is the same, and so are the results.
"""

from collections import deque
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
import json
import multiprocessing
import os
from pathlib import Path
import signal
import threading

from dipy_nn_reg.checks import check_integer
from dipy_nn_reg.io.temporaries import temporary_files_within

# Variables by which libraries choose the number of their threads.
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
# Reason of a pair whose process came to an end twice, once alone.
KILLED = "Its process was killed, possibly for want of memory."
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
    """
    check_integer("n_jobs", n_jobs, lowest=1)
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


class InProcesses:
    """Engine of processes of this machine, which share its processors.

    The processes are started by the first jobs, and stay for all that follow. If one is
    killed, the jobs in flight are done again, one by one; a job during which it happens
    again has failed.
    """

    def __init__(self, n_jobs, killed):
        self.n_jobs, self.killed, self._pool = n_jobs, killed, None

    def run(self, function, jobs):
        """Yield each job and its result as it ends. The function can be pickled."""
        waiting, suspects = deque(jobs), deque()
        while waiting or suspects:
            # Suspects run alone, so that it is known whose fault it was.
            alone = bool(suspects)
            queue, size = (suspects, 1) if alone else (waiting, self.n_jobs)
            with self._processes() as pool:
                yield from pool.drain(function, queue, size)
            if alone:
                yield from ((job, self.killed(job, KILLED)) for job in pool.lost)
            else:
                suspects.extend(pool.lost)

    @contextmanager
    def _processes(self):
        """Yield the processes, which end if one was killed or a job is in flight."""
        if self._pool is None:
            self._pool = _Pool(self.n_jobs)
        try:
            yield self._pool
        finally:
            if not self._pool.is_idle:
                self.close()

    def close(self):
        """End the processes, without waiting for the jobs in flight."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None


class OnDask:
    """Engine of a Dask cluster, which does the jobs of a lost worker again."""

    def __init__(self, scheduler, killed):
        self.client, self.killed = _connect(scheduler), killed

    def run(self, function, jobs):
        """Yield each job and its result as it ends. The function can be pickled."""
        suspects = []
        for job, result, is_lost in self._map(function, jobs):
            if is_lost:
                suspects.append(job)
            else:
                yield job, result
        # Dask suspects what a lost worker had still to do as well. Alone, a job shows
        # whether it was its fault.
        for suspect in suspects:
            for job, result, is_lost in self._map(function, [suspect]):
                yield job, self.killed(job, KILLED) if is_lost else result

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


class _Pool:
    """Processes that end with this one, even if it is killed."""

    def __init__(self, n_jobs):
        self.lost, self._running, self._is_broken = [], {}, False
        context = multiprocessing.get_context("spawn")
        receiver, self._life = context.Pipe(duplex=False)
        self._variables = dict.fromkeys(_THREADS, str(max(1, _cores() // n_jobs)))
        self._executor = ProcessPoolExecutor(
            n_jobs,
            mp_context=context,
            initializer=_begin,
            initargs=(receiver,),
        )

    @property
    def is_idle(self):
        """Whether all processes wait for a job."""
        return not (self._running or self._is_broken)

    def drain(self, function, queue, size):
        """Yield jobs of a queue and their results, until it is empty or one is lost."""
        running = self._running
        try:
            while queue or running:
                while queue and len(running) < size:
                    # It stays in the queue until it has been submitted.
                    future = self._submit(function, queue[0])
                    running[future] = queue.popleft()
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    result = future.result()
                    yield running.pop(future), result
        except BrokenProcessPool:
            self.lost, self._is_broken = list(running.values()), True
            running.clear()

    def _submit(self, function, job):
        """Submit a job, for which the executor may start another process.

        Libraries read their variables when they are loaded, before any code of ours
        could set them there.
        """
        before = {name: os.environ.get(name) for name in self._variables}
        os.environ.update(self._variables)
        try:
            return self._executor.submit(function, job)
        except OSError:
            # If a process was killed meanwhile, the executor has closed what another
            # one was to inherit. A broken executor refuses any job, by another error.
            self._executor.submit(int)
            raise
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def close(self):
        """End the processes, without waiting for the jobs in flight."""
        if not self.is_idle:
            # One that was begun while another was killed would be waited for in vain.
            self._life.close()
        self._executor.shutdown()
        self._life.close()


def _begin(receiver):
    """Prepare a process of the pool."""
    # Ctrl-C reaches all processes of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    temporary_files_within().__enter__()
    threading.Thread(target=_end_with, args=(receiver,), daemon=True).start()


def _end_with(receiver):
    """End this process once the one that began it has closed its end, or has ended."""
    try:
        receiver.recv()
    except (EOFError, OSError):
        os._exit(1)


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
