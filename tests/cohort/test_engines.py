"""Engines give the same results, and survive processes that are killed."""

from contextlib import closing
from multiprocessing.context import SpawnProcess
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import psutil
import pytest

from dipy_nn_reg.cohort import engines
from dipy_nn_reg.cohort.engines import KILLED, open_engine

FUNCTIONS = """
import os, signal, time

def square(number):
    return number**2

def threads(number):
    return os.environ.get("OMP_NUM_THREADS")

def process(number):
    return os.getpid()

def kill_once(path):
    if path and not os.path.exists(path):
        open(path, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()

def fail(number):
    raise ValueError(number)

def kill_at_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.1)
    return number

def shares_a_lock(number):
    from tqdm.auto import tqdm
    from tqdm.std import TqdmDefaultWriteLock

    with open(os.devnull, "w") as file:
        assert list(tqdm([number], file=file)) == [number]
    return hasattr(TqdmDefaultWriteLock, "mp_lock")

class Odd(Exception):
    def __init__(self, one, other):
        super().__init__(f"{one} and {other}")

def raise_what_cannot_be_read(number):
    raise Odd(number, 2)

def raise_what_stays(number):
    error = ValueError(number)
    error.function = lambda: number
    raise error

def leave(number):
    raise SystemExit(number)

def return_what_stays(number):
    return lambda: number

def wait(number):
    time.sleep(60)
"""


@pytest.fixture
def functions(tmp_path, monkeypatch):
    """Return a module whose functions other processes can import."""
    (tmp_path / "functions_of_jobs.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(tmp_path)
    import functions_of_jobs

    yield functions_of_jobs
    del sys.modules["functions_of_jobs"]


def killed(job, reason):
    return (job, reason)


@pytest.fixture
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
    ) as cluster:
        yield cluster


def test_results_do_not_depend_on_the_engine(functions, cluster):
    expected = [(n, n**2) for n in range(7)]
    choices = ({}, {"n_jobs": 2}, {"scheduler": cluster.scheduler_address})
    for chosen in choices:
        engine = open_engine(**chosen, killed=killed)
        results = sorted(engine.run(functions.square, list(range(7))))
        engine.close()
        assert results == expected


def test_processes_share_the_processors(functions, monkeypatch):
    monkeypatch.setattr(engines, "_cores", lambda: 7)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    engine = open_engine(n_jobs=2, killed=killed)
    assert dict(engine.run(functions.threads, [1, 2])) == {1: "3", 2: "3"}
    assert os.environ["OMP_NUM_THREADS"] == "5"


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_job_that_kills_its_process_fails_and_the_others_do_not(functions):
    engine = open_engine(n_jobs=2, killed=killed)
    results = dict(engine.run(functions.kill_at_three, list(range(6))))
    assert results == {n: (3, KILLED) if n == 3 else n for n in range(6)}


def test_processes_stay_for_all_that_is_run(functions):
    with closing(open_engine(n_jobs=2, killed=killed)) as engine:
        first, second, third = (
            set(dict(engine.run(function, [number])).values())
            for number, function in enumerate([functions.process] * 3)
        )
        assert first == second == third and os.getpid() not in first
    _wait_for(lambda: [pid for pid in first if not psutil.pid_exists(pid)], 1)


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_an_engine_runs_on_after_a_process_was_killed(functions, tmp_path):
    with closing(open_engine(n_jobs=2, killed=killed)) as engine:
        (before,) = dict(engine.run(functions.process, [1])).values()
        ((_, after),) = engine.run(functions.kill_once, [str(tmp_path / "killed")])
        assert isinstance(after, int) and after != before
        assert dict(engine.run(functions.process, [1])) == {1: after}
        # Killed while it waits for a job.
        os.kill(after, signal.SIGKILL)
        assert dict(engine.run(functions.square, [2, 3])) == {2: 4, 3: 9}


def test_an_error_ends_the_processes_and_not_the_engine(functions):
    with closing(open_engine(n_jobs=2, killed=killed)) as engine:
        (before,) = dict(engine.run(functions.process, [1])).values()
        with pytest.raises(ValueError, match="7"):
            list(engine.run(functions.fail, [7]))
        _wait_for(lambda: [] if psutil.pid_exists(before) else [before], 1)
        assert dict(engine.run(functions.square, [2])) == {2: 4}


def test_results_that_nobody_waits_for_end_the_processes(functions):
    with closing(open_engine(n_jobs=2, killed=killed)) as engine:
        with closing(engine.run(functions.process, list(range(9)))) as results:
            _, process = next(results)
        _wait_for(lambda: [] if psutil.pid_exists(process) else [process], 1)


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_processes_that_are_killed_as_they_begin_end_nothing(functions, monkeypatch):
    start, begun = SpawnProcess.start, []

    def start_and_kill(process):
        start(process)
        begun.append(process.pid)
        if len(begun) < 3:
            os.kill(process.pid, signal.SIGKILL)

    monkeypatch.setattr(SpawnProcess, "start", start_and_kill)
    with closing(open_engine(n_jobs=2, killed=killed)) as engine:
        assert dict(engine.run(functions.square, [2, 3])) == {2: 4, 3: 9}
    assert len(begun) > 2


