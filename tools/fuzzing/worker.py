"""Worker process, which runs cases and reports each in a line."""

from dataclasses import replace
from importlib import import_module
import json
import os
from pathlib import Path
import shutil
import sys
import tempfile
import time
import traceback

import psutil

from fuzzing.judge import GOOD, judge

# Largest growth of the memory during a case that is not reported, in bytes.
MAX_GROWTH = 2**30
# Memory of a worker, in bytes, above which it is replaced after a case.
RECYCLED_AT = 2**31


def work(seed, module, only):
    """Run the cases whose numbers come from the standard input, until it ends."""
    answers = os.fdopen(os.dup(1), "w")
    with tempfile.TemporaryDirectory(prefix="fuzz_") as home:
        _move_streams(Path(home, "said.txt"))
        cases = import_module(module)
        cases.prepare()
        make = cases.make_case
        _tell(answers, {"ready": os.getpid()})
        for line in sys.stdin:
            number = int(line)
            _tell(answers, run_case(make, seed, number, Path(home), only, answers))
            if psutil.Process().memory_info().rss > RECYCLED_AT:
                break


def run_case(make_case, seed, number, home, only, answers=None):
    """Make a case, run it in its own folder, and return its result."""
    folder, temporary = _empty_folders(home)
    log = home / "said.txt"
    begun_at = _size(log)
    try:
        case = make_case(seed, number, folder, only=only)
    except Exception as error:
        return _not_made(number, error)
    about = {
        "case": number,
        "area": case.area,
        "function": case.function,
        "mutation": case.mutation,
    }
    if answers is not None:
        _tell(answers, {**about, "begun": True})
    case = _Overheard(case, log, begun_at)
    memory = _begin_peak()
    start = time.perf_counter()
    outcome, note, trace = judge(case, folder)
    seconds = time.perf_counter() - start
    growth = _peak() - memory
    if outcome in GOOD and growth > MAX_GROWTH:
        outcome, note = "memory", f"{growth / 2**30:.1f} GiB: {note}"
    left = _left_over(case, temporary)
    if outcome in GOOD and left:
        outcome, note = "left files behind", f"in TMPDIR: {left[0].name}"
    return {
        **about,
        "outcome": outcome,
        "note": note,
        "trace": trace,
        "seconds": round(seconds, 3),
    }


def _not_made(number, error):
    """Return the result of a case that could not be made, within its handler."""
    return {
        "case": number,
        "area": "the tool",
        "function": "make_case",
        "mutation": "",
        "outcome": "crash",
        "note": f"{type(error).__name__}: {error}",
        "trace": traceback.format_exc(),
        "seconds": 0,
    }


def _empty_folders(home):
    """Return an empty working folder and an empty folder for temporary files."""
    folder, temporary = home / "case", home / "tmp"
    for place in (folder, temporary):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
    os.chdir(folder)
    tempfile.tempdir = str(temporary)
    os.environ["TMPDIR"] = str(temporary)
    return folder, temporary


def _left_over(case, temporary):
    """Return the temporary files that a case has left."""
    # A command that runs in this process keeps an empty folder until the process ends.
    return [
        place
        for place in temporary.iterdir()
        if not (case.is_command and place.is_dir() and not any(place.iterdir()))
    ]


class _Overheard:
    """A case, and the output on the standard streams while it runs."""

    def __init__(self, case, log, begun_at):
        self.__dict__.update(vars(replace(case)))
        self._log, self._begun_at = log, begun_at

    def said(self):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if not self._log.exists():
            return ""
        with open(self._log, "rb") as file:
            file.seek(self._begun_at)
            return file.read(100_000).decode(errors="replace")


def _move_streams(path):
    """Redirect the standard streams to a file."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def _tell(answers, message):
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _size(path):
    return path.stat().st_size if path.exists() else 0


def _begin_peak():
    """Reset the peak memory, if the system can; return the memory in use."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass
    return psutil.Process().memory_info().rss


def _peak():
    """Return the peak memory since the reset; without Linux, the memory in use."""
    try:
        with open("/proc/self/status") as file:
            line = next(line for line in file if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    except (OSError, StopIteration):
        return psutil.Process().memory_info().rss
