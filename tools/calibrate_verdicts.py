r"""Calibrate the verdicts of the page on pairs whose true error is known.

    python tools/calibrate_verdicts.py --data ../shared/data --measures /tmp/m.csv
    python tools/calibrate_verdicts.py --measures /tmp/m.csv --table doc/verdicts.csv

The first command registers several hundred pairs of brains, hippocampi and slices and
writes the measures of each, with its true error: turned, shifted and scaled images;
other people; other contrasts; parts of images; noise; lesions; other organs and
nonsense; and registrations that began with a wrong affine. The second command judges
these measures, and counts how often a verdict was wrong, for one half of the people and
for the other one. Thresholds are chosen on the first half.

A result is right if its mean error is at most 3 mm (3 pixels in 2D) or, for two people,
if the overlap of labels (Dice) is at least 80 % of that of the pair as it was stored.
"""

from argparse import ArgumentParser
import csv
from pathlib import Path

from nibabel.affines import apply_affine
import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from dipy_nn_reg import register
from dipy_nn_reg.io.tables import write_csv
from dipy_nn_reg.mapping.resampling import to_moving
from dipy_nn_reg.metrics.labels import dice_of_labels
from dipy_nn_reg.quality.measures import apply_map, measure
from dipy_nn_reg.quality.verdicts import judge

# Size of the voxels at which brains are registered, in mm.
_VOXEL_SIZE = 4.0
_REACHABLE, _MAX_ERROR = 0.8, 3.0


def brains(folder):
    """Return images, label maps and the affine of fifteen people."""
    data = np.load(folder / "malf" / "malf_dev_2mm.npz")
    return data["images"], data["labels30"], data["affine"]


def cases(folder):
    """Yield a name, the half (0 or 1), a pair, options, and its truth.

    The truth is an affine from static to moving world coordinates, or label maps with
    the affine that was added to the header of the moving one, or None for nonsense.
    """
    rng = np.random.default_rng(0)
    images, labels, affine = brains(folder)
    people = list(range(len(images)))
    for number, person in enumerate(people):
        other = people[(number + 3) % len(people)]
        half, static, moving = number % 2, images[person], images[other]
        maps = {"moving": labels[other], "static": labels[person]}
        for name, header in (("as stored", np.eye(4)), ("turned", _turn(rng, affine, static.shape))):
            yield name, half, (moving, header @ affine, static, affine), {}, (maps, header)
        inverted = np.where(moving > 20, 275 - moving.astype(float), 0)
        header = _turn(rng, affine, static.shape)
        yield "inverted", half, (inverted, header @ affine, static, affine), {}, (maps, header)
        noisy = moving + rng.normal(0, 25, moving.shape)
        yield "noise", half, (noisy, affine, static, affine), {}, (maps, np.eye(4))
        lesion = _with_lesion(moving, rng)
        yield "lesion", half, (lesion, affine, static, affine), {}, (maps, np.eye(4))
        for angle in (25, 60, 120, 180):
            wrong = _turn(rng, affine, static.shape, angle=angle, shift=10)
            options = {"prealign": wrong}
            yield f"start {angle} degrees off", half, (moving, affine, static, affine), options, (maps, np.eye(4))
        for part, box in _parts(static.shape).items():
            header = _turn(rng, affine, static.shape, angle=rng.uniform(0, 12), shift=8)
            cut, corner = static[box], [s.start or 0 for s in box]
            place = affine.copy()
            place[:3, 3] = apply_affine(affine, corner)
            noise = rng.normal(0, 3, cut.shape)
            yield part, half, (cut + noise, header @ place, static, affine), {}, header
            turned = _turn(rng, affine, static.shape)
            yield f"{part}, turned", half, (cut + noise, turned @ place, static, affine), {}, turned
        yield "blobs", half, (_blobs(rng, static.shape), affine, static, affine), {}, None
        flesh = gaussian_filter(rng.normal(size=static.shape), 1) * 400 * (static > 0)
        yield "texture", half, (flesh, affine, static, affine), {}, None
    yield from _small(folder, rng)


