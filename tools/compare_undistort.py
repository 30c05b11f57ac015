r"""Compare the correction of EPI distortion: ours and PyHySCO's, of the same phantoms.

    python tools/compare_undistort.py --hysco hysco/bin/python --out doc/undistort.csv

``tools/peer_distortion.py`` says how to make the environment of PyHySCO. Phantoms of
96 x 96 x 60 voxels are distorted by smooth fields of up to 8 voxels along the second
axis, with pile-up, and noise is added. The error is the mean distance in voxels from
the known field in the object; the difference left is that of both images, corrected by
our function with the field of each method, as a percentage of that before. Both
methods run in processes of their own, one after the other; the first run of a method
and a later one are timed, without files.
"""

from argparse import ArgumentParser
import os
from pathlib import Path
import subprocess
import sys
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import numpy as np

from dipy_nn_reg.data.distortions import distort, make_distortion
from dipy_nn_reg.data.phantoms import make_phantoms
from dipy_nn_reg.diffusion.correction import correct_distortion
from dipy_nn_reg.io.tables import write_csv

SHAPE, AXIS = (96, 96, 60), 1
PEER = Path(__file__).with_name("peer_distortion.py")
# Weights of the smoothness: ours by a factor, that of PyHySCO (default 300).
OURS, THEIRS = (1.0,), (300.0, 30.0)


def main():
    options = _parse_arguments()
    if options.estimate:
        return _estimate(*options.estimate)
    rows = []
    methods = [("dipy_nn_reg", [sys.executable, __file__, "--estimate"], OURS)]
    if options.hysco:
        methods.append(("PyHySCO", [options.hysco, str(PEER)], THEIRS))
    for noise in options.noise:
        cases = [_case(seed, noise) for seed in range(options.cases)]
        for name, command, weights in methods:
            for weight in weights:
                scores = [_score(case, [*command], weight) for case in cases]
                error, worst, left, first, later, cpu = np.mean(scores, axis=0)
                row = {"noise": noise, "method": name, "weight": f"{weight:g}"}
                row |= {"error voxels": f"{error:.3f}", "95 %": f"{worst:.3f}"}
                row |= {"difference left %": f"{left:.1f}"}
                row |= {"first s": f"{first:.2f}", "later s": f"{later:.2f}"}
                row["later CPU s"] = f"{cpu:.2f}"
                rows.append(row)
                print(row, f"load {os.getloadavg()[0]:.1f}", flush=True)
    if options.out:
        write_csv(rows, options.out)


def _case(seed, noise):
    """Return where the object is, its field, and both distorted images."""
    images, labels = make_phantoms(1, shape=SHAPE, seed=seed)
    field = make_distortion(SHAPE, seed=seed)
    rng = np.random.default_rng(seed)
    pair = []
    for sign in (1, -1):
        image = distort(images[0], field, axis=AXIS, sign=sign)
        real, imaginary = noise * rng.normal(size=(2, *SHAPE))
        pair.append(np.hypot(image + real, imaginary).astype(np.float32))
    return labels[0] > 0, field, pair


def _score(case, command, weight):
    """Return mean error, its 95th percentile, difference left in %, and seconds."""
    inside, field, pair = case
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "pair.npz"), Path(folder, "field.npz")
        np.savez(source, up=pair[0], down=pair[1])
        arguments = [str(source), str(target), str(weight)]
        subprocess.run([*command, *arguments], check=True, stdout=subprocess.DEVNULL)
        with np.load(target) as file:
            found, seconds = file["field"], [*file["seconds"], file["cpu"]]
    errors = np.abs(found - field)[inside]
    corrected = [
        correct_distortion(image, found, axis=AXIS, sign=sign)
        for image, sign in zip(pair, (1, -1))
    ]
    before, after = (np.abs(a - b)[inside].mean() for a, b in (pair, corrected))
    left = 100 * after / before
    return errors.mean(), np.percentile(errors, 95), left, *seconds


def _estimate(source, target, weight):
    """Estimate a field by this package, twice, as the peer does."""
    from dipy_nn_reg.diffusion.distortion import estimate_distortion

    with np.load(source) as file:
        up, down = file["up"], file["down"]
    seconds = []
    for _ in range(2):
        start, cpu = perf_counter(), process_time()
        field = estimate_distortion(up, down, axis=AXIS, smoothness=float(weight))
        seconds.append(perf_counter() - start)
        cpu = process_time() - cpu
    np.savez(target, field=field, seconds=seconds, cpu=cpu)


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hysco", help="Python of an environment with PyHySCO")
    parser.add_argument("--out", type=Path, help="table to write, in CSV")
    parser.add_argument("--cases", type=int, default=1)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.02])
    parser.add_argument("--estimate", nargs=3, help="files and weight of a process")
    return parser.parse_args()


if __name__ == "__main__":
    main()
