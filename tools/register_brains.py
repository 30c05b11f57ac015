r"""Train on brains at 2 mm, and register two others, in MNI and in native space.

    python tools/register_brains.py --malf malf --table doc/brains.csv

The two people of the native images are not trained on. A row holds the mean Dice over
30 groups of structures before (native: after DIPY's affine registration) and after; how
far points come back from the moving image, in voxels, and what DIPY's map itself says
of that in mm; and the time of one call. It took 10 minutes on two cores.
"""

from argparse import ArgumentParser
import csv
from pathlib import Path
from time import perf_counter

import numpy as np
from options import parse_options

from dipy_nn_reg import DeformableRegistration
from dipy_nn_reg.label_metrics import dice_of_labels
from dipy_nn_reg.mapping import grid_points, mapping_to_displacement
from dipy_nn_reg.metrics import folding
from dipy_nn_reg.nifti import Image, read_image, read_labels
from dipy_nn_reg.prealign import estimate_prealign
from dipy_nn_reg.resampling import to_moving, to_static, warp_image
from dipy_nn_reg.tables import write_csv

HELD_OUT = ("1006", "1017")


def main():
    options = _parse_arguments()
    with np.load(options.malf / "malf_dev_2mm.npz") as file:
        ids, images, groups = file["ids"], file["images"], file["labels30"]
        affine = file["affine"]
    registration = DeformableRegistration(
        input_shape=images.shape[1:], seed=0, **parse_options(options.variant)
    )
    start = perf_counter()
    training = images[~np.isin(ids, HELD_OUT)]
    registration.fit(training, epochs=options.epochs, batch_size=1, verbose=2)
    print(f"trained in {perf_counter() - start:.0f} s", flush=True)

    places = [int(np.flatnonzero(ids == person)[0]) for person in HELD_OUT]
    standard = [
        (Image(images[i], affine, None, None), Image(groups[i], affine, None, None))
        for i in places
    ]
    group_of = _read_groups(options.malf / "label_groups30.csv")
    native = [_read_native(options.malf / "native", i, group_of) for i in HELD_OUT]
    rows = [
        _register("MNI, 2 mm", registration, *standard),
        _register("MNI, 2 mm, the other way", registration, *standard[::-1]),
        _register("native, 1 mm", registration, *native, prealign=True),
        _register("native, the other way", registration, *native[::-1], prealign=True),
    ]
    if options.table:
        write_csv(rows, options.table)


def _register(name, registration, static, moving, *, prealign=False):
    (static, static_groups), (moving, moving_groups) = static, moving
    grids = {"moving_affine": moving.affine, "static_affine": static.affine}
    start, affine = perf_counter(), np.eye(4)
    if prealign:
        affine = estimate_prealign(moving.data, static.data, **grids)
    prealign_seconds = perf_counter() - start
    options = {"prealign": affine, "voxel_size": 2.0, **grids}
    registration.predict_mapping(moving.data, static.data, **options)  # compiles
    start = perf_counter()
    mapping = registration.predict_mapping(moving.data, static.data, **options)
    seconds = perf_counter() - start

    points = grid_points(static.data.shape, static.affine)
    points = points[static.data.ravel() > 0]
    back = to_static(to_moving(points, [mapping]), [mapping])
    voxel = abs(np.linalg.det(static.affine)) ** (1 / 3)
    distances = np.linalg.norm(back - points, axis=1) / voxel
    displacement, _ = mapping_to_displacement(mapping)
    dice = [
        np.nanmean(
            list(
                dice_of_labels(
                    static_groups.data,
                    warp_image(moving_groups, static, maps, interpolation="nearest"),
                ).values()
            )
        )
        for maps in ([affine], [mapping])
    ]
    row = {
        "pair": name,
        "Dice before": f"{dice[0]:.4f}",
        "Dice after": f"{dice[1]:.4f}",
        "folding %": f"{folding(displacement):.4f}",
        "round trip, voxels": f"{distances.mean():.4f}",
        "DIPY inversion error, mm": f"{mapping.compute_inversion_error()[1][1]:.4f}",
        "prealign s": f"{prealign_seconds:.1f}",
        "predict_mapping s": f"{seconds:.2f}",
    }
    print(row, flush=True)
    return row


def _read_groups(path):
    """Return the group of each label."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    groups = np.zeros(1 + max(int(row["label"]) for row in rows), np.uint8)
    for row in rows:
        groups[int(row["label"])] = int(row["group30"])
    return groups


def _read_native(folder, person, group_of):
    labels = read_labels(folder / f"{person}_glm.nii.gz")
    groups = labels._replace(data=group_of[labels.data])
    return read_image(folder / f"{person}_SS.nii.gz"), groups


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--malf", type=Path, required=True, help="folder of the images")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--variant", default="", help="other options of the model")
    parser.add_argument("--table", help="CSV file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
