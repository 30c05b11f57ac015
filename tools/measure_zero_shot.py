r"""Measure the pretrained models on images that they have never seen.

    python tools/measure_zero_shot.py --malf malf --hippocampus hippocampus.npz \
        --atlas sri24 --mnist MNIST --table doc/zero_shot.csv

Each pair is registered by the model alone, by ``register``, and by ``register`` from
the model, after a pair that compiles. Labels give the mean Dice; a known field gives
the mean distance from it within the brain, in voxels.
"""

from argparse import ArgumentParser
from functools import partial
from pathlib import Path
from time import perf_counter

from brain_sets import SETS
import numpy as np
from recover_field import load_atlas, random_velocity

from dipy_nn_reg import DeformableRegistration, metrics, register
from dipy_nn_reg.data.mnist import load_mnist
from dipy_nn_reg.io.tables import write_csv
from dipy_nn_reg.mapping.maps import displacement_of
from dipy_nn_reg.transform.functions import integrate, warp

# Largest vector of a known velocity in voxels, with its smoothness, and its contrasts.
FIELDS = ((5, 10), (15, 10), (8, 5))
CONTRASTS = ("T1", "T2")
PAIRS_OF_DIGIT = 6


def main():
    options = _parse_arguments()
    rows = []
    for name, load in KINDS.items():
        if options.only and name not in options.only:
            continue
        measures = {}
        pairs = load(options)
        for method in METHODS.values():
            method(*pairs[0][:2])  # compiles
        for moving, static, score in pairs:
            _add(measures, "before", score(np.zeros((*static.shape, static.ndim))))
            for method, function in METHODS.items():
                start = perf_counter()
                field = function(moving, static)
                _add(measures, f"{method}, s", perf_counter() - start)
                _add(measures, method, score(field))
                rough = metrics.sd_log_jacobian(field)
                _add(measures, f"{method}, SDlogJ", rough)
        means = {n: f"{np.mean(values):.3f}" for n, values in measures.items()}
        rows.append({"images": name, "pairs": len(pairs), **means})
        print(rows[-1], flush=True)
    if options.table:
        write_csv(rows, options.table)


def _add(measures, name, value):
    measures.setdefault(name, []).append(value)


_models = {}


def predict(moving, static, **options):
    kind = static.ndim, *options.items()
    if kind not in _models:
        _models[kind] = DeformableRegistration.pretrained(ndim=static.ndim, **options)
    return _models[kind].predict_field(moving[None], static)[0]


def optimise(moving, static, **options):
    return displacement_of(register(moving, static, prealign=None, **options)[0])


METHODS = {
    "pretrained": predict,
    "pretrained, 2 passes": partial(predict, passes=2),
    "register": optimise,
    "pretrained, register": partial(optimise, model="pretrained"),
}


def overlap(moving_labels, static_labels, displacement):
    """Return the mean Dice of labels after a displacement."""
    warped = warp(moving_labels, displacement, interpolation="nearest")
    return np.nanmean(list(metrics.dice_of_labels(static_labels, warped).values()))


def distance(truth, inside, displacement):
    """Return the mean distance of a displacement from the true one."""
    return np.linalg.norm(displacement - truth, axis=-1)[inside].mean()


def _labelled(name, options, *, change=None):
    pairs = []
    for moving, static, labels, *_ in SETS[name](options):
        score = partial(overlap, *(part.data for part in labels))
        data = moving.data if change is None else change(moving.data)
        pairs.append((data, static.data, score))
    return pairs


def _inverted(image):
    """Return an image with bright tissue dark, and the same background."""
    return np.where(image > 0, image.max() - image, 0)


def _recovered(contrast, options):
    t1, t2, brain = load_atlas(Path(options.atlas))
    image, pairs = {"T1": t1, "T2": t2}[contrast], []
    for largest, sigma in FIELDS:
        for seed in range(2):
            rng = np.random.default_rng(seed)
            velocity = random_velocity(rng, t1.shape, largest, sigma)
            score = partial(distance, integrate(-velocity), brain)
            pairs.append((warp(image, integrate(velocity)), t1, score))
    return pairs


def _digits(options):
    pairs = []
    for digit in range(10):
        _, (test, _) = load_mnist(options.mnist, digit=digit)
        rng = np.random.default_rng(digit)
        chosen = np.float32(rng.permutation(test)[: PAIRS_OF_DIGIT + 1])
        for moving, static in zip(chosen[1:], chosen):
            strokes = [np.int32(i > i.max() / 2) for i in (moving, static)]
            pairs.append((moving, static, partial(overlap, *strokes)))
    return pairs


KINDS = {
    "brains at 2 mm, Dice": partial(_labelled, "2 mm"),
    "brains at 2 mm, moving inverted, Dice": partial(
        _labelled, "2 mm", change=_inverted
    ),
    "brains at 1 mm, Dice": partial(_labelled, "1 mm"),
    "hippocampus, Dice": partial(_labelled, "hippocampus"),
    "T1 to T1, known field, error": partial(_recovered, "T1"),
    "T2 to T1, known field, error": partial(_recovered, "T2"),
    "digits, Dice": _digits,
}


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--malf", type=Path, required=True, help="folder of the brains")
    parser.add_argument("--hippocampus", type=Path, help="file of the crops")
    parser.add_argument("--atlas", help="folder of the SRI24 atlas")
    parser.add_argument("--mnist", help="folder with the IDX files of MNIST")
    parser.add_argument("--only", action="append", choices=KINDS, help="by default all")
    parser.add_argument("--table", help="CSV file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
