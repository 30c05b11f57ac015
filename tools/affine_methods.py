"""Affines of one pair, by this package and by others.

A method takes the moving and the static image, each with its affine, and the metric for
Greedy. It returns the affine from static to moving world coordinates, and the time of
processors, without files.
"""

from pathlib import Path
import resource
import subprocess
import tempfile

from nibabel.affines import voxel_sizes
import numpy as np

from dipy_nn_reg.intensities import normalize
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.prealign import estimate_prealign
from dipy_nn_reg.mapping.regridding import read_on_grid

# Number of voxels along an axis for DIPY's affine, which takes minutes with more of
# them; this package called it so before it had an affine of its own.
DIPY_VOXELS = 64


def ours(moving, static, metric):
    begin = _seconds()
    alignment = estimate_prealign(
        moving[0],
        static[0],
        moving_affine=moving[1],
        static_affine=static[1],
        kind="affine",
    )
    return alignment.affine, _seconds() - begin


def dipy(moving, static, metric):
    from dipy.align.imaffine import (
        AffineRegistration,
        MutualInformationMetric,
        transform_centers_of_mass,
    )
    from dipy.align.transforms import (
        AffineTransform3D,
        RigidTransform3D,
        TranslationTransform3D,
    )

    begin = _seconds()
    moving, static = _coarse(*moving), _coarse(*static)
    registration = AffineRegistration(
        metric=MutualInformationMetric(nbins=32, sampling_proportion=None),
        level_iters=[1000, 200, 50],
        sigmas=[3.0, 1.0, 0.0],
        factors=[4, 2, 1],
        verbosity=0,
    )
    affine = transform_centers_of_mass(
        static[0], static[1], moving[0], moving[1]
    ).affine
    for kind in (TranslationTransform3D, RigidTransform3D, AffineTransform3D):
        affine = registration.optimize(
            static[0],
            moving[0],
            kind(),
            None,
            starting_affine=affine,
            static_grid2world=static[1],
            moving_grid2world=moving[1],
        ).affine
    return np.asarray(affine), _seconds() - begin


def _coarse(values, affine):
    """Return an image on voxels of which 64 cover its longest axis."""
    size = max(voxel_sizes(affine) * values.shape) / DIPY_VOXELS
    grid = Grid(values.shape, affine).with_voxel_size(size)
    return read_on_grid(normalize(values), affine, [], grid), grid.affine


def ants(moving, static, metric):
    import ants

    images = []
    for values, affine in (static, moving):
        # ANTs counts its first two world axes the other way round.
        affine = np.diag([-1.0, -1, 1, 1]) @ affine
        sizes = voxel_sizes(affine)
        images.append(
            ants.from_numpy(
                values.astype(np.float32),
                origin=affine[:3, 3].tolist(),
                spacing=sizes.tolist(),
                direction=affine[:3, :3] / sizes,
            )
        )
    begin = _seconds()
    done = ants.registration(*images, type_of_transform="Affine")
    seconds = _seconds() - begin
    transform = ants.read_transform(done["fwdtransforms"][0])
    corners = np.concatenate([np.zeros((1, 3)), np.eye(3)])
    moved = np.array([transform.apply_to_point(point.tolist()) for point in corners])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = (moved[1:] - moved[0]).T, moved[0]
    flip = np.diag([-1.0, -1, 1, 1])
    return flip @ affine @ flip, seconds


def greedy(python, moving, static, metric):
    return run_greedy(python, moving, static, metric, "affine", "moments")[:2]


def run_greedy(python, moving, static, *how):
    """Return the affine that Greedy finds, its seconds and no note."""
    script = Path(__file__).with_name("greedy_affine.py")
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / name) for name in ("pair.npz", "result.npz")]
        images = {"moving": moving[0], "static": static[0]}
        affines = {"moving_affine": moving[1], "static_affine": static[1]}
        np.savez(files[0], **images, **affines)
        command = [python, str(script), *files, *how]
        subprocess.run(command, check=True, capture_output=True)
        with np.load(files[1]) as file:
            return file["affine"], float(file["seconds"]), ""


def _seconds():
    """Return the time of all threads of this process and of its children."""
    users = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, users))


METHODS = {"ours": ours, "DIPY": dipy, "ANTs": ants}
