"""Supervisor of the workers: limits, crashes, and results of all cases."""

from concurrent.futures import ThreadPoolExecutor
import json
import os
from pathlib import Path
from queue import Empty, Queue
import subprocess
import sys
from threading import Lock, Thread
from time import perf_counter

import psutil

TOOL = Path(__file__).resolve().parents[1] / "fuzz.py"
# Largest memory of a worker, in bytes.
MAX_MEMORY = 4 * 2**30
# Largest processor time of a case in seconds, and how many times longer it may take by
# the clock.
MAX_SECONDS, CLOCK_FACTOR = 60, 5
# Seconds between two looks at a worker.
_POLL = 0.1


def supervise(
    numbers,
    *,
    seed,
    workers=2,
    only=None,
    module="fuzzing.areas",
    most_seconds=MAX_SECONDS,
    most_memory=MAX_MEMORY,
    on_result=None,
):
    """Run cases in processes of their own.

    Parameters
    ----------
    numbers : sequence of int
    seed : int
    workers : int, optional
    only : list of str, optional
        Areas.
    module : str, optional
        Module of the function ``make_case``.
    most_seconds, most_memory : float, optional
        Limits of one case, in seconds and in bytes.
    on_result : callable, optional
        Called with each result.

    Returns
    -------
    results : list of dict
        In the order of the numbers.
    """
    queue, lock, results = iter(numbers), Lock(), []

    def take():
        with lock:
            return next(queue, None)

    def put(result):
        with lock:
            results.append(result)
            if on_result is not None:
                on_result(result)

    def serve(_):
        limits = most_seconds, most_memory
        number = take()
        while number is not None:
            worker = _Worker(seed, module, only, limits)
            try:
                while number is not None and worker.is_alive():
                    result = worker.run(number)
                    if result is None:  # it ended between two cases
                        break
                    put(result)
                    number = take()
            finally:
                worker.end()

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(serve, range(workers)))
    return sorted(results, key=lambda result: result["case"])


class _Worker:
    """A process that runs cases, and is ended if one of them exceeds a limit."""

    def __init__(self, seed, module, only, limits):
        self._seconds, self._memory = limits
        line = [sys.executable, str(TOOL), "--worker", "--seed", str(seed)]
        line += ["--module", module]
        line += ["--areas", *only] if only else []
        self._process = subprocess.Popen(
            line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE
            if os.environ.get("FUZZ_DEBUG")
            else subprocess.DEVNULL,
            text=True,
            bufsize=1,
            env=_environment(),
            start_new_session=True,
        )
        self._watched = psutil.Process(self._process.pid)
        self._lines = Queue()
        Thread(target=self._listen, daemon=True).start()
        if "ready" not in self._lines.get():
            self.end()
            raise RuntimeError("A worker could not be started.")

    def _listen(self):
        with self._process.stdout:
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put("")

    def is_alive(self):
        return self._process.poll() is None

    def run(self, number):
        """Return the result of a case; None if the worker had ended before."""
        try:
            self._process.stdin.write(f"{number}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        about, start, used = {"case": number}, perf_counter(), self._used()
        while True:
            try:
                line = self._lines.get(timeout=_POLL)
            except Empty:
                fault = self._exceeded(start, used)
                if fault:
                    self.end()
                    return _fault(about, *fault, start)
                continue
            if not line:
                status = self._process.wait()
                if "area" not in about and status == 0:
                    return None
                return _fault(about, "crash", f"status {status}", start)
            message = json.loads(line)
            if "outcome" in message:
                return message
            about = {n: v for n, v in message.items() if n != "begun"}
            start, used = perf_counter(), self._used()

    def _exceeded(self, start, used):
        """Return the limit that a case exceeds, as an outcome and a note, or None."""
        memory = self._resident()
        if memory > self._memory:
            return "memory", f"{memory / 2**30:.1f} GiB"
        if self._used() - used > self._seconds:
            return "hang", f"{self._seconds} s of the processor"
        if perf_counter() - start > CLOCK_FACTOR * self._seconds:
            return "hang", f"{CLOCK_FACTOR * self._seconds} s"
        return None

    def _resident(self):
        try:
            return self._watched.memory_info().rss
        except psutil.Error:
            return 0

    def _used(self):
        try:
            times = self._watched.cpu_times()
            return times.user + times.system
        except psutil.Error:
            return 0.0

    def end(self):
        """End the process and those that it started."""
        if self.is_alive():
            try:
                children = self._watched.children(recursive=True)
            except psutil.Error:
                children = []
            for process in (*children, self._watched):
                try:
                    process.kill()
                except psutil.Error:
                    pass
        self._process.wait()
        try:
            self._process.stdin.close()
        except OSError:
            pass


def _fault(about, outcome, note, start):
    unknown = {"area": "the tool", "function": "make_case", "mutation": ""}
    seconds = round(perf_counter() - start, 3)
    return {
        **unknown,
        **about,
        "outcome": outcome,
        "note": note,
        "trace": "",
        "seconds": seconds,
    }


def _environment():
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "Agg"}
    # Each of two workers computes on one of two cores.
    threads = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
    return {**os.environ, **quiet, **threads, "PYTHONHASHSEED": "0"}
