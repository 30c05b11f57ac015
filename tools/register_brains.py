r"""Train on brains at 2 mm, and register two others, in MNI and in native space.

    python tools/register_brains.py --malf malf --table doc/brains.csv

The two people of the native images are not trained on. A row holds the mean Dice over
30 groups of structures before (native: after DIPY's affine registration) and after; how
far points come back from the moving image, in voxels, and what DIPY's map itself says
of that in mm; and the time of one call. It took five minutes on two cores.
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
    places = [int(np.flatnonzero(ids == person)[0]) for person in HELD_OUT]
    standard = [
        (Image(images[i], affine, None, None), Image(groups[i], affine, None, None))
        for i in places
    ]
    group_of = _read_groups(options.malf / "label_groups30.csv")
    native = [_read_native(options.malf / "native", i, group_of) for i in HELD_OUT]
    training = images[~np.isin(ids, HELD_OUT)]
    rows = []
    for variant in options.variant or [""]:
        registration = DeformableRegistration(
            input_shape=images.shape[1:], seed=0, **parse_options(variant)
        )
        start = perf_counter()
        registration.fit(training, epochs=options.epochs, batch_size=1, verbose=2)
        model = {
            "model": variant or "default",
            "training s": f"{perf_counter() - start:.0f}",
        }
        for name, pair, prealign in (
            ("MNI, 2 mm", standard, False),
            ("MNI, the other way", standard[::-1], False),
            ("native, 1 mm", native, True),
            ("native, the other way", native[::-1], True),
        ):
            row = _register(registration, *pair, prealign=prealign)
            rows.append({"pair": name, **model, **row})
            print(rows[-1], flush=True)
    if options.table:
        write_csv(rows, options.table)


def _register(registration, static, moving, *, prealign):
    """Register one pair; return a row of the table."""
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
    dice = []
    for maps in ([affine], [mapping]):
        warped = warp_image(moving_groups, static, maps, interpolation="nearest")
        overlaps = dice_of_labels(static_groups.data, warped)
        dice.append(np.nanmean(list(overlaps.values())))
    return {
        "Dice before": f"{dice[0]:.4f}",
        "Dice after": f"{dice[1]:.4f}",
        "folding %": f"{folding(displacement):.4f}",
        "round trip, voxels": f"{distances.mean():.4f}",
        "DIPY inversion error, mm": f"{mapping.compute_inversion_error()[1][1]:.4f}",
        "prealign s": f"{prealign_seconds:.1f}",
        "predict_mapping s": f"{seconds:.2f}",
    }


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
    parser.add_argument("--variant", action="append", help="options of the model")
    parser.add_argument("--table", help="CSV file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
