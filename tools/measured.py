"""Measurement of a job of the benchmark, in any environment."""

import json
import resource
from statistics import median
import sys
from time import perf_counter


def parse_shape(text):
    """Return "80x96x80" as a tuple of int."""
    return tuple(int(size) for size in text.split("x"))


def measure(function, *, times=5, warm=1):
    """Return the median time of a call in seconds, after ``warm`` uncounted calls."""
    for _ in range(warm):
        function()
    seconds = []
    for _ in range(times):
        start = perf_counter()
        function()
        seconds.append(perf_counter() - start)
    return median(seconds)


def run_job(jobs):
    """Run the job that the command line names; print its time and peak memory."""
    name, *arguments = sys.argv[1:]
    seconds = jobs[name](*arguments)
    users = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak = max(resource.getrusage(user).ru_maxrss for user in users) / 2**20
    print(json.dumps({"seconds": seconds, "peak": peak}))