def _small(folder, rng):
    """Yield cases of hippocampi and of slices."""
    data = np.load(folder / "hippocampus" / "hippocampus_dev_48x64x48.npz")
    crops, maps = data["images"], data["labels"]
    images, _, affine = brains(folder)
    for i in range(0, 40, 2):
        half, moving, static = i // 2 % 2, crops[i + 1], crops[i]
        labels = {"moving": maps[i + 1], "static": maps[i]}
        for name, header in (
            ("hippocampus", np.eye(4)),
            ("hippocampus, turned", _turn(rng, np.eye(4), static.shape)),
        ):
            yield name, half, (moving, header, static, np.eye(4)), {}, (labels, header)
        brain = images[i // 2 % len(images)]
        yield "hippocampus to brain", half, (moving, np.eye(4), brain, affine), {}, None
    data = np.load(folder / "malf" / "malf_dev_2d.npz")
    slices, maps = data["coronal"], data["coronal_labels30"]
    for i in range(len(slices)):
        other = (i + 4) % len(slices)
        labels = {"moving": maps[other], "static": maps[i]}
        for name, header in (("slice", np.eye(3)), ("slice, turned", _turn_2d(rng, 160))):
            yield name, i % 2, (slices[other], header, slices[i], np.eye(3)), {}, (labels, header)
        wrong = _turn_2d(rng, 160, rng.choice([90, 180, 270]))
        yield "slice, wrong start", i % 2, (slices[other], np.eye(3), slices[i], np.eye(3)), {"prealign": wrong}, (labels, np.eye(3))
        blobs = _blobs(rng, slices[i].shape)
        yield "slice, blobs", i % 2, (blobs, np.eye(3), slices[i], np.eye(3)), {}, None


def _turn(rng, affine, shape, *, angle=None, shift=100):
    """Return a rotation about the middle of an image, and a shift."""
    rotation = Rotation.random(rng=rng)
    if angle is not None:
        axis = rng.normal(size=3)
        rotation = Rotation.from_rotvec(np.radians(angle) * axis / np.linalg.norm(axis))
    middle = apply_affine(affine, (np.array(shape) - 1) / 2)
    turn = np.eye(4)
    turn[:3, :3] = rotation.as_matrix()
    turn[:3, 3] = middle - turn[:3, :3] @ middle + rng.uniform(-shift, shift, 3)
    return turn


def _turn_2d(rng, size, angle=None):
    radians = np.radians(rng.uniform(0, 360) if angle is None else angle)
    turn = np.eye(3)
    turn[:2, :2] = [[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]]
    middle = np.full(2, size / 2)
    turn[:2, 2] = middle - turn[:2, :2] @ middle + rng.uniform(-20, 20, 2)
    return turn


def _parts(shape):
    x, y, z = shape
    return {
        "half": (slice(0, x // 2), slice(None), slice(None)),
        "slab": (slice(None), slice(None), slice(z // 2 - 8, z // 2 + 8)),
        "cube": (slice(x // 2, x // 2 + 24), slice(y // 3, y // 3 + 24), slice(z // 3, z // 3 + 24)),
    }


def _blobs(rng, shape):
    """Return smooth blobs in an ellipsoid."""
    grid = np.indices(shape) - (np.array(shape).reshape(-1, *[1] * len(shape)) - 1) / 2
    radii = rng.uniform(0.25, 0.45, len(shape)) * shape
    inside = sum((g / r) ** 2 for g, r in zip(grid, radii)) < 1
    noise = gaussian_filter(rng.normal(size=shape), 4)
    return np.where(inside, 128 + 100 * noise / np.abs(noise).max(), 0)


def _with_lesion(image, rng):
    center = np.argwhere(image > 60)[rng.integers((image > 60).sum())]
    distance = np.linalg.norm(np.argwhere(np.ones(image.shape)) - center, axis=1)
    return np.where(distance.reshape(image.shape) < 9, 0, image)


def register_case(pair, options, truth):
    """Return the measures of a registration and its true error."""
    moving, moving_affine, static, static_affine = pair
    affines = {"moving_affine": moving_affine, "static_affine": static_affine}
    if static_affine[0, 0] == 2:  # a brain
        options = {"voxel_size": _VOXEL_SIZE, **options}
    mapping, outcome = register(moving, static, **affines, **options)
    mapped = apply_map(mapping, moving, static)
    measures = measure(mapped, alignment=outcome.alignment)
    measures |= {"used": outcome.used, "loss": outcome.loss}
    measures |= {"ncc_affine": outcome.ncc_before, "loss_before": outcome.loss_before, "loss_after": outcome.loss_after}
    if outcome.alignment is not None:
        measures |= {"kind": outcome.alignment.kind, "information": outcome.alignment.information}
    return measures | _true_error(mapping, truth, pair)


def _true_error(mapping, truth, pair):
    if truth is None:
        return {"nonsense": 1}
    moving, moving_affine, static, static_affine = pair
    if isinstance(truth, tuple):
        maps, _ = truth
        mapped = apply_map(mapping, moving, static, moving_labels=maps["moving"].astype(np.int32), static_labels=maps["static"].astype(np.int32))
        dice = dice_of_labels(mapped.labels["static"], mapped.labels["warped"])
        return {"dice_true": float(np.mean(list(dice.values())))}
    # A part of the static image: its own voxels are the points.
    voxels = np.argwhere(moving > 40)[::97]
    there = apply_affine(moving_affine, voxels)
    points = apply_affine(np.linalg.inv(truth), there)
    error = np.linalg.norm(to_moving(points, [mapping]) - there, axis=1)
    return {"error_mm": float(error.mean())}


def main():
    options = _parse_arguments()
    if options.data:
        rows = []
        chosen = list(cases(Path(options.data)))
        # In random order, so that the first ones are a fair sample.
        order = np.random.default_rng(1).permutation(len(chosen))[: options.number]
        for i in tqdm(order, disable=None):
            name, half, pair, arguments, truth = chosen[i]
            row = {"case": name, "half": half}
            rows.append(row | register_case(pair, arguments, truth))
            write_csv(rows, Path(options.measures))
    if options.table:
        with open(options.measures) as file:
            rows = list(csv.DictReader(file))
        write_csv(tabulate(rows), Path(options.table))


def tabulate(rows):
    """Return the number of verdicts of right and wrong results of each half."""
    raise NotImplementedError(judge)


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="folder of the images, to register them")
    parser.add_argument("--measures", required=True, help="CSV file of the measures")
    parser.add_argument("--table", help="CSV file to write")
    parser.add_argument("--number", type=int, help="number of cases to register")
    return parser.parse_args()


if __name__ == "__main__":
    main()
