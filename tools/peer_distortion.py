"""Estimate a distortion by PyHySCO; runs in an environment of its own.

    python -m venv hysco
    hysco/bin/pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
    hysco/bin/pip install PyHySCO==0.0.4
    hysco/bin/python tools/peer_distortion.py pair.npz field.npz 300

``pair.npz`` holds ``up`` and ``down``, in 3D, with phase encoding along the second axis
and voxels of 1 mm. The last argument is the weight of the smoothness, ``alpha``, whose
default in PyHySCO is 300. All else is as its command has it. ``field.npz`` gets
``field``, in voxels, ``seconds`` of two runs, and ``cpu``, the seconds of processors of
the second one, without files.
"""

from pathlib import Path
import sys
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

from EPI_MRI.EPIMRIDistortionCorrection import DataObject, EPIMRIDistortionCorrection
from EPI_MRI.utils import m_plus
import nibabel as nib
import numpy as np
from optimization.GaussNewton import GaussNewton
import torch

AXIS, BETA, MAX_STEPS, RUNS = 1, 1e-4, 50, 2


def main(source, target, alpha):
    with np.load(source) as file:
        pair = [file[name].astype(np.float32) for name in ("up", "down")]
    seconds = []
    with TemporaryDirectory() as folder:
        paths = [str(Path(folder, f"{name}.nii.gz")) for name in ("up", "down")]
        for path, image in zip(paths, pair):
            nib.save(nib.Nifti1Image(image, np.eye(4)), path)
        for _ in range(RUNS):
            data = DataObject(*paths, AXIS + 1, device="cpu", dtype=torch.float32)
            start, cpu = perf_counter(), process_time()
            cost = EPIMRIDistortionCorrection(data, alpha=float(alpha), beta=BETA)
            first = cost.initialize(blur_result=True)
            descent = GaussNewton(cost, max_iter=MAX_STEPS, path=folder + "/log")
            found = descent.run_correction(first)
            seconds.append(perf_counter() - start)
            cpu = process_time() - cpu
    # The field lies on the faces of voxels along the last axis.
    faces = found.detach().reshape(list(m_plus(data.m))).numpy()
    field = (faces[..., 1:] + faces[..., :-1]) / 2
    field = torch.tensor(field).permute(data.p).numpy()
    np.savez(target, field=field.astype(np.float32), seconds=seconds, cpu=cpu)


if __name__ == "__main__":
    main(*sys.argv[1:])
