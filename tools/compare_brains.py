r"""Compare registrations of brains: ours, DIPY's SyN, ANTs and SimpleITK's demons.

    python tools/compare_brains.py --malf malf --hippocampus hippocampus.npz \
        --models models --table doc/brains.csv --figure doc/images/brains.png

Models are trained on ten of fifteen people; the pairs are of the other five, and of the
last 26 of 126 cases of the hippocampus. Models missing in ``--models`` are trained,
which takes about an hour. That of images alone goes on from the pretrained model. Each
method runs in a separate process. Our methods register one pair before the clock
starts, to compile. A row holds means over a set of pairs.
"""

from argparse import ArgumentParser
from functools import partial
import json
from pathlib import Path
import resource
import subprocess
import sys
from time import perf_counter

from brain_figure import draw, save_slices
from brain_methods import COMPILED, METHODS, NEED_MODEL, map_by_syn
from brain_sets import LEFT_OUT, SETS, brains_to_train_on, cases_to_train_on
import numpy as np

from dipy_nn_reg.io.tables import write_csv
from dipy_nn_reg.losses.images import lncc
from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.mapping.measures import measure_field
from dipy_nn_reg.mapping.resampling import warp_image
from dipy_nn_reg.metrics.labels import dice_of_labels

# Options of the models and of their training, chosen on pairs of the ten people, and on
# the last ten of the cases to train on. Without a size they start from the pretrained
# model.
MODELS = {
    "brains": (
        brains_to_train_on,
        {"learning_rate": 0.001},
        {"epochs": 375, "batch_size": 1, "mirror": 0, "augment": True},
    ),
    "brains with labels": (
        brains_to_train_on,
        {
            "input_shape": (80, 96, 80),
            "loss": partial(lncc, window=5),
            "smoothness": 0.3,
            "label_weight": 3.0,
        },
        {"epochs": 600, "batch_size": 1, "mirror": 0, "augment": 0.3},
    ),
    "hippocampus with labels": (
        cases_to_train_on,
        {
            "input_shape": (48, 64, 48),
            "loss": partial(lncc, window=5),
            "smoothness": 0.5,
            "label_weight": 3.0,
            "field_stride": 2,
        },
        {"epochs": 60, "batch_size": 2, "augment": True},
    ),
}
# Methods of some sets: others take minutes a pair at 1 mm, or need aligned scans.
METHODS_OF = {
    "1 mm": (
        "affine",
        "DIPY SyN (CC)",
        "ANTs SyN (MI)",
        "trained model, refined",
        "register",
    ),
    "hippocampus": (
        "affine",
        "DIPY SyN (CC)",
        "ANTs SyN (MI)",
        "trained with labels",
        "register",
    ),
    "native": ("affine", "DIPY SyN (CC)", "trained model, refined", "register"),
}
# Methods of the figure.
DRAWN = ("DIPY SyN (CC)", "trained with labels", "register")


def main():
    options = _parse_arguments()
    if options.job:
        print(json.dumps(JOBS[options.job[0]](options, *options.job[1:])))
        return
    rows, results = [], {}
    options.models.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        if not _model_file(options, name).exists():
            print(name, _run(options, "train", name), flush=True)
    for name in options.set or SETS:
        for method in METHODS_OF.get(name, METHODS):
            result = results[name, method] = _run(options, "register", name, method)
            rows.append({"set": name, "method": method, **_row(result)})
            print(rows[-1], flush=True)
    if options.table:
        write_csv(rows, options.table)
    if options.figure:
        draw({m: results["2 mm", m] for m in DRAWN}, options)


def _run(options, *job):
    """Return the result of a job, which is run in a separate process."""
    command = [sys.executable, __file__, *sys.argv[1:], "--job", *job]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{job} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def train(options, name):
    """Train a model and save it; return the time of training."""
    from dipy_nn_reg import DeformableRegistration

    load, how, fit = MODELS[name]
    images, labels = load(options)
    if "input_shape" in how:
        registration = DeformableRegistration(seed=0, **how)
    else:
        registration = DeformableRegistration.pretrained(seed=0, **how)
    start = perf_counter()
    annotations = {"moving_labels": labels} if "labels" in name else {}
    registration.fit(images, **annotations, **fit, verbose=2)
    seconds = perf_counter() - start
    registration.save(_model_file(options, name))
    return {"training seconds": seconds}


