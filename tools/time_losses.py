r"""Time each loss, and its gradient, on a volume of 80 x 96 x 80.

    python tools/time_losses.py --table doc/times_losses.csv

``lncc`` is timed for several windows, whose size should not matter. A figure is the
median of seven calls of loss and gradient together, after one that compiles.
"""

from argparse import ArgumentParser
from functools import partial
from time import perf_counter

import numpy as np
import tensorflow as tf

from dipy_nn_reg.io.tables import write_csv
from dipy_nn_reg.losses.choices import LOSSES
from dipy_nn_reg.losses.images import lncc

SHAPE, WINDOWS, CALLS = (1, 80, 96, 80, 1), (5, 9, 15, 31), 7


def main():
    options = _parse_arguments()
    rng = np.random.default_rng(0)
    static, warped = (tf.constant(rng.random(SHAPE, np.float32)) for _ in range(2))
    losses = {f"lncc, window {w}": partial(lncc, window=w) for w in WINDOWS}
    losses |= {
        name: LOSSES[name].function
        for name in ("mse", "ncc", "mi", "mind", "robust_lncc")
    }
    rows = []
    for name, loss in losses.items():
        rows.append(
            {"loss": name, "ms": f"{1000 * _seconds(loss, static, warped):.0f}"}
        )
        print(rows[-1], flush=True)
    if options.table:
        write_csv(rows, options.table)


def _seconds(loss, static, warped):
    @tf.function(autograph=False)
    def gradient(static, warped):
        with tf.GradientTape() as tape:
            tape.watch(warped)
            value = loss(static, warped)
        return tape.gradient(value, warped)

    gradient(static, warped)
    seconds = []
    for _ in range(CALLS):
        start = perf_counter()
        gradient(static, warped).numpy()
        seconds.append(perf_counter() - start)
    return np.median(seconds)


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", help="CSV file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
