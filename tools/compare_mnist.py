r"""Compare a model for each MNIST digit with DIPY's SyN.

    python tools/compare_mnist.py --folder MNIST --table doc/accuracy_mnist.csv

For each digit one model is trained on random pairs of the training images. Then 200
test images are registered to each of five static test images, and SyN registers the
first 12 of each 200. A row holds means over the same 60 pairs; folding, of our model,
is the mean over all 1,000.

    python tools/compare_mnist.py --folder MNIST --held_out --digits 0 8 \
        --variant smoothness=0.2 --variant "loss='mse', smoothness=0.04"

compares other options of the model, with the last tenth of the training images in place
of the test images. The defaults were chosen in this way.
"""

from argparse import ArgumentParser
from itertools import product
from math import ceil
from time import perf_counter

import numpy as np
from options import parse_options

from dipy_nn_reg import DeformableRegistration
from dipy_nn_reg.data.mnist import load_mnist
from dipy_nn_reg.io.tables import write_csv
from dipy_nn_reg.quality.beside_syn import compare_with_syn
from dipy_nn_reg.workflows.mnist import BATCH_SIZE, TRAINING_STEPS

STATIC_IMAGES, MOVING_IMAGES, SYN_PAIRS = 5, 200, 12


def main():
    options = _parse_arguments()
    rows = []
    for digit, variant in product(options.digits, options.variant or [""]):
        (train, _), (test, _) = load_mnist(options.folder, digit=digit)
        if options.held_out:
            train, test = np.split(train, [len(train) * 9 // 10])
        model_options = parse_options(variant)
        rng = np.random.default_rng([options.seed, digit])
        row = compare(train, test, model_options, rng=rng)
        name = {"digit": digit, **({"options": variant} if variant else {})}
        rows.append({**name, **row})
        print(rows[-1], flush=True)
    if options.table:
        write_csv(rows, options.table)


def compare(train, test, model_options, *, rng):
    """Train on images of one digit, compare on others; return a row of the table."""
    start = perf_counter()
    registration = DeformableRegistration(
        input_shape=train.shape[1:], seed=int(rng.integers(1000)), **model_options
    )
    epochs = ceil(TRAINING_STEPS * BATCH_SIZE / len(train))
    registration.fit(train, epochs=epochs, batch_size=BATCH_SIZE, verbose=0)
    training_seconds = perf_counter() - start

    tables = []
    for _ in range(STATIC_IMAGES):
        static, *moving = rng.permutation(test)[: MOVING_IMAGES + 1]
        tables.append(
            compare_with_syn(
                registration, np.stack(moving), static, syn_pairs=SYN_PAIRS
            )
        )
    return {**_row(tables), "training s": f"{training_seconds:.0f}"}


def _row(tables):
    """Average the tables of the static images into one row of text."""

    def mean(method, column):
        return np.mean([table[method][column] for table in tables])

    before, ours, ssd, cc, ours_on_all = tables[0]
    row = {}
    for column in ("ncc", "dice"):
        for name, method in (
            ("before", before),
            ("SyN SSD", ssd),
            ("SyN CC", cc),
            ("ours", ours),
        ):
            row[f"{column} {name}"] = f"{mean(method, column):.3f}"
    row["folding %"] = f"{mean(ours_on_all, 'folding'):.4f}"
    row["strict folding %"] = f"{mean(ours_on_all, 'strict_folding'):.4f}"
    fastest_syn = min(mean(ssd, "seconds"), mean(cc, "seconds"))
    row["SyN ms a pair"] = f"{1000 * fastest_syn:.1f}"
    row["ours ms a pair"] = f"{1000 * mean(ours, 'seconds'):.2f}"
    row["times faster"] = f"{fastest_syn / mean(ours, 'seconds'):.0f}"
    return row


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", help="folder with the IDX files of MNIST")
    parser.add_argument("--table", help="CSV file to write")
    parser.add_argument("--digits", type=int, nargs="+", default=range(10))
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of weights and images"
    )
    parser.add_argument("--variant", action="append", help="options of the model")
    parser.add_argument(
        "--held_out", action="store_true", help="do not use the test images"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
