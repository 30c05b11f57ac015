r"""Compare all networks, transforms, losses and penalties on one digit of MNIST.

    python tools/compare_systems.py --folder MNIST --table doc/systems_mnist.csv

Each system is trained on random pairs of the training images, for 1,600 steps of 32
pairs. Then 100 test images are registered to each of five static test images, and SyN
registers the first 12 of each 100. It took 25 minutes, with other work on the machine.

    python tools/compare_systems.py --folder MNIST --held_out \
        --variant "loss='mi', smoothness=0.5" --variant "loss='mi', smoothness=1.0"

compares other options, with the last tenth of the training images in place of the test
images. The defaults were chosen in this way.
"""

from argparse import ArgumentParser
from math import ceil
from time import perf_counter

import keras
import numpy as np
from options import parse_options

from dipy_nn_reg import AffineRegistration, DeformableRegistration
from dipy_nn_reg.data.mnist import load_mnist
from dipy_nn_reg.io.tables import write_csv
from dipy_nn_reg.quality.beside_syn import SYN_METRICS, measure, register_with_syn
from dipy_nn_reg.workflows.mnist import BATCH_SIZE, TRAINING_STEPS

STATIC_IMAGES, MOVING_IMAGES, SYN_PAIRS = 5, 100, 12
SYSTEMS = [
    # The default and its predecessors.
    "",
    "network='voxelmorph1'",
    "network='voxelmorph2'",
    "network='fcn', penalty='tv'",
    "network='dirnet', transform='bspline', spacing=8, smoothness=0",
    "network='dirnet', transform='bspline', spacing=4, smoothness=0",
    "network='encoder_decoder', transform='displacement', smoothness=0",
    "network='encoder_decoder', transform='displacement'",
    "network='encoder_decoder'",
    # Other transforms.
    "transform='displacement'",
    "transform='bspline'",
    "transform='bspline_velocity'",
    "transform='tps'",
    "affine",
    "affine, then the default",
    # Other losses.
    "loss='mse'",
    "loss='lncc'",
    "loss='mi'",
    "loss='mind'",
    # Other penalties.
    "penalty='tv'",
    "penalty='bending'",
    "penalty={'gradient': 0.25, 'folding': 10}",
    "penalty='inverse_consistency'",
    # A static image of another contrast.
    "other contrast: loss='mse'",
    "other contrast: loss='ncc'",
    "other contrast: loss='mi'",
    "other contrast: loss='mind'",
]


def main():
    options = _parse_arguments()
    (train, _), (test, _) = load_mnist(options.folder, digit=options.digit)
    if options.held_out:
        train, test = np.split(train, [len(train) * 9 // 10])
    rng = np.random.default_rng([options.seed, options.digit])
    pairs = []
    for _ in range(STATIC_IMAGES):
        static, *moving = rng.permutation(test)[: MOVING_IMAGES + 1]
        pairs.append((np.stack(moving), static))
    rows = []
    if not options.variant:
        rows = [_before(pairs), *(_syn(pairs, metric) for metric in SYN_METRICS)]
    for system in options.variant or SYSTEMS:
        rows.append(compare(system, train, pairs, seed=options.seed))
        print(rows[-1], flush=True)
        keras.backend.clear_session()
    if options.table:
        write_csv(rows, options.table)


def compare(system, train, pairs, *, seed):
    """Train a system and register pairs with it; return a row of the table."""
    contrast, text = invert if system.startswith("other") else None, system
    start = perf_counter()
    registration = _train(text.removeprefix("other contrast: "), train, contrast, seed)
    training_seconds = perf_counter() - start
    rows, seconds = [], 0
    for moving, static in pairs:
        target = static if contrast is None else contrast(static)
        field = registration.predict_field(moving, target)  # compiles
        start = perf_counter()
        warped = registration.predict(moving, target)
        seconds += perf_counter() - start
        rows += [measure(static, *result) for result in zip(warped, field)]
    model = registration.model
    return {
        "system": system or "default: unet, velocity, ncc, gradient",
        **_means(rows),
        "parameters": sum(int(np.prod(w.shape)) for w in model.trainable_weights),
        "training s": f"{training_seconds:.0f}",
        "ms a pair": f"{1000 * seconds / len(rows):.2f}",
    }


def invert(images):
    """Return images of another contrast: inverted and bent."""
    return (1 - images) ** 2


def _train(system, train, contrast, seed):
    common = {"input_shape": train.shape[1:], "seed": seed}
    if system.startswith("affine"):
        registration = AffineRegistration(**common)
        if system != "affine":
            _fit(registration, train, contrast, seed)
            registration = DeformableRegistration(affine=registration, **common)
    else:
        registration = DeformableRegistration(**common, **parse_options(system))
    _fit(registration, train, contrast, seed)
    return registration


def _fit(registration, train, contrast, seed):
    if contrast is None:
        epochs = ceil(TRAINING_STEPS * BATCH_SIZE / len(train))
        registration.fit(train, epochs=epochs, batch_size=BATCH_SIZE, verbose=0)
        return
    # Random pairs as arrays, since only one image of each pair changes its contrast.
    rng = np.random.default_rng(seed)
    moving, static = rng.integers(len(train), size=(2, TRAINING_STEPS * BATCH_SIZE))
    registration.fit(
        train[moving],
        contrast(train[static]),
        epochs=1,
        batch_size=BATCH_SIZE,
        verbose=0,
    )


def _before(pairs):
    rows = [
        measure(static, image, np.zeros((*static.shape, 2)))
        for moving, static in pairs
        for image in moving
    ]
    return {"system": "before", **_means(rows)}


def _syn(pairs, metric):
    rows, seconds = [], 0
    for moving, static in pairs:
        for image in moving[:SYN_PAIRS]:
            warped, field, took = register_with_syn(image, static, metric=metric)
            rows.append(measure(static, warped, field))
            seconds += took
    return {
        "system": f"DIPY SyN ({metric})",
        **_means(rows),
        "ms a pair": f"{1000 * seconds / len(rows):.2f}",
    }


def _means(rows):
    columns = {"NCC": "ncc", "Dice": "dice"}
    means = {t: f"{np.mean([r[c] for r in rows]):.3f}" for t, c in columns.items()}
    columns = {"folding %": "folding", "strict folding %": "strict_folding"}
    return means | {
        t: f"{np.mean([r[c] for r in rows]):.4f}" for t, c in columns.items()
    }


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", help="folder with the IDX files of MNIST")
    parser.add_argument("--table", help="CSV file to write")
    parser.add_argument("--digit", type=int, default=2)
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of weights and images"
    )
    parser.add_argument("--variant", action="append", help="a system, as in the table")
    parser.add_argument(
        "--held_out", action="store_true", help="do not use the test images"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
