"""Register two arrays by a peer; runs in an environment of the peers.

    python -m venv peers
    peers/bin/pip install picsl_greedy torch==2.13.0 fireants convexAdam
    peers/bin/python tools/peer_field.py Greedy pair.npz field.npz "1.5vox 0.5vox"

``pair.npz`` holds ``moving`` and ``static``, on one grid of voxels of 1 mm. The last
argument is the smoothness: of Greedy its option ``-s``, of FireANTs the deviations of
the Gaussians of the gradient and of the field, of ConvexAdam ``lambda_weight``.
``field.npz`` gets ``displacement``, in voxels, and ``seconds``.
"""

from pathlib import Path
import sys
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import SimpleITK as sitk

COMMAND = "-d 3 -m NCC 2x2x2 -n 100x50x20 -s {} -i static moving -o field -threads 2"


def greedy(moving, static, smoothness):
    from picsl_greedy import Greedy3D

    images = {"moving": _to_sitk(moving), "static": _to_sitk(static)}
    registration = Greedy3D()
    start = perf_counter()
    registration.execute(COMMAND.format(smoothness), **images, field=None)
    return _from_sitk(registration["field"]), perf_counter() - start


def fireants(moving, static, smoothness):
    from fireants.io.image import BatchedImages, Image
    from fireants.registration.greedy import GreedyRegistration

    images = [
        BatchedImages([Image(_to_sitk(array), device="cpu")])
        for array in (static, moving)
    ]
    gradient_sigma, field_sigma = map(float, smoothness.split())
    start = perf_counter()
    registration = GreedyRegistration(
        [4, 2, 1],
        [100, 50, 25],
        *images,
        cc_kernel_size=5,
        smooth_grad_sigma=gradient_sigma,
        smooth_warp_sigma=field_sigma,
        progress_bar=False,
    )
    registration.optimize()
    seconds = perf_counter() - start
    with TemporaryDirectory() as folder:
        path = str(Path(folder, "field.nii.gz"))
        registration.save_as_ants_transforms([path])
        return _from_sitk(sitk.ReadImage(path)), seconds


def convex_adam(moving, static, smoothness):
    from convexAdam.convex_adam_MIND import convex_adam_pt
    import torch

    start = perf_counter()
    displacement = convex_adam_pt(
        static,
        moving,
        lambda_weight=float(smoothness),
        dtype=torch.float32,
        device=torch.device("cpu"),
    )
    return np.asarray(displacement), perf_counter() - start


METHODS = {"Greedy": greedy, "FireANTs": fireants, "ConvexAdam": convex_adam}


def _to_sitk(array):
    return sitk.GetImageFromArray(array)


def _from_sitk(image):
    # SimpleITK has the axes in reverse order.
    return sitk.GetArrayFromImage(image)[..., ::-1]


def main(method, source, target, smoothness):
    with np.load(source) as file:
        images = (file[name].astype(np.float32) for name in ("moving", "static"))
        displacement, seconds = METHODS[method](*images, smoothness)
    np.savez(target, displacement=displacement.astype(np.float32), seconds=seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
