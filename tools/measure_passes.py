r"""Measure what further passes of the pretrained model for 2D bring and cost.

    python tools/measure_passes.py --malf malf --mnist MNIST --table doc/passes.csv

A row holds the mean Dice, SDlogJ and percent of pixels that fold by any one-sided
differences, of the digits of ``measure_zero_shot.py`` and of pairs of coronal and axial
slices of brains, of two groups of people.
"""

from argparse import ArgumentParser
from functools import partial
from pathlib import Path

from measure_zero_shot import KINDS, overlap
import numpy as np

from dipy_nn_reg import DeformableRegistration, metrics
from dipy_nn_reg.io.tables import write_csv

# People whose slices are compared, each with the next one.
PEOPLE = {"slices of seven people": slice(0, 7), "slices of eight others": slice(7, 15)}
MOST = 5


def main():
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--malf", type=Path, required=True)
    parser.add_argument("--mnist", required=True)
    parser.add_argument("--table")
    options = parser.parse_args()
    sets = {"digits": KINDS["digits, Dice"](options)}
    with np.load(options.malf / "malf_dev_2d.npz") as file:
        sets |= {name: _pairs(file, people) for name, people in PEOPLE.items()}
    rows = []
    for passes in range(1, MOST + 1):
        model = DeformableRegistration.pretrained(ndim=2, passes=passes)
        row = {"passes": passes}
        for name, pairs in sets.items():
            row |= {f"{name}, {key}": v for key, v in _measure(model, pairs).items()}
        rows.append(row)
        print(row, flush=True)
    if options.table:
        write_csv(rows, options.table)


def _pairs(file, people):
    """Return pairs of slices, and the overlap of their labels under a field."""
    pairs = []
    for plane in ("coronal", "axial"):
        images, labels = file[plane][people], file[f"{plane}_labels30"][people]
        images, labels = images.astype(np.float32), labels.astype(np.int32)
        for i in range(len(images) - 1):
            score = partial(overlap, labels[i], labels[i + 1])
            pairs.append((images[i], images[i + 1], score))
    return pairs


def _measure(model, pairs):
    fields = [
        model.predict_field(moving[None], static)[0] for moving, static, _ in pairs
    ]
    measures = {
        "Dice": [score(field) for (_, _, score), field in zip(pairs, fields)],
        "SDlogJ": [metrics.sd_log_jacobian(field) for field in fields],
        "folds %": [metrics.folding(field, strict=True) for field in fields],
    }
    return {name: f"{np.mean(values):.3f}" for name, values in measures.items()}


if __name__ == "__main__":
    main()
