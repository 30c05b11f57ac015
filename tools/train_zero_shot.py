r"""Train a network that registers images it has never seen, on made shapes alone.

    KERAS_BACKEND=jax python tools/train_zero_shot.py --ndim 3 --folder runs/3d \
        --steps 40000

The pairs are those of :mod:`dipy_nn_reg.data.shapes`. A step is the same whenever it is
run: a training that was stopped goes on from its last checkpoint, to the same weights.
"""

from argparse import ArgumentParser
from collections import deque
from concurrent.futures import ThreadPoolExecutor
import csv
from datetime import datetime
from functools import partial
import math
from pathlib import Path
from time import perf_counter

import keras
from keras import ops
import numpy as np

from dipy_nn_reg.backend import JIT_COMPILE
from dipy_nn_reg.data.shape_draws import draw_pairs
from dipy_nn_reg.data.shapes import make_pairs
from dipy_nn_reg.losses.images import lncc, ncc
from dipy_nn_reg.losses.penalties import gradient
from dipy_nn_reg.networks.pyramid import pyramid
from dipy_nn_reg.transform.functions import warp
from dipy_nn_reg.transform.kinds import connect_field
from dipy_nn_reg.transform.layers import RescaleIntensity

# Shapes of images, number of pairs in a step, and share of the steps, by rank.
SIZES = {
    2: [((32, 32), 64, 0.6), ((96, 96), 16, 0.4)],
    3: [((64, 80, 64), 8, 1.0)],
}
# Distance in voxels of the values of the velocity.
STRIDES = {2: 1, 3: 2}
# Lowest and highest weight of the penalty.
SMOOTHNESS = 0.02, 2.0
# Weights of local and of global correlation, and of the mean distance from the true
# displacement in voxels, by rank. Where ribbons differ, the true displacement is not
# the one that registers them.
WEIGHTS = {2: (0.5, 0.5, 0.0), 3: (1.0, 0.0, 0.05)}
WINDOW = 5
# Number of steps of which a row of the log has the means.
STEPS_IN_ROW = 250


def draw_step(ndim, seed, step):
    """Draw the random numbers of a step, which depend on the seed and its number."""
    rng = np.random.default_rng([seed, step])
    shares = [share for _, _, share in SIZES[ndim]]
    shape, n, _ = SIZES[ndim][rng.choice(len(shares), p=shares)]
    return draw_pairs(n, shape, rng) | {"smoothness": rng.random((n, 1), np.float32)}