def _model_file(options, name):
    return options.models / f"{name.replace(' ', '_')}.keras"


def _model_for(options, name, method):
    """Return the model of a method on a set, or None."""
    if method not in NEED_MODEL:
        return None
    from dipy_nn_reg import DeformableRegistration

    part = "hippocampus" if name == "hippocampus" else "brains"
    labels = " with labels" if "labels" in method else ""
    return DeformableRegistration.load(_model_file(options, part + labels))


def register_pairs(options, name, method):
    """Register the pairs of a set; return the measures of each."""
    model = _model_for(options, name, method)
    pairs = SETS[name](options)
    on_one_grid = name != "native"
    register = partial(_map_on_one_grid if on_one_grid else _map_native, method, model)
    if method in COMPILED:
        register(*pairs[0][:2])
    measures = []
    for i, (moving, static, *labels) in enumerate(pairs):
        start = perf_counter()
        mapping = register(moving, static)
        seconds = perf_counter() - start
        dice = []
        for moving_labels, static_labels in labels:
            warped = warp_image(
                moving_labels, static, [mapping], interpolation="nearest"
            )
            overlaps = dice_of_labels(static_labels.data, warped)
            dice.append(
                [o for n, o in overlaps.items() if dice == [] or n not in LEFT_OUT]
            )
        measures.append({**measure_field(mapping), "dice": dice, "seconds": seconds})
        if i == 0 and name == "2 mm" and options.figure:
            save_slices(options, method, moving, static, mapping)
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"pairs": measures, "GiB": usage}


def _map_on_one_grid(method, model, moving, static):
    size = abs(np.linalg.det(static.affine[:3, :3])) ** (1 / 3)
    displacement, inverse = METHODS[method](moving.data, static.data, size, model)
    return displacement_to_mapping(
        displacement,
        inverse=inverse,
        static_affine=static.affine,
        moving_affine=static.affine,
    )


def _map_native(method, model, moving, static):
    """Return the map of two scans on any grids; the time includes the affine."""
    from dipy_nn_reg import register
    from dipy_nn_reg.mapping.prealign import estimate_prealign

    grids = {"moving_affine": moving.affine, "static_affine": static.affine}
    if method in ("register", "trained model, refined"):
        return register(moving.data, static.data, model=model, **grids)[0]
    images = moving.data, static.data
    prealign = estimate_prealign(*images, **grids, kind="affine").affine
    if method == "affine":
        return displacement_to_mapping(
            np.zeros((*static.data.shape, 3)),
            moving_shape=moving.data.shape,
            prealign=prealign,
            **grids,
        )
    return map_by_syn(
        moving.data.astype(np.float32),
        static.data.astype(np.float32),
        moving_grid2world=moving.affine,
        static_grid2world=static.affine,
        prealign=prealign,
    )


def _row(result):
    pairs = result["pairs"]
    overlaps = [
        np.mean([np.nanmean(d) for d in dice])
        for dice in zip(*(p["dice"] for p in pairs))
    ]
    means = {n: np.mean([p[n] for p in pairs]) for n in pairs[0] if n != "dice"}
    return {
        "pairs": len(pairs),
        "Dice": f"{overlaps[0]:.4f}",
        "Dice, all labels": f"{overlaps[1]:.4f}" if len(overlaps) > 1 else "",
        "folding %": f"{means['folding']:.5f}",
        "SDlogJ": f"{means['sd_log_jacobian']:.3f}",
        "inverse error, mm": f"{means['inverse_error_mm']:.3f}",
        "s": f"{means['seconds']:.2f}",
        "GiB": f"{result['GiB']:.1f}",
    }


JOBS = {"train": train, "register": register_pairs}


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--malf", type=Path, required=True, help="folder of the brains")
    parser.add_argument("--hippocampus", type=Path, help="file of the crops")
    parser.add_argument("--models", type=Path, required=True, help="folder of models")
    parser.add_argument("--set", action="append", choices=SETS, help="by default all")
    parser.add_argument("--table", help="CSV file to write")
    parser.add_argument("--figure", help="PNG file to write")
    parser.add_argument("--job", nargs="+", help="job of a separate process")
    return parser.parse_args()


if __name__ == "__main__":
    main()
