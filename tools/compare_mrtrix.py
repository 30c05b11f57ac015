"""Compare the reorientation of spherical harmonics with MRtrix's mrtransform.

    python tools/compare_mrtrix.py --out tests/diffusion/mrtransform.npz

Crossing fibres go through linear maps by ``mrtransform -reorient_fod yes``, which has
to be installed (Debian: mrtrix3), and by ours. Prints the largest difference of
amplitudes, relative to the largest amplitude, the angle between the highest peaks, and
seconds for an image; ``--out`` keeps coefficients for the tests. Then a warp of ours is
applied by ``mrtransform``, and one of ``mrregister`` by ours, on oblique and flipped
grids: the largest difference within the moving image, as a part of its range.
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
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from dipy_nn_reg.diffusion.spherical_harmonics import reorient_sh
from dipy_nn_reg.io.fields import load_mapping, save_mapping
from dipy_nn_reg.mapping.maps import displacement_to_mapping

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
        exchange(Path(folder), rng)
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


def exchange(folder, rng):
    """Print how images differ that both programs warp by the warps of each other."""
    grids, images = {}, {}
    for name, sizes, angle in (
        ("moving", [2, 2, 2], -8),
        ("static", [-2, 2.2, 1.8], 12),
    ):
        turn = Rotation.from_euler("xyz", [8, -5, angle], degrees=True).as_matrix()
        grids[name] = np.eye(4)
        grids[name][:3, :3] = turn * sizes
        grids[name][:3, 3] = -grids[name][:3, :3] @ np.array([13, 14, 12])
        images[name] = gaussian_filter(rng.random((26, 28, 24)), 2).astype(np.float32)
        nib.save(nib.Nifti1Image(images[name], grids[name]), folder / f"{name}.nii")
    displacement = gaussian_filter(rng.normal(size=(26, 28, 24, 3)), (4, 4, 4, 0))
    displacement *= 3 / np.abs(displacement).max()
    affines = {f"{name}_affine": affine for name, affine in grids.items()}
    mapping = displacement_to_mapping(displacement.astype(np.float32), **affines)
    save_mapping(folder / "ours.nii", mapping, format="mrtrix")
    command = "mrregister moving.nii static.nii -type nonlinear -quiet -force"
    command += " -nl_warp theirs.nii back.nii"
    subprocess.run(command.split(), cwd=folder, check=True)
    for name in ("ours", "theirs"):
        command = f"mrtransform moving.nii out.nii -warp {name}.nii -quiet -force"
        subprocess.run([*command.split(), "-interp", "linear"], cwd=folder, check=True)
        grid = {"moving_shape": (26, 28, 24), "moving_affine": grids["moving"]}
        mapping = load_mapping(folder / f"{name}.nii", format="mrtrix", **grid)
        warped = [
            nib.as_closest_canonical(image).get_fdata()
            for image in (
                nib.load(folder / "out.nii"),
                nib.Nifti1Image(mapping.transform(images["moving"]), grids["static"]),
                nib.Nifti1Image(inside(mapping, images["moving"]), grids["static"]),
            )
        ]
        difference = np.abs(warped[0] - warped[1])[warped[2] > 1 - 1e-6]
        part = difference.max() / np.ptp(images["moving"])
        print(f"warp, {name}: images differ by {part:.1e} at most")


def inside(mapping, moving):
    """Return 1 where all voxels that are interpolated are those of the moving image."""
    return mapping.transform(np.ones_like(moving))


if __name__ == "__main__":
    main()
