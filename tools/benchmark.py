r"""Benchmark of time and memory on one machine, compared with other packages (peers).

    python -m venv peers
    peers/bin/pip install torch==2.13.0 voxelmorph==0.3.4 monai==1.6.1
    python tools/benchmark.py --peers peers/bin/python --folder MNIST \
        --table doc/benchmark.csv

Each figure comes from a separate process. Jobs of the peers run in their own
environment, in turns with ours, and all jobs run ``--rounds`` times. A row holds the
medians of the rounds, and the ratio of the peer's to ours. A round took eight minutes
on two cores.
"""

from argparse import ArgumentParser
import json
import os
from pathlib import Path
from statistics import median
import subprocess
import sys
from tempfile import TemporaryDirectory

from tqdm import tqdm

from dipy_nn_reg.io.tables import write_csv

TOOLS = Path(__file__).parent
LARGE, SMALL, MEDIUM = "160x192x224", "80x96x80", "96x112x96"
# Beginnings of the names of the jobs in the environment of the peers.
PEERS = ("grid_sample", "voxelmorph", "monai")
# Comparisons: a name, a job of ours, and jobs of others. A job is a function of
# benchmark_ours.py or benchmark_peers.py with its arguments.
COMPARISONS = [
    *(
        (f"warp {size}", f"warp:{size}", [f"{job}:{size}" for job in peers])
        for size, peers in (
            ("32x256x256", ["grid_sample"]),
            (MEDIUM, ["grid_sample", "map_coordinates", "dipy"]),
            (LARGE, ["grid_sample", "map_coordinates", "dipy"]),
        )
    ),
    *(
        (
            f"warp {size}, and its gradient in the field",
            f"warp_gradient:{size}",
            [f"grid_sample_gradient:{size}"],
        )
        for size in ("32x256x256", MEDIUM, LARGE)
    ),
    *(
        (
            f"{job} {size}, {precision}",
            f"{job}:{size}:{precision}",
            [f"voxelmorph_{job}:{size}", f"monai_{job}:{size}"],
        )
        for job in ("predict", "train")
        for size in (SMALL, LARGE)
        for precision in ("float32", "bfloat16")
    ),
    ("lncc with window 3, and with 9", "lncc:3", ["lncc:9"]),
    *(
        (f"predict {n}x{n}x{n}", f"predict:{n}x{n}x{n}:float32", [])
        for n in (64, 96, 128, 192, 256)
    ),
    (f"first prediction in a process, {LARGE}", f"first:{LARGE}", []),
    ("a digit of MNIST, until above SyN", "mnist:{folder}", []),
]


def main():
    options = _parse_arguments()
    with TemporaryDirectory() as folder:
        runs = {}
        jobs = _all_jobs(options)
        for _ in range(options.rounds):
            for job in tqdm(jobs, disable=None):
                runs.setdefault(job, []).append(_run(job, options.peers, folder))
    rows = []
    for name, ours, peers in _chosen(options):
        for peer in peers or [None]:
            rows.append(_row(name, runs[ours], peer, runs.get(peer)))
            print(rows[-1], flush=True)
    if options.table:
        write_csv(rows, options.table)


def _chosen(options):
    """Return the chosen comparisons, with the folder of MNIST filled in."""
    return [
        (name, ours.format(folder=options.folder), peers if options.peers else [])
        for name, ours, peers in COMPARISONS
        if options.only in name and (options.folder or "{folder}" not in ours)
    ]


def _all_jobs(options):
    """Return each job once, those of peers next to ours."""
    jobs = [j for _, ours, peers in _chosen(options) for j in (ours, *peers)]
    return list(dict.fromkeys(jobs))


def _run(job, peers, folder):
    """Run a job in a process; return what it prints, or why it failed."""
    name, *arguments = job.split(":")
    python, script = sys.executable, "benchmark_ours.py"
    if name.startswith(PEERS):
        python, script = peers, "benchmark_peers.py"
    command = [python, TOOLS / script, name, *arguments]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "BENCHMARK": folder}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def _row(name, ours, peer, theirs):
    row = {"work": name, **_medians(ours)}
    names = ("peer", "peer s", "peer GiB", "times faster", "memory of the peer's")
    if peer is None:
        return {**row, **dict.fromkeys(names, "")}
    errors = [one["error"] for one in [*ours, *theirs] if "error" in one]
    peer = peer.split(":")[0]
    if errors:
        return {
            **row,
            **dict(zip(names, (peer, f"fails: {errors[0][:60]}", "", "", ""))),
        }
    other = _medians(theirs)
    # Ratios are taken within a round: the machine may be slower in another one.
    times = median(t["seconds"] / o["seconds"] for o, t in zip(ours, theirs))
    memory = median(o["peak"] / t["peak"] for o, t in zip(ours, theirs))
    return {
        **row,
        **dict(zip(names, (peer, *other.values(), f"{times:.1f}", f"{memory:.2f}"))),
    }


def _medians(runs):
    if any("error" in run for run in runs):
        return {"s": "fails", "GiB": ""}
    seconds, peak = (median(run[name] for run in runs) for name in ("seconds", "peak"))
    return {"s": f"{seconds:.4g}", "GiB": f"{peak:.2f}"}


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peers", help="Python of the environment of the peers")
    parser.add_argument("--folder", help="folder of MNIST's IDX files")
    parser.add_argument("--only", default="", help="part of the name of the work")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--table", help="CSV file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
