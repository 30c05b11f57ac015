"""Table of the seconds that the command takes in fresh processes, beside peers.

    python tools/time_command.py native STATIC MOVING --greedy /tmp/greedy/bin/python

The first run has an empty cache of compiled programs, the others find what it wrote.
Greedy (``pip install picsl_greedy``, in an environment of its own) and SyNQuick
(antspyx) run after each of ours on the same files, if they are installed, so that all
of them see the same load. Rows are appended to ``doc/times_command.csv``.
"""

import argparse
import csv
from importlib.util import find_spec
import os
from pathlib import Path
import resource
import subprocess
import sys
import tempfile
from time import perf_counter

TABLE = Path(__file__).parents[1] / "doc" / "times_command.csv"
COLUMNS = ("pair", "program", "cache", "wall_s", "cpu_s", "load", "cores")
COMMAND = "import sys; sys.argv[0] = {!r}; from {} import run; run()"
OURS = COMMAND.format("dipy_nn_reg_register", "dipy_nn_reg.workflows.cli")
# Affine and field with the settings of its documentation, for images anywhere.
GREEDY = """
import sys
from picsl_greedy import Greedy3D
static, moving, out = sys.argv[1:]
run = Greedy3D().execute
pair = f"-threads 2 -i {static} {moving}"
run(f"-d 3 -a -dof 12 -ia-image-centers -n 100x50x10 -m NMI {pair} -o {out}/affine.mat")
run(f"-d 3 -n 100x50x10 -m NCC 2x2x2 {pair} -it {out}/affine.mat -o {out}/field.nii.gz")
run(f"-d 3 -threads 2 -rf {static} -rm {moving} {out}/warped.nii.gz "
    f"-r {out}/field.nii.gz {out}/affine.mat")
"""
SYN_QUICK = """
import sys
import ants
static, moving, out = sys.argv[1:]
found = ants.registration(
    ants.image_read(static), ants.image_read(moving),
    "antsRegistrationSyNQuick[s]", outprefix=f"{out}/",
)
ants.image_write(found["warpedmovout"], f"{out}/warped.nii.gz")
"""


def seconds_of(arguments, **environment):
    """Return wall and CPU seconds of a process, and the load when it started."""
    load, start = os.getloadavg()[0], perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {
        **os.environ,
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "2",
    } | environment
    subprocess.run(arguments, check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": perf_counter() - start, "cpu_s": cpu, "load": load}


def runs(options):
    """Yield what is run, in order: program, state of the cache, and arguments."""
    for i in range(options.times + 1):
        ours = sys.executable, "-c", OURS, *options.images, "--out_dir"
        yield "dipy_nn_reg", "empty" if i == 0 else "filled", ours, ()
        yield "dipy_nn_reg --no_report", "filled", ours, ("--no_report",)
        if i > 0 and options.greedy:
            yield "Greedy", "", (options.greedy, "-c", GREEDY, *options.images), ()
        if i > 0 and find_spec("ants"):
            yield "SyNQuick", "", (sys.executable, "-c", SYN_QUICK, *options.images), ()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pair", help="name of the pair in the table")
    parser.add_argument("images", nargs=2, metavar="STATIC MOVING")
    parser.add_argument("--times", type=int, default=2, help="runs with a filled cache")
    parser.add_argument("--greedy", help="interpreter of an environment with Greedy")
    options = parser.parse_args()
    is_new = not TABLE.exists()
    with TABLE.open("a", newline="") as file, tempfile.TemporaryDirectory() as cache:
        table = csv.DictWriter(file, COLUMNS)
        if is_new:
            table.writeheader()
        for program, state, arguments, more in runs(options):
            with tempfile.TemporaryDirectory() as out:
                row = seconds_of(
                    [*arguments, out, *more], DIPY_NN_REG_COMPILE_CACHE=cache
                )
            row = {name: f"{value:.1f}" for name, value in row.items()}
            row |= {"pair": options.pair, "program": program, "cache": state}
            row["cores"] = len(os.sched_getaffinity(0))
            table.writerow(row)
            file.flush()
            print(row, flush=True)


if __name__ == "__main__":
    main()