class Training(keras.Model):
    """Make pairs of their random numbers, register them, and compare."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        # The distances are those from the true displacement, in voxels: of no motion,
        # and of what the network predicts.
        self.means = [
            keras.metrics.Mean(name=n)
            for n in ("difference", "before", "after", "penalty")
        ]
        self.built = True

    def call(self, draws, training=None):
        draws = dict(draws)
        smoothness = draws.pop("smoothness")
        pairs = {n: ops.stop_gradient(v) for n, v in make_pairs(draws).items()}
        images = {n: pairs[n] for n in ("moving", "static")}
        return pairs | self.network(images | {"smoothness": smoothness})

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        low, high = SMOOTHNESS
        weight = low * (high / low) ** x["smoothness"][:, 0]
        truth, found = y_pred["displacement"], y_pred["found"]
        warped = warp(y_pred["clean_moving"], found, image_is_constant=True)
        near, whole, supervision = WEIGHTS[len(warped.shape) - 2]
        difference = near * lncc(y_pred["clean_static"], warped, window=WINDOW)
        difference += whole * ncc(y_pred["clean_static"], warped)
        rough = gradient(y_pred["field"])
        error = _mean_length(truth - found)
        values = difference, _mean_length(truth), error, rough
        for mean, value in zip(self.means, values):
            mean.update_state(value)
        return ops.mean(difference + weight * rough + supervision * error)


def _mean_length(vectors):
    lengths = ops.sqrt(ops.sum(ops.square(vectors), axis=-1) + 1e-3)
    return ops.mean(lengths, axis=tuple(range(1, len(lengths.shape))))


def build(ndim, seed=0):
    """Return the network from two images and a smoothness to its field."""
    rng = np.random.default_rng(seed)
    shape = (*[None] * ndim, 1)
    images = {n: keras.Input(shape, name=n) for n in ("moving", "static")}
    dial = keras.Input((1,), name="smoothness")
    moving, static = (RescaleIntensity()(images[n]) for n in ("moving", "static"))
    field = pyramid(
        moving,
        static,
        values=ndim,
        spacing=STRIDES[ndim],
        seed=lambda: int(rng.integers(2**31)),
        dial=dial,
    )
    field, found = connect_field(
        "velocity", field, static, spacing=1, stride=STRIDES[ndim]
    )
    return keras.Model(images | {"smoothness": dial}, {"field": field, "found": found})


def main():
    options = _parse_arguments()
    options.folder.mkdir(parents=True, exist_ok=True)
    training = Training(build(options.ndim, options.seed))
    if options.weights:
        training.network.load_weights(options.weights)
    optimizer = keras.optimizers.Adam(options.rate, global_clipnorm=1.0)
    optimizer.build(training.trainable_variables)
    training.compile(optimizer, jit_compile=JIT_COMPILE)
    checkpoint = options.folder / "checkpoint.weights.h5"
    if checkpoint.exists():
        training.load_weights(checkpoint)
    run(training, options, checkpoint)


def run(training, options, checkpoint):
    """Train from the step of the optimizer on; save a checkpoint now and then."""
    saved = row_began = perf_counter()
    row = []
    draw = partial(draw_step, options.ndim, options.seed)
    with ThreadPoolExecutor(options.workers) as pool:
        first = int(training.optimizer.iterations)
        drawn = deque(pool.submit(draw, first + i) for i in range(2 * options.workers))
        for step in range(first, options.steps):
            drawn.append(pool.submit(draw, step + len(drawn)))
            training.optimizer.learning_rate.assign(rate_at(step, options))
            draws = drawn.popleft().result()
            row.append(training.train_on_batch(draws, return_dict=True))
            if (step + 1) % STEPS_IN_ROW and step + 1 < options.steps:
                continue
            now = perf_counter()
            means = {n: np.mean([float(logs[n]) for logs in row]) for n in row[0]}
            means["seconds"] = (now - row_began) / len(row)
            _log(options.folder / "log.csv", {"step": step + 1, **means})
            if now - saved > options.minutes * 60:
                _save(training, checkpoint)
                saved = now
            row, row_began = [], perf_counter()
    _save(training, checkpoint)


def rate_at(step, options):
    """Return the learning rate of a step: it rises, and falls along a cosine to 0."""
    if step < options.warm_up:
        return options.rate * (step + 1) / options.warm_up
    done = (step - options.warm_up) / (options.steps - options.warm_up)
    return options.rate * (1 + math.cos(math.pi * done)) / 2


def _save(training, checkpoint):
    """Save all, so that a training that is killed while it saves loses nothing."""
    unfinished = checkpoint.with_name("unfinished.weights.h5")
    for model, path in (
        (training, checkpoint),
        (training.network, checkpoint.with_name("network.weights.h5")),
    ):
        model.save_weights(unfinished)
        unfinished.replace(path)


def _log(path, row):
    row = {n: v if n == "step" else f"{float(v):.4f}" for n, v in row.items()}
    print(datetime.now().strftime("%H:%M:%S"), row, flush=True)
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        table = csv.DictWriter(file, row)
        if is_new:
            table.writeheader()
        table.writerow(row)


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ndim", type=int, choices=(2, 3), required=True)
    parser.add_argument(
        "--folder", type=Path, required=True, help="checkpoint, log and weights"
    )
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate")
    parser.add_argument("--warm_up", type=int, default=200, help="steps")
    parser.add_argument("--weights", help="weights to begin with")
    parser.add_argument("--workers", type=int, default=2, help="threads that draw")
    parser.add_argument(
        "--minutes", type=float, default=3, help="time between checkpoints"
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
