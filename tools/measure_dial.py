r"""Compare a model that is trained for any smoothness with models trained for one each.

    python tools/measure_dial.py --mnist MNIST --table doc/dial.csv

All are trained on the same digits of MNIST, in as many steps, and register 200 pairs
of test images. A row holds means over these pairs: the Dice overlap of the strokes,
SDlogJ, and the percent of pixels that fold by any one-sided differences.
"""

from argparse import ArgumentParser
from time import perf_counter

from measure_zero_shot import overlap
import numpy as np

from dipy_nn_reg import DeformableRegistration, metrics
from dipy_nn_reg.data.mnist import load_mnist
from dipy_nn_reg.io.tables import write_csv
from dipy_nn_reg.losses.choice_checks import default_smoothness
from dipy_nn_reg.losses.objective import STRONGEST

DIALS = (0.0, 0.25, 0.5, 0.75, 1.0)
# Dials for which a model of its own is trained, with the weight that they stand for.
FIXED = (0.25, 0.5, 0.75)
OPTIONS = {"network": "pyramid", "loss": "ncc", "seed": 0}
PAIRS, BATCH_SIZE = 200, 32


def main():
    options = _parse_arguments()
    (train, _), (test, _) = load_mnist(options.mnist, digit=options.digit)
    pairs = test[:PAIRS], test[1 : PAIRS + 1]
    epochs = round(options.steps * BATCH_SIZE / len(train))
    model = _train("any", train, epochs)
    rows = [_row("any", dial, model, pairs, smoothness=dial) for dial in DIALS]
    default = default_smoothness(OPTIONS["loss"], "gradient", "velocity")
    for dial in FIXED:
        weight = default * STRONGEST ** (2 * dial - 1)
        rows.append(_row(f"{weight:.3g}", dial, _train(weight, train, epochs), pairs))
    if options.table:
        write_csv(rows, options.table)


def _train(smoothness, images, epochs):
    start = perf_counter()
    model = DeformableRegistration(
        input_shape=images.shape[1:], smoothness=smoothness, **OPTIONS
    )
    model.fit(images, epochs=epochs, batch_size=BATCH_SIZE, verbose=0)
    print(f"{smoothness}: trained in {perf_counter() - start:.0f} s", flush=True)
    return model


def _row(trained_for, dial, model, pairs, **options):
    fields = model.predict_field(*pairs, **options)
    strokes = [np.int32(images > 0.5) for images in pairs]
    measures = {
        "Dice": [overlap(m, s, field) for m, s, field in zip(*strokes, fields)],
        "SDlogJ": [metrics.sd_log_jacobian(field) for field in fields],
        "folds %": [metrics.folding(field, strict=True) for field in fields],
    }
    means = {name: f"{np.nanmean(values):.4f}" for name, values in measures.items()}
    row = {"trained for": trained_for, "smoothness": dial, **means}
    print(row, flush=True)
    return row


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", required=True, help="folder of the four files")
    parser.add_argument("--digit", type=int, default=7)
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
