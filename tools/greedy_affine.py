r"""Affine of a pair by Greedy, in an environment of its own.

    python -m venv greedy && greedy/bin/pip install picsl_greedy
    greedy/bin/python tools/greedy_affine.py pair.npz result.npz NCC affine moments

The file holds ``moving``, ``static`` and their affines. The result is the affine from
static to moving world coordinates, and the seconds that Greedy took of the processors
without the reading of files. With "moments", the start is searched by moments of
inertia; with "headers", the positions in the headers are the start.
"""

from pathlib import Path
import sys
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np
from picsl_greedy import Greedy2D, Greedy3D
import SimpleITK as sitk

METRICS = {"NCC": "NCC {}", "NMI": "NMI"}
DEGREES = {"rigid": 6, "similarity": 7, "affine": 12}


def main():
    source, target, metric, kind, start = sys.argv[1:]
    with np.load(source) as file:
        images = {n: _image(file[n], file[f"{n}_affine"]) for n in ("moving", "static")}
    begin = process_time()
    affine = _align(images, metric, kind, start)
    np.savez(target, affine=affine, seconds=process_time() - begin)


def _align(images, metric, kind, start):
    ndim = images["static"].GetDimension()
    greedy = Greedy3D() if ndim == 3 else Greedy2D()
    pair = f"-threads 2 -i static moving -m {METRICS[metric]}"
    pair = pair.format("x".join("2" * ndim))
    first = "-ia-identity"
    with TemporaryDirectory() as folder:
        if start == "moments":
            file = Path(folder) / "first.mat"
            greedy.execute(f"{pair} -moments 2 -det 1 -o {file}", **images)
            first = f"-ia {file}"
        greedy.execute(
            f"{pair} -a -dof {DEGREES[kind]} -n 100x50x10 {first} -o last",
            **images,
            last=None,
        )
    return np.array(greedy["last"])


def _image(values, affine):
    """Return an image of SimpleITK, whose first two world axes are reversed."""
    ndim = values.ndim
    affine = np.diag([-1, -1, 1, 1][:ndim] + [1]) @ affine
    sizes = np.linalg.norm(affine[:-1, :-1], axis=0)
    image = sitk.GetImageFromArray(values.astype(np.float32).T)
    image.SetSpacing(sizes.tolist())
    image.SetDirection((affine[:-1, :-1] / sizes).ravel().tolist())
    image.SetOrigin(affine[:-1, -1].tolist())
    return image


if __name__ == "__main__":
    main()
