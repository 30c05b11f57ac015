"""Register two arrays by Greedy; runs in an environment of its own.

    python -m venv greedy && greedy/bin/pip install picsl_greedy
    greedy/bin/python tools/greedy_field.py pair.npz field.npz "1.5vox 0.5vox"

``pair.npz`` holds ``moving`` and ``static``, on one grid of voxels of 1 mm. The last
argument is Greedy's smoothness (its option ``-s``). ``field.npz`` gets
``displacement``, in voxels, and ``seconds``.
"""

import sys
from time import perf_counter

import numpy as np
from picsl_greedy import Greedy3D
import SimpleITK as sitk

COMMAND = "-d 3 -m NCC 2x2x2 -n 100x50x20 -s {} -i static moving -o field -threads 2"


def main(source, target, smoothness):
    with np.load(source) as file:
        images = {
            name: sitk.GetImageFromArray(file[name].astype(np.float32))
            for name in ("moving", "static")
        }
    greedy = Greedy3D()
    start = perf_counter()
    greedy.execute(COMMAND.format(smoothness), **images, field=None)
    seconds = perf_counter() - start
    # SimpleITK has the axes in reverse order.
    displacement = sitk.GetArrayFromImage(greedy["field"])[..., ::-1]
    np.savez(target, displacement=displacement.astype(np.float32), seconds=seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
