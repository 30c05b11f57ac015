"""Compare the reorientation of spherical harmonics with MRtrix's mrtransform.

    python tools/compare_mrtrix.py --out tests/diffusion/mrtransform.npz

Crossing fibres go through linear maps by ``mrtransform -reorient_fod yes``, which has
to be installed (Debian: mrtrix3), and by ours. Prints the largest difference of
amplitudes, relative to the largest amplitude, the angle between the highest peaks, and
seconds for an image; ``--out`` keeps coefficients for the tests.
"""

from argparse import ArgumentParser
from pathlib import Path
import subprocess
from tempfile import TemporaryDirectory
from time import perf_counter

from dipy.core.geometry import cart2sphere
from dipy.reconst.shm import real_sh_tournier
import nibabel as nib
from nibabel.affines import apply_affine
import numpy as np

from dipy_nn_reg.diffusion.spherical_harmonics import reorient_sh

ORDER, MAPS = 8, 12
SHAPE = (6, 6, 6)
AFFINE = np.diag([2.0, 2, 2, 1])
LARGE = (24, 24, 16)


def main():
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    before = np.array([crossing(rng) for _ in range(MAPS)])
    linear = np.array([random_map(rng) for _ in range(MAPS)])
    found = {}
    with TemporaryDirectory() as folder:
        for name, modulate in (("after", False), ("modulated", True)):
            found[name] = np.array(
                [
                    mrtransform(Path(folder), one, matrix, modulate)
                    for one, matrix in zip(before, linear)
                ]
            )
            ours = reorient_sh(before, linear, basis="tournier07", modulate=modulate)
            report(name, ours, found[name], rng)
        time_both(Path(folder), before[0], linear[0])
    if arguments.out:
        np.savez_compressed(arguments.out, before=before, linear=linear, **found)


def harmonics(directions):
    _, theta, phi = cart2sphere(*directions.T)
    rows, _, orders = real_sh_tournier(ORDER, theta, phi, legacy=False)
    return rows, orders


def crossing(rng):
    """Return the coefficients of two narrow lobes."""
    directions = rng.normal(size=(2, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rows, orders = harmonics(directions)
    lobes = rows * np.exp(-0.02 * orders * (orders + 1))
    return lobes[0] + rng.uniform(0.4, 1) * lobes[1]


def random_map(rng):
    """Return a linear map that turns, shears and stretches."""
    return np.eye(3) + rng.normal(scale=0.15, size=(3, 3))


def mrtransform(folder, coefficients, linear, modulate, shape=SHAPE):
    """Return the coefficients in the middle of an image after MRtrix's command."""
    image = np.broadcast_to(coefficients, (*shape, len(coefficients)))
    nib.save(nib.Nifti1Image(image.astype(np.float32), AFFINE), folder / "fod.nii")
    points = apply_affine(AFFINE, np.moveaxis(np.indices(shape), 0, -1))
    middle = tuple(size // 2 for size in shape)
    # A warp of MRtrix holds where each voxel of the result is read.
    read = (points - points[middle]) @ np.linalg.inv(linear).T + points[middle]
    nib.save(nib.Nifti1Image(read.astype(np.float32), AFFINE), folder / "warp.nii")
    command = "mrtransform fod.nii out.nii -warp warp.nii -reorient_fod yes -force"
    command += " -quiet" + (" -modulate fod" if modulate else "")
    subprocess.run(command.split(), cwd=folder, check=True)
    return nib.load(folder / "out.nii").get_fdata()[middle]


def report(name, ours, theirs, rng):
    directions = rng.normal(size=(20000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rows, _ = harmonics(directions)
    one, other = ours @ rows.T, theirs @ rows.T
    difference = np.abs(one - other).max(axis=1) / np.abs(other).max(axis=1)
    peaks = directions[one.argmax(axis=1)], directions[other.argmax(axis=1)]
    cosine = np.abs((peaks[0] * peaks[1]).sum(axis=1)).clip(0, 1)
    print(
        f"{name}: amplitudes differ by {difference.max():.4f} at most, "
        f"{difference.mean():.4f} on average; peaks by "
        f"{np.degrees(np.arccos(cosine)).max():.2f} degrees"
    )


def time_both(folder, coefficients, linear):
    begin = perf_counter()
    mrtransform(folder, coefficients, linear, False, shape=LARGE)
    theirs = perf_counter() - begin
    many = np.broadcast_to(coefficients, (np.prod(LARGE), len(coefficients)))
    begin = perf_counter()
    reorient_sh(many, np.broadcast_to(linear, (len(many), 3, 3)), basis="tournier07")
    ours = perf_counter() - begin
    print(f"{LARGE}: MRtrix, with files, {theirs:.1f} s; ours, in memory, {ours:.1f} s")


if __name__ == "__main__":
    main()
