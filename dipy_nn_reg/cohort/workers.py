"""Processes of this machine, each of which does one job after another.

Python's own pool of processes is not used: if one of them is killed, it ends all of
them, and a process that begins meanwhile may leave it in a state of error.
"""

from contextlib import contextmanager, suppress
import multiprocessing
from multiprocessing.connection import wait
import os
import pickle
import queue
import signal
import threading
import traceback

from dipy_nn_reg.io.temporaries import temporary_files_within

# Variables by which libraries choose the number of their threads.
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
# Task that ends a process.
_END = pickle.dumps(None)


def ended(workers):
    """Wait until a job has ended or a worker was killed, and return these workers."""
    ready = wait([worker.connection for worker in workers])
    return [worker for worker in workers if worker.connection in ready]


class Worker:
    """Process with some threads, which ends with the one that began it.

    Parameters
    ----------
    n_threads : int
        Number of threads of each library.
    """

    def __init__(self, n_threads):
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        # Its parent ends it when it exits.
        self._process = context.Process(target=_serve, args=(other,), daemon=True)
        with _variables(dict.fromkeys(_THREADS, str(n_threads))):
            self._process.start()
        # Now held by the process alone: what it sends ends when it is killed.
        other.close()

    def is_alive(self):
        """Return whether nothing has killed the process."""
        return self._process.is_alive()

    def begin(self, function, job):
        """Begin a job. The function and the job can be pickled."""
        task = pickle.dumps((function, job))
        # One that was killed is seen when its result is read.
        with suppress(OSError):
            self.connection.send_bytes(task)

    def result(self):
        """Return the result of the job, and whether the process was killed."""
        try:
            result, error = self.connection.recv()
        except (EOFError, OSError):
            self.kill()
            return None, True
        if error is not None:
            raise error
        return result, False

    def close(self):
        """End the process, which waits for a job."""
        with suppress(OSError):
            self.connection.send_bytes(_END)
        self._process.join()
        self.connection.close()

    def kill(self):
        """End the process, without waiting for its job."""
        self.connection.close()
        self._process.join()


@contextmanager
def _variables(changed):
    """Change variables of the environment, which a new process inherits.

    Libraries read them when they are loaded, before any code of ours could set them
    there.
    """
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(connection):
    """Do the jobs that a connection brings, and send their results, in a process."""
    # Ctrl-C reaches all processes of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tasks = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, tasks), daemon=True).start()
    with temporary_files_within():
        while (task := tasks.get()) != _END:
            connection.send_bytes(_answer(task))


def _answer(task):
    """Return the result of a task and the error that it raised, both pickled."""
    try:
        function, job = pickle.loads(task)
        return pickle.dumps((function(job), None))
    except BaseException as error:
        error.add_note(f"In a process of its own:\n{traceback.format_exc()}")
        return pickle.dumps((None, error))


def _receive(connection, tasks):
    """Pass tasks on. End this process once its parent has closed its end, or ended."""
    try:
        while True:
            tasks.put(connection.recv_bytes())
    except (EOFError, OSError):
        os._exit(1)
