"""Time cohorts of known deformations, by each engine, and survive a kill.

    python tools/bench_cohort.py --brains BRAINS --pairs 40 --out doc/cohorts.csv
    python tools/bench_cohort.py --brains BRAINS --pairs 1000 --study processes

Pairs are made from brains (malf_dev_2mm.npz) and smooth displacements of up to 3
voxels; they are written to a temporary folder. The first form registers them by each
engine, and writes a table: the median of the seconds of a pair, pairs an hour at that
rate, what the engine adds to a pair, and the peak memory of a process in the eleventh
row and in the last. The second form is a study: one file is cut
short, the command (or one worker of Dask) is killed after half of the pairs, and the
command is run again.
"""

from argparse import ArgumentParser
import csv
import os
from pathlib import Path
import subprocess
import sys
from tempfile import TemporaryDirectory
from time import perf_counter, sleep

import nibabel as nib
import numpy as np
import psutil
from scipy.ndimage import gaussian_filter, map_coordinates
from tqdm import tqdm

COMMAND = Path(sys.executable).with_name("dipy_nn_reg_cohort")
PRETRAINED = ["--model_file", "pretrained"]
ROWS = [
    ("1 process", ["--n_jobs", "1"]),
    ("2 processes", ["--n_jobs", "2"]),
    ("Dask, 2 workers", None),
    (
        "2 processes, from the pretrained model",
        ["--n_jobs", "2", *"--model_file pretrained".split()],
    ),
]
WARM = 10
# Bytes that the allocator of a worker may keep.
KEPT = str(4 * 1024**3)


def main():
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--brains", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--study", choices=["processes", "dask"])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        folder = Path(folder)
        table = make_pairs(arguments.brains, arguments.pairs, folder)
        if arguments.study:
            study(table, folder, arguments)
            return
        rows = [bench(name, options, table, folder) for name, options in ROWS]
    with open(arguments.out, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def make_pairs(path, number, folder):
    """Write brains, deformed ones, and a table of pairs; return the table."""
    file, rng = np.load(path), np.random.default_rng(0)
    images, affine = file["images"], file["affine"]
    grid = np.indices(images.shape[1:]).astype(np.float32)
    lines = ["id\tstatic\tmoving"]
    for index, image in enumerate(images):
        nib.save(nib.Nifti1Image(image, affine), folder / f"static{index:02d}.nii.gz")
    for index in tqdm(range(number), desc="Making pairs"):
        coarse = rng.normal(size=(3, *(size // 8 for size in images.shape[1:])))
        field = np.stack(
            [map_coordinates(gaussian_filter(c, 1), grid / 8, order=1) for c in coarse]
        )
        field *= 3 / np.sqrt((field**2).sum(0)).max()
        person = index % len(images)
        made = map_coordinates(images[person].astype(np.float32), grid + field, order=1)
        moving = nib.Nifti1Image(np.round(made).astype(np.uint8), affine)
        nib.save(moving, folder / f"moving{index:04d}.nii.gz")
        lines.append(
            f"pair{index:04d}\tstatic{person:02d}.nii.gz\tmoving{index:04d}.nii.gz"
        )
    table = folder / "pairs.tsv"
    table.write_text("\n".join(lines) + "\n")
    return table


def bench(name, options, table, folder):
    """Return the row of one engine."""
    out = folder / name.replace(" ", "_")
    with _cluster(options is None) as scheduler:
        options = ["--scheduler", scheduler] if options is None else options
        begin = perf_counter()
        run(table, out, options)
        seconds = perf_counter() - begin
    rows = read(out)
    workers = 1 if name.startswith("1") else 2
    of_pair = np.array([float(row["seconds"]) for row in rows])
    # Not the mean: the first pairs of each process wait for compiled programs.
    warm = np.median(of_pair)
    rest = seconds - of_pair.sum() / workers
    return {
        "engine": name,
        "pairs": len(rows),
        "seconds": f"{seconds:.0f}",
        "median_seconds_of_a_pair": f"{warm:.2f}",
        "pairs_an_hour": f"{workers * 3600 / warm:.0f}",
        "engine_seconds_a_pair": f"{rest / len(rows):.2f}",
        "peak_mib_row_11": rows[WARM]["peak_mib"],
        "peak_mib_last_row": rows[-1]["peak_mib"],
    }


def study(table, folder, arguments):
    """Cut a file short, kill the cohort in the middle, and run it again."""
    damaged = folder / f"moving{2 * arguments.pairs // 3:04d}.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    out, begin = folder / "study", perf_counter()
    with _cluster(arguments.study == "dask") as scheduler:
        options = ["--scheduler", scheduler] if scheduler else ["--n_jobs", "2"]
        options += PRETRAINED
        process = subprocess.Popen([COMMAND, table, "--out_dir", out, *options])
        while len(read(out)) < arguments.pairs // 2:
            sleep(1)
        if scheduler:
            victim = next(p for p in psutil.process_iter(["cmdline"]) if _is_worker(p))
            victim.kill()
            process.wait()
        else:
            process.kill()
            process.wait()
            print(f"killed after {perf_counter() - begin:.0f} s, {len(read(out))} rows")
            run(table, out, options)
    rows = read(out)
    failed = [row for row in rows if row["status"] == "failed"]
    peaks = {n: rows[n]["peak_mib"] for n in (50, len(rows) - 1) if n < len(rows)}
    print(f"{perf_counter() - begin:.0f} s, {len(rows)} rows, peak MiB {peaks}")
    print("failed:", [(row["id"], row["error"]) for row in failed])


class _cluster:
    """A Dask cluster of two processes, or nothing."""

    def __init__(self, wanted):
        self.wanted, self.processes = wanted, []

    def __enter__(self):
        if not self.wanted:
            return None
        self.folder = TemporaryDirectory()
        file = Path(self.folder.name) / "scheduler.json"
        dask = [Path(sys.executable).with_name("dask")]
        scheduler = [*dask, "scheduler", "--scheduler-file", file, "--port", "0"]
        worker = [*dask, "worker", "--scheduler-file", file, "--nworkers", "2"]
        worker += ["--nthreads", "1", "--no-dashboard"]
        variables = dict.fromkeys(
            ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
        )
        # Dask would have the allocator give memory back after every step of a descent.
        variables["MALLOC_TRIM_THRESHOLD_"] = variables["MALLOC_MMAP_THRESHOLD_"] = KEPT
        # Its profiles of an hour would be most of what the memory of a worker grows by.
        variables["DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED"] = "False"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        for command in (scheduler, worker):
            env = os.environ | variables
            self.processes.append(subprocess.Popen(command, env=env, **quiet))
        while not file.exists():
            sleep(0.2)
        sleep(5)
        return str(file)

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
            process.wait()


def _is_worker(process):
    command = " ".join(process.info["cmdline"] or [])
    return "spawn_main" in command and any(
        "dask" in " ".join(parent.cmdline()) for parent in process.parents()
    )


def run(table, out, options):
    """Run the command, which ends with status 1 if a pair failed."""
    subprocess.run([COMMAND, table, "--out_dir", out, *options], check=False)


def read(out):
    """Return the rows of a cohort that have been written."""
    path = out / "cohort.tsv"
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


if __name__ == "__main__":
    main()
