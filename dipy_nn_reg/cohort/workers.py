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

from tqdm import tqdm

from dipy_nn_reg.io.temporaries import temporary_files_within

# Variables by which libraries choose the number of their threads.
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
# What a script lacks whose processes end as they begin.
NOT_GUARDED = (
    "Expected a script that can be imported by the processes that it starts: what "
    'it does belongs below a line `if __name__ == "__main__":`.'
)
# Task that ends a process.
_END = pickle.dumps(None)


def ended(workers):
    """Wait until a job has ended or a worker was killed, and return these workers."""
    found = []
    while not found:
        # On Windows, the connection to one that was killed as it began stays open.
        ready = wait([worker.connection for worker in workers], timeout=1)
        found = [w for w in workers if w.connection in ready or not w.is_alive()]
    return found


def end(workers):
    """End workers that wait for a job."""
    for worker in workers:
        worker.dismiss()
    for worker in workers:
        worker.join()


def kill(workers):
    """End workers at once."""
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join()


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
        # Held by the process alone, so that reading from it fails once it is killed.
        other.close()

    def is_alive(self):
        """Return whether nothing has killed the process."""
        return self._process.is_alive()

    def has_failed(self):
        """Return whether the process ended by an error of its own, not by a signal."""
        return (self._process.exitcode or 0) > 0

    def begin(self, function, job):
        """Begin a job. The function and the job can be pickled."""
        task = pickle.dumps((function, job))
        # One that was killed is seen when its result is read.
        with suppress(OSError):
            self.connection.send_bytes(task)

    def result(self):
        """Return the result of the job, and whether the process was killed."""
        try:
            if not (self.connection.poll() or self.is_alive()):
                raise EOFError
            answer = self.connection.recv_bytes()
        except (EOFError, OSError):
            kill([self])
            return None, True
        result, error = pickle.loads(answer)
        if error is not None:
            raise error
        return result, False

    def dismiss(self):
        """Have the process end, which waits for a job."""
        with suppress(OSError):
            self.connection.send_bytes(_END)

    def terminate(self):
        """Have the process end at once, or as soon as it has moved files."""
        self._process.terminate()

    def join(self):
        """Wait until the process has ended."""
        self._process.join()
        self.connection.close()


def check_importable():
    """Raise RuntimeError in a process that runs the script of its parent again.

    Python does so in each process that it spawns, before the process begins its work.
    What the script does beyond definitions belongs below a line that such a process
    skips.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(NOT_GUARDED)


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
    # That of tqdm's own choice is shared among processes: Python would tell the user of
    # it if this one is ended at once.
    tqdm.set_lock(threading.RLock())
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
        return _answer_of(error, traceback.format_exc())


def _answer_of(error, text):
    """Return no result and an error, or its text if it cannot be read again."""
    error.add_note(f"In a process of its own:\n{text}")
    try:
        answer = pickle.dumps((None, error))
        pickle.loads(answer)
    except Exception:
        answer = pickle.dumps((None, RuntimeError(text)))
    return answer


def _receive(connection, tasks):
    """Pass tasks on. End this process once its parent has closed its end, or ended."""
    try:
        while True:
            tasks.put(connection.recv_bytes())
    except (EOFError, OSError):
        os._exit(1)
