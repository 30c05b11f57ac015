r"""Calibrate the verdicts of the page on pairs whose true error is known.

    python tools/calibrate_verdicts.py --data ../shared/data --measures /tmp/m.csv
    python tools/calibrate_verdicts.py --measures /tmp/m.csv --table doc/verdicts.csv

The first command registers the several hundred pairs of verdict_cases.py and writes the
measures of each, with its true error. The second command judges these measures, and
counts how often a verdict was wrong, for one half of the people and for the other one.
Thresholds are chosen on the first half.

A result is right if its mean error is at most 3 mm (3 pixels in 2D) or, for two people,
if the overlap of labels (Dice) is at least 80 % of that of the pair as it was stored.
"""

from argparse import ArgumentParser
from collections import Counter
import csv
from pathlib import Path

from nibabel.affines import apply_affine
import numpy as np
from tqdm import tqdm
from verdict_cases import cases

from dipy_nn_reg import register
from dipy_nn_reg.io.tables import write_csv
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.points import to_moving
from dipy_nn_reg.metrics.labels import dice_of_labels
from dipy_nn_reg.quality.measures import apply_map, measure
from dipy_nn_reg.quality.verdicts import VERDICTS, judge

# Size of the voxels at which brains are registered, in mm.
_VOXEL_SIZE = 4.0
# Smallest Dice of a right result, as a fraction of that of the pairs as stored, and
# largest error in mm.
_REACHABLE, _MAX_ERROR = 0.8, 3.0


def measure_case(case):
    """Return the measures of the registration of a case, and its true error."""
    moving, moving_affine, static, static_affine = case.pair
    mapping, outcome = register(
        moving,
        static,
        moving_affine=moving_affine,
        static_affine=static_affine,
        prealign=case.prealign,
        voxel_size=_VOXEL_SIZE if static_affine[0, 0] == 2 else None,  # a brain
    )
    measures = measure(apply_map(mapping, moving, static), alignment=outcome.alignment)
    chosen = {"used": outcome.used, "loss": outcome.loss}
    return measures | chosen | _true_error(mapping, case)


def _true_error(mapping, case):
    moving, moving_affine, static, static_affine = case.pair
    if case.labels is not None:
        maps = {f"{n}_labels": a.astype(np.int32) for n, a in case.labels.items()}
        labels = apply_map(mapping, moving, static, **maps).labels
        dice = dice_of_labels(labels["static"], labels["warped"])
        return {"dice_true": float(np.mean(list(dice.values())))}
    if case.truth is None:
        return {}
    # Voxels that both images show; one of them is a part of the other.
    there = apply_affine(moving_affine, np.argwhere(moving > 40)[::97])
    points = apply_affine(np.linalg.inv(case.truth), there)
    shown = Grid(static.shape, static_affine).contains(points)
    points, there = points[shown], there[shown]
    error = np.linalg.norm(to_moving(points, [mapping]) - there, axis=1)
    return {"error_mm": float(error.mean())}


def tabulate(rows):
    """Return the number of verdicts of right and wrong results, by case and in all."""
    reachable = {
        name: np.median([float(r["dice_true"]) for r in rows if r["case"] == name])
        for name in ("as stored", "hippocampus", "slice")
        if any(r["case"] == name for r in rows)
    }
    counts = {}
    for row in rows:
        right = _is_right(row, reachable)
        numbers = {n: float(v) for n, v in row.items() if v and n not in _WORDS}
        verdict = judge(numbers)[0].title
        for name in (row["case"], f"all, half {row['half']}"):
            key = name, "right" if right else "wrong"
            counts.setdefault(key, Counter())[verdict] += 1
    return [
        {"case": name, "result": result, **{v: verdicts[v] for v in VERDICTS}}
        for (name, result), verdicts in sorted(counts.items())
    ]


# Columns of the measures that are no numbers, or no measures.
_WORDS = ("case", "half", "used", "loss", "dice_true", "error_mm")


def _is_right(row, reachable):
    if row.get("error_mm"):
        return float(row["error_mm"]) <= _MAX_ERROR
    if not row.get("dice_true"):
        return False
    kind = next((n for n in ("hippocampus", "slice") if n in row["case"]), "as stored")
    return float(row["dice_true"]) >= _REACHABLE * reachable[kind]


def main():
    options = _parse_arguments()
    if options.data:
        chosen, rows = list(cases(Path(options.data))), []
        # In random order, so that the first ones are a fair sample.
        order = np.random.default_rng(1).permutation(len(chosen))[: options.number]
        for i in tqdm(order, disable=None):
            case = chosen[i]
            row = {"case": case.name, "half": case.half}
            rows.append(row | measure_case(case))
            write_csv(rows, options.measures)
    if options.table:
        with open(options.measures) as file:
            rows = list(csv.DictReader(file))
        write_csv(tabulate(rows), options.table)


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="folder of the images, to register them")
    parser.add_argument("--measures", required=True, help="CSV file of the measures")
    parser.add_argument("--table", help="CSV file to write")
    parser.add_argument("--number", type=int, help="number of cases to register")
    return parser.parse_args()


if __name__ == "__main__":
    main()
