r"""Measure how the memory of a process grows with each new size of images.

    python tools/measure_memory.py --sizes 100 --ndim 2
    python tools/measure_memory.py --sizes 20 --ndim 3
    python tools/measure_memory.py --sizes 100 --ndim 2 --predict

The script prints the resident memory after the first size and after every tenth of the
others, and the time of a pair of a new size and of a size that occurred before.
"""

import argparse
from time import perf_counter

import numpy as np
import psutil
from scipy.ndimage import gaussian_filter

from dipy_nn_reg import DeformableRegistration, register


def main():
    arguments = parse_arguments()
    run = make_prediction(arguments.ndim) if arguments.predict else make_registration()
    process, rows = psutil.Process(), []
    for i in range(arguments.sizes):
        pair = make_pair(size_of(i, arguments.ndim))
        seconds = [measure(run, pair) for _ in range(2)]
        rows.append((process.memory_info().rss / 2**20, *seconds))
        if i % max(arguments.sizes // 10, 1) == 0:
            print(f"{i + 1:4} sizes: {rows[-1][0]:.0f} MiB", flush=True)
    memory, new, repeated = np.array(rows).T
    growth = (memory[-1] - memory[0]) / max(arguments.sizes - 1, 1)
    print(
        f"{arguments.sizes} sizes: {memory[-1]:.0f} MiB, {growth:.1f} MiB for each; "
        f"new: {np.median(new):.2f} s, repeated: {np.median(repeated):.2f} s"
    )


def make_registration():
    return lambda pair: register(*pair, prealign=None)


def make_prediction(ndim):
    registration = DeformableRegistration(input_shape=(32,) * ndim, seed=0)
    return lambda pair: registration.predict(pair[0][None], pair[1])


def size_of(i, ndim):
    return (40 + i, 44 + 2 * i) if ndim == 2 else (24 + i, 26 + i, 25 + i)


def make_pair(shape):
    image = gaussian_filter(np.random.default_rng(0).random(shape), 2)
    return np.roll(image, 2, axis=0), image


def measure(run, pair):
    start = perf_counter()
    run(pair)
    return perf_counter() - start


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, default=100, help="number of sizes")
    parser.add_argument("--ndim", type=int, choices=(2, 3), default=2)
    parser.add_argument(
        "--predict", action="store_true", help="predict with a model instead"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
