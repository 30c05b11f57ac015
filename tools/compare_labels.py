r"""Train on crops of the hippocampus, without and with label maps, and compare.

    python tools/compare_labels.py --crops hippocampus_dev_48x64x48.npz \
        --table doc/labels_hippocampus.csv

The file holds ``images`` and ``labels`` (two parts of the hippocampus) of 126 cases of
the Medical Segmentation Decathlon. Both models are trained on random pairs of the first
100 cases, from the same weights; the Dice overlap is then measured on 25 pairs of
the others, which are used for nothing else. The script takes a few minutes.
"""

from argparse import ArgumentParser
from math import ceil
from time import perf_counter

import numpy as np

from dipy_nn_reg import DeformableRegistration, metrics
from dipy_nn_reg.io.tables import write_csv
from dipy_nn_reg.transform.functions import warp

TRAINING_CASES, TRAINING_STEPS, BATCH_SIZE = 100, 200, 4


def main():
    options = _parse_arguments()
    with np.load(options.crops) as crops:
        images, labels = crops["images"], crops["labels"].astype(int)
    rows = [_measure("before", images, labels, None)]
    for name, annotations in (
        ("unsupervised", {}),
        ("with labels", {"moving_labels": labels[:TRAINING_CASES]}),
    ):
        registration = DeformableRegistration(
            input_shape=images.shape[1:], transform="bspline_velocity", seed=0
        )
        start = perf_counter()
        registration.fit(
            images[:TRAINING_CASES],
            epochs=ceil(TRAINING_STEPS * BATCH_SIZE / TRAINING_CASES),
            batch_size=BATCH_SIZE,
            verbose=2,
            **annotations,
        )
        seconds = perf_counter() - start
        row = _measure(name, images, labels, registration)
        rows.append({**row, "training s": f"{seconds:.0f}"})
        print(rows[-1], flush=True)
    if options.table:
        write_csv(rows, options.table)


def _measure(name, images, labels, registration):
    """Register each test case to the next one; return a row of the table."""
    images, labels = images[TRAINING_CASES:], labels[TRAINING_CASES:]
    moving, static = images[:-1], images[1:]
    if registration is None:
        field = np.zeros((*moving.shape, 3), np.float32)
    else:
        field = registration.predict_field(moving, static)
    row = {"model": name}
    for label in (1, 2):
        warped = warp(
            (labels[:-1] == label).astype(np.uint8), field, interpolation="nearest"
        )
        overlaps = [metrics.dice(s == label, w) for s, w in zip(labels[1:], warped)]
        row[f"Dice {label}"] = f"{np.mean(overlaps):.3f}"
    similar = [metrics.ncc(s, w) for s, w in zip(static, warp(moving, field))]
    row["NCC"] = f"{np.mean(similar):.3f}"
    row["folding %"] = f"{np.mean([metrics.folding(u) for u in field]):.4f}"
    return row


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--crops", required=True, help="the file of images and labels")
    parser.add_argument("--table", help="CSV file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
