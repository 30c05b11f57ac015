r"""Compare registrations of brains of which one image, or both, shows a whole head.

    python tools/compare_heads.py --malf malf --table doc/heads.csv

The heads are made around the brains of people of MALF at 2 mm, so that the labels of
the brain are known in each of them. A row holds means over the pairs. "handled" is the
default; "as they are" has a mask of ones, which switches the handling off. A brain that
is drawn outwards has a positive ``outwards``: the signed distance in voxels of the
outline of the warped labels from that of the static ones.
"""

from argparse import ArgumentParser
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_erosion, binary_fill_holes, distance_transform_edt

from dipy_nn_reg import register
from dipy_nn_reg.data.heads import make_head
from dipy_nn_reg.io.tables import write_csv
from dipy_nn_reg.metrics.labels import dice_of_labels

# Indices of static and moving people.
PAIRS = ((0, 1), (4, 7), (10, 3), (12, 8))
# Groups of labels30 that are deep in the brain.
DEEP = (7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 23, 27, 28, 29)
# Moving image, static image, and whether the handling is on.
ROWS = (
    ("brain", "brain", True),
    ("head", "brain", True),
    ("head", "brain", False),
    ("brain", "head", True),
    ("brain", "head", False),
    ("head", "head", True),
)


def main():
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--malf", type=Path, required=True)
    parser.add_argument("--table", type=Path, required=True)
    options = parser.parse_args()
    people = read_people(options.malf)
    rows = []
    for moving, static, handled in ROWS:
        results = [
            compare(people[m][moving], people[s][static], handled) for s, m in PAIRS
        ]
        means = {name: np.mean([r[name] for r in results]) for name in results[0]}
        rows.append(
            {
                "moving": moving,
                "static": static,
                "images": "handled" if handled else "as they are",
                **{name: round(float(mean), 3) for name, mean in means.items()},
            }
        )
        print(rows[-1], flush=True)
    write_csv(rows, options.table)


def read_people(folder):
    """Return brain and head of each person: image, affine and labels."""
    people = {}
    with np.load(folder / "malf_dev_2mm.npz") as file:
        images, labels, affine = file["images"], file["labels30"], file["affine"]
    for i in sorted({i for pair in PAIRS for i in pair}):
        head = make_head(images[i], affine, seed=i)
        groups = labels[i].astype(np.int32)
        people[i] = {
            "brain": (images[i].astype(np.float32), affine, groups),
            "head": (head.image, head.affine, head.place(groups)),
        }
    return people


def compare(moving, static, handled):
    """Return the measures of one registration."""
    mask = None if handled else np.ones(static[0].shape, np.uint8)
    mapping, outcome = register(
        moving[0],
        static[0],
        moving_affine=moving[1],
        static_affine=static[1],
        mask=mask,
    )
    warped = mapping.transform(moving[2], interpolation="nearest").astype(int)
    dice = dice_of_labels(static[2], warped)
    distance, outwards = outline_distances(warped > 0, static[2] > 0)
    return {
        "dice_deep": np.mean([dice[label] for label in DEEP]),
        "dice": np.mean(list(dice.values())),
        "distance": distance,
        "outwards": outwards,
        "inverse_error_mm": outcome.inverse_error_mm,
        "skull_found": outcome.skull is not None,
    }


def outline_distances(warped, static):
    """Return the mean distance of two outlines in voxels, and the signed one."""
    warped, static = binary_fill_holes(warped), binary_fill_holes(static)
    edges = [mask & ~binary_erosion(mask) for mask in (warped, static)]
    to_warped, to_static = (distance_transform_edt(~edge) for edge in edges)
    there, back = to_static[edges[0]], to_warped[edges[1]]
    sign = np.where(static[edges[0]], -1, 1)
    return (there.mean() + back.mean()) / 2, (there * sign).mean()


if __name__ == "__main__":
    main()
