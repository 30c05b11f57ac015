r"""Compare affines: ours, DIPY's, ANTs' and Greedy's, of the same pairs.

    python tools/compare_affines.py --data data --greedy greedy/bin/python \
        --table doc/affines.csv

``data`` holds the folders malf and sri24. The images are within reach of every method:
turned by up to 15 degrees, shifted by up to 10 mm and scaled by up to 10 %. Where two
images show one brain (one scan, or T1 and T2 of SRI24), the error is the mean distance
in mm inside the brain from the known affine. Where they show two people, the overlap is
the mean Dice of 30 structures, after the known affine is made part of the pair. Times
are those of processors, without files.
"""

from argparse import ArgumentParser
from functools import partial
import os
from pathlib import Path

from affine_methods import METHODS, greedy
from brain_sets import SETS as BRAINS
import nibabel as nib
from nibabel.affines import apply_affine
import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter
from scipy.spatial.transform import Rotation
from turned_sets import structure

from dipy_nn_reg.io.tables import write_csv

# Largest angle in degrees, shift in mm, and difference of a scale from 1.
MAX_ANGLE, MAX_SHIFT, MAX_SCALING = 15.0, 10.0, 0.1
# Noise that is added to both images of one scan, as a fraction of a high intensity.
NOISE = 0.03


def main():
    options = _parse_arguments()
    methods = dict(METHODS)
    if options.greedy:
        methods["Greedy"] = partial(greedy, options.greedy)
    rows = []
    for name in options.set or CASES:
        cases = [*CASES[name](options)][options.half :: options.halves]
        for method in options.method or methods:
            scores, seconds = [], []
            for moving, static, metric, score in cases:
                affine, taken = methods[method](moving, static, metric)
                scores.append(score(affine))
                seconds.append(taken)
            rows.append({"pairs": name, "method": method, "number": len(cases)})
            rows[-1] |= _row(scores, seconds, name)
            print(rows[-1], f"load {os.getloadavg()[0]:.1f}", flush=True)
            print("   ", np.round(scores, 3), flush=True)
    if options.table:
        write_csv(rows, options.table)


def _row(scores, seconds, name):
    row = {}
    if "people" in name:
        row["Dice"] = f"{np.mean(scores):.3f}"
        row["least Dice"] = f"{min(scores):.3f}"
    else:
        row["error mm"] = f"{np.mean(scores):.2f}"
        row["largest error mm"] = f"{max(scores):.2f}"
    return {**row, "CPU s": f"{np.mean(seconds):.1f}"}


def one_scan(options):
    """Yield pairs of one scan at 2 mm, one of them turned and scaled, with noise."""
    with np.load(options.data / "malf" / "malf_dev_2mm.npz") as file:
        images, affine = file["images"].astype(np.float32), file["affine"]
    for i, image in enumerate(images[: options.pairs]):
        yield _known(np.random.default_rng(i), (image, affine), (image, affine), "NCC")


def two_contrasts(options):
    """Yield T2 and T1 of SRI24 at 2 mm, of which T2 is turned and scaled."""
    pair = []
    for name in ("late", "spgr"):
        image = nib.load(options.data / "sri24" / f"{name}.nii.gz")
        values = gaussian_filter(np.asarray(image.dataobj, np.float32)[..., 0], 0.7)
        pair.append((values[::2, ::2, ::2], image.affine @ np.diag([2, 2, 2, 1.0])))
    for i in range(options.pairs):
        yield _known(np.random.default_rng(100 + i), *pair, "NMI")


def two_people(options, name="2 mm"):
    """Yield pairs of two people, of which one is turned and scaled, with structures."""
    people = _pairs_native(options) if name == "native" else _pairs_2mm(options)
    for i, (images, groups) in enumerate(people):
        moving, static = images
        motion = np.eye(4)
        if name != "native":
            rng = np.random.default_rng(200 + i)
            middle = apply_affine(moving[1], np.array(moving[0].shape) / 2)
            motion = random_affine(rng, middle)
            moving = _moved(*moving, motion)
        score = partial(_dice, *groups, motion)
        yield moving, static, "NCC", score