def test_an_error_of_the_system_is_not_taken_for_a_killed_process(
    functions, monkeypatch
):
    def fail(process):
        raise OSError("Too many open files")

    monkeypatch.setattr(SpawnProcess, "start", fail)
    with closing(open_engine(n_jobs=2, killed=killed)) as engine:
        with pytest.raises(OSError, match="Too many open files"):
            dict(engine.run(functions.square, [2, 3]))


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_job_whose_process_was_killed_is_done_again_with_all_memory(
    functions, tmp_path
):
    path = str(tmp_path / "killed")
    with closing(open_engine(n_jobs=2, killed=killed)) as engine:
        results = dict(engine.run(functions.kill_once, [path, "", 0, None]))
        again, *others = (results[job] for job in (path, "", 0, None))
        assert not any(map(psutil.pid_exists, others)) and psutil.pid_exists(again)


@pytest.mark.parametrize(
    "function, text",
    [("raise_what_cannot_be_read", "Odd: 1 and 2"), ("raise_what_stays", "Error: 1")],
)
def test_errors_that_cannot_be_sent_are_told_in_words(functions, function, text):
    with closing(open_engine(n_jobs=2, killed=killed)) as engine:
        with pytest.raises(RuntimeError, match=f"in {function}\n(?s:.*){text}"):
            list(engine.run(getattr(functions, function), [1]))
        assert dict(engine.run(functions.square, [2])) == {2: 4}


@pytest.mark.parametrize(
    "function, error", [("leave", SystemExit), ("return_what_stays", AttributeError)]
)
def test_what_ends_a_job_is_raised_here(functions, function, error):
    with closing(open_engine(n_jobs=2, killed=killed)) as engine:
        with pytest.raises(error) as raised:
            list(engine.run(getattr(functions, function), [1]))
    # Where it happened is seen as well.
    assert "in _answer" in raised.value.__notes__[0]


def test_processes_leave_no_semaphore_when_they_are_ended_at_once(functions):
    with closing(open_engine(n_jobs=2, killed=killed)) as engine:
        assert dict(engine.run(functions.shares_a_lock, [1])) == {1: False}


def test_jobs_that_cannot_be_sent_are_refused(functions):
    with closing(open_engine(n_jobs=2, killed=killed)) as engine:
        with pytest.raises(AttributeError, match="lambda"):
            list(engine.run(lambda number: number, [1, 2, 3]))
        assert dict(engine.run(functions.square, [2])) == {2: 4}


@pytest.mark.slow
def test_a_worker_of_dask_that_is_killed_does_not_end_the_others(functions):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0"
    ) as cluster:
        engine = open_engine(scheduler=cluster.scheduler_address, killed=killed)
        results = dict(engine.run(functions.kill_at_three, list(range(6))))
        engine.close()
    assert results == {n: (3, KILLED) if n == 3 else n for n in range(6)}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_processes_end_with_the_one_that_began_them(functions, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from functions_of_jobs import wait\n"
        "from dipy_nn_reg.cohort.engines import open_engine\n"
        "if __name__ == '__main__':\n"
        "    list(open_engine(n_jobs=2, killed=None).run(wait, [1, 2]))\n"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    env = os.environ | {"PYTHONPATH": path}
    process = subprocess.Popen([sys.executable, script], env=env)
    children = _wait_for(lambda: _workers_of(process.pid), 2)
    process.kill()
    process.wait()
    _wait_for(lambda: [pid for pid in children if not Path(f"/proc/{pid}").exists()], 2)


def _workers_of(parent):
    """Return the processes that work for another one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            status = (folder / "stat").read_text()
        except OSError:
            continue
        of_parent = status.rpartition(")")[2].split()[1] == str(parent)
        if of_parent and b"spawn_main" in command:
            found.append(folder.name)
    return found


def _wait_for(find, number):
    for _ in range(300):
        found = find()
        if len(found) >= number:
            return found
        time.sleep(0.1)
    raise AssertionError(f"Expected {number}. Found {found}.")


@pytest.mark.parametrize("n_jobs", [0, -1, 1.5, "2"])
def test_numbers_of_processes_are_checked(n_jobs):
    with pytest.raises(ValueError, match="n_jobs"):
        open_engine(n_jobs=n_jobs, killed=killed)


def test_windows_cannot_wait_for_many_processes(monkeypatch):
    monkeypatch.setattr(os, "name", "nt")
    with pytest.raises(ValueError, match="at most 60 processes"):
        open_engine(n_jobs=61, killed=killed)


def test_processes_and_a_scheduler_exclude_each_other():
    with pytest.raises(ValueError, match="n_jobs=2 and scheduler='tcp://a:1'"):
        open_engine(n_jobs=2, scheduler="tcp://a:1", killed=killed)


@pytest.mark.parametrize("scheduler", ["tcp://127.0.0.1:9", "no_such_file.json"])
def test_a_scheduler_that_does_not_answer_is_named(scheduler, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(engines, "_TIMEOUT", 0.5)
    with pytest.raises(
        ValueError, match=f"answers within 0.5 s. Received '{scheduler}'"
    ):
        open_engine(scheduler=scheduler, killed=killed)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install .dipy_nn_reg\[cohort\]"):
        open_engine(scheduler="tcp://a:1", killed=killed)