def _pairs_native(options):
    for *images, groups, _ in BRAINS["native"](options):
        yield tuple([(i.data, i.affine) for i in two] for two in (images, groups))


def _pairs_2mm(options):
    with np.load(options.data / "malf" / "malf_dev_2mm.npz") as file:
        images, groups, affine = file["images"], file["labels30"], file["affine"]
    number = len(images)
    for i in range(options.pairs):
        two = (i + 3) % number, i
        yield tuple(
            tuple((array[j], affine) for j in two)
            for array in (images.astype(np.float32), groups)
        )


def random_affine(rng, center):
    """Return an affine that turns, shifts and scales about a centre."""
    vector = rng.normal(size=3)
    angle = np.radians(rng.uniform(0, MAX_ANGLE))
    turn = Rotation.from_rotvec(angle * vector / np.linalg.norm(vector)).as_matrix()
    scales = 1 + rng.uniform(-MAX_SCALING, MAX_SCALING, 3)
    shift = rng.uniform(-MAX_SHIFT, MAX_SHIFT, 3) / np.sqrt(3)
    affine = np.eye(4)
    affine[:3, :3] = turn * scales
    affine[:3, 3] = center + shift - affine[:3, :3] @ center
    return affine


def _moved(values, affine, motion):
    """Return an image whose object is moved, on its own grid, by cubic splines."""
    to_voxels = np.linalg.inv(affine) @ np.linalg.inv(motion) @ affine
    moved = affine_transform(values.astype(np.float32), to_voxels, order=3)
    return np.clip(moved, values.min(), values.max()), affine


def _known(rng, moving, static, metric):
    """Return a pair whose moving image is moved, and its error in mm."""
    points = apply_affine(static[1], np.argwhere(structure(static[0])))
    motion = random_affine(rng, points.mean(axis=0))
    moving = _moved(*moving, motion)
    noisy = []
    for values, affine in (moving, static):
        noise = NOISE * np.percentile(values, 99.8) * rng.normal(size=values.shape)
        noisy.append((values + noise.astype(np.float32) * (values > 0), affine))

    def error(found):
        steps = apply_affine(found, points) - apply_affine(motion, points)
        return np.linalg.norm(steps, axis=1).mean()

    return *noisy, metric, error


def _dice(moving, static, motion, found):
    """Return the mean Dice of structures, at points between the static voxels."""
    # Points at voxels alone would not notice a motion of less than half a voxel.
    voxels = np.argwhere(static[0] >= 0)
    voxels = voxels + np.random.default_rng(0).uniform(-0.5, 0.5, voxels.shape)
    to_moving = np.linalg.inv(moving[1]) @ np.linalg.inv(motion) @ found @ static[1]
    one = _nearest(static[0], voxels)
    other = _nearest(moving[0], apply_affine(to_moving, voxels))
    both = np.bincount(one[one == other], minlength=31)
    all_ = np.bincount(one, minlength=31) + np.bincount(other, minlength=31)
    return float(np.mean(2 * both[1:31] / all_[1:31]))


def _nearest(labels, voxels):
    voxels = np.rint(voxels).astype(int)
    inside = np.all((voxels >= 0) & (voxels < labels.shape), axis=1)
    values = np.zeros(len(voxels), int)
    values[inside] = labels[tuple(voxels[inside].T)]
    return values


# Pairs by name: moving and static image, metric for Greedy, and score of an affine.
CASES = {
    "one scan and noise, 2 mm": one_scan,
    "T2 to T1 of SRI24, 2 mm": two_contrasts,
    "two people, 2 mm": two_people,
    "two people, native": partial(two_people, name="native"),
}


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder of the images")
    parser.add_argument("--greedy", help="python of an environment of Greedy")
    parser.add_argument("--set", action="append", choices=CASES, help="default: all")
    parser.add_argument("--method", action="append", help="default: all")
    parser.add_argument("--pairs", type=int, default=10, help="pairs of each set")
    parser.add_argument("--half", type=int, default=0, help="first of the pairs")
    parser.add_argument("--halves", type=int, default=1, help="step of the pairs")
    parser.add_argument("--table", help="CSV file to write")
    options = parser.parse_args()
    options.malf = options.data / "malf"
    return options


if __name__ == "__main__":
    main()
