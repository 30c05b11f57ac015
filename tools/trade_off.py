r"""Measure what smoothness costs: the overlap of brains over the roughness of fields.

    python -m venv peers
    peers/bin/pip install picsl_greedy torch==2.13.0 fireants convexAdam
    python tools/trade_off.py --malf malf --peers peers/bin/python \
        --table doc/trade_off.csv --figure doc/images/trade_off.png

Each method registers the pairs of ``compare_brains.py``, and the same pairs the other
way round, at several smoothnesses, all in one run. A row holds means over both:

* Dice over 30 groups of structures, labels read from the nearest voxel;
* roughness: SDlogJ as in Learn2Reg, which shear escapes, and the standard deviation of
  the logarithms of the singular values of the Jacobian, which it does not;
* percent of voxels that fold by any one-sided differences;
* distance in voxels from where a point was after the field and its inverse, on average
  and the 99.9 percentile, inside the brain (peers in Python environments of their own
  are not asked for an inverse);
* the same after the fields of both directions;
* median seconds of a pair on one grid, the first one left out.

``--method "register, turned"`` starts from an alignment that turns the images apart by
up to two degrees about each axis; what is measured both ways then means nothing.
"""

from argparse import ArgumentParser
from functools import partial
from pathlib import Path
import subprocess
from tempfile import TemporaryDirectory
from time import perf_counter

from brain_methods import ants_syn, demons, map_by_syn
from brain_sets import SETS
import numpy as np
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from dipy_nn_reg import metrics, register
from dipy_nn_reg.io.tables import write_csv
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.maps import mapping_to_displacement
from dipy_nn_reg.mapping.points import to_moving, to_static
from dipy_nn_reg.metrics.labels import dice_of_labels

TURNED = "register, turned"
PEER_FIELD = Path(__file__).with_name("peer_field.py")
# Settings of each method: of Greedy and FireANTs the smoothing of the update and of the
# field, of ConvexAdam its ``lambda_weight``, of both SyN the iterations, of demons the
# smoothing of the field in voxels, of ours ``smoothness``.
SETTINGS = {
    "register": (0.5, 1.0, 2.0, 4.0),
    "register, fewer iterations": (0.5, 1.0),
    "register, symmetric": (1.0, 2.0, 4.0),
    "register, velocity": (0.5,),
    TURNED: (1.0,),
    "Greedy": ("1.5vox 0.5vox", "2.0vox 1.0vox", "3.0vox 1.5vox"),
    "FireANTs": ("1.0 0.5", "1.5 0.8"),
    "ConvexAdam": ("1.25",),
    "DIPY SyN (CC)": ((10, 10, 5), (50, 50, 25)),
    "ANTs SyN (CC)": ((40, 20, 0), (40, 20, 10)),
    "demons (SimpleITK)": (1.0, 1.5),
}
FEWER = (15, 15, 10, 4)
PEERS = ("Greedy", "FireANTs", "ConvexAdam")
# Methods that take minutes a pair at 1 mm, and the velocity.
SLOW = (
    "DIPY SyN (CC)",
    "ANTs SyN (CC)",
    "demons (SimpleITK)",
    "FireANTs",
    "ConvexAdam",
    "register, velocity",
)


def main():
    options = _parse_arguments()
    rows = []
    for name in options.set:
        pairs = [pair[:3] for pair in SETS[name](options)]
        pairs = pairs[: options.pairs]
        for method in _methods(name, options):
            for setting in SETTINGS[method]:
                run = partial(METHODS[method], setting=setting, options=options)
                row = {"set": name, "method": method, "setting": setting}
                rows.append({**row, **measure(run, pairs)})
                print(rows[-1], flush=True)
                if options.table:
                    write_csv(rows, options.table)
    if options.figure:
        draw(rows, options)


def _methods(set_name, options):
    """Return the methods that are run on a set of images."""
    if options.method:
        return options.method
    missing = () if options.peers else PEERS
    slow = SLOW if set_name == "1 mm" else ()
    left_out = (*missing, *slow, TURNED)
    return [method for method in SETTINGS if method not in left_out]


def measure(run, pairs):
    """Return the means of the measures of a method over pairs, both ways."""
    results = []
    for moving, static, groups in pairs:
        images, labels = (moving.data, static.data), [g.data for g in groups]
        forth = _measured(run, *images, *labels)
        back = _measured(run, *images[::-1], *labels[::-1])
        apart = _after_both(forth["field"], back["field"])[static.data > 0]
        results += [{**one, "both ways": apart.mean()} for one in (forth, back)]
    seconds = [one["s"] for one in results]
    means = {
        name: np.mean([one[name] for one in results])
        for name in results[0]
        if name not in ("field", "s")
    }
    means["s"] = np.median(seconds[1:] if len(seconds) > 1 else seconds)
    return {name: f"{value:.4f}" for name, value in means.items()}


def _measured(run, moving, static, moving_labels, static_labels):
    start = perf_counter()
    field, inverse, seconds = run(moving, static)
    seconds = seconds or perf_counter() - start
    positions = _moved(field)
    warped = map_coordinates(moving_labels, positions, order=0)
    overlaps = dice_of_labels(static_labels, warped)
    there = np.full(3, np.nan)
    if inverse is not None:
        there = _after_both(field, inverse)[moving > 0]
    return {
        "Dice": np.nanmean(list(overlaps.values())),
        "SDlogJ": metrics.sd_log_jacobian(field),
        "SD log singular values": _sd_log_singular_values(field),
        "strict folding %": metrics.folding(field, strict=True),
        "inverse, mean": there.mean(),
        "inverse, 99.9 %": np.quantile(there, 0.999),
        "s": seconds,
        "field": field,
    }


def _moved(field):
    return np.indices(field.shape[:-1], np.float32) + np.moveaxis(field, -1, 0)


def _after_both(first, second):
    """Return how far points end from where they were, after two displacements."""
    read = partial(map_coordinates, order=1, mode="nearest")
    rest = [read(first[..., d], _moved(second)) for d in range(first.shape[-1])]
    return np.linalg.norm(second + np.stack(rest, axis=-1), axis=-1)


def _sd_log_singular_values(field):
    """Return the deviation of the logarithms of the stretches, without the border."""
    inner = (slice(2, -2),) * (field.ndim - 1)
    slopes = np.stack(np.gradient(field, axis=range(field.ndim - 1)), axis=-1)[inner]
    jacobian = slopes + np.eye(field.shape[-1], dtype=np.float32)
    values = np.linalg.svd(jacobian, compute_uv=False)
    return np.log(np.maximum(values, 1e-3)).std()


def ours(moving, static, *, setting, options, **chosen):
    mapping, _ = register(moving, static, prealign=None, smoothness=setting, **chosen)
    return *mapping_to_displacement(mapping), None


def turned(moving, static, *, setting, options):
    """Register images that an alignment turns apart, which should cost no overlap."""
    turn, middle = np.eye(4), (np.array(static.shape) - 1) / 2
    turn[:3, :3] = Rotation.from_euler("xyz", (2, 1, -2), degrees=True).as_matrix()
    turn[:3, 3] = middle - turn[:3, :3] @ middle
    mapping, _ = register(moving, static, prealign=turn, smoothness=setting)
    grid = Grid(static.shape, np.eye(4))
    points = grid.points()
    return (
        *(
            np.float32(move(points, [mapping]) - points).reshape(*static.shape, 3)
            for move in (to_moving, to_static)
        ),
        None,
    )


def syn(moving, static, *, setting, options):
    mapping = map_by_syn(moving, static, level_iters=setting)
    return *mapping_to_displacement(mapping), None


def by_peer(moving, static, *, name, setting, options):
    with TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("pair.npz", "field.npz")]
        np.savez(files[0], moving=moving, static=static)
        command = [options.peers, PEER_FIELD, name, *files, setting]
        subprocess.run(command, check=True, capture_output=True)
        with np.load(files[1]) as file:
            return file["displacement"], None, float(file["seconds"])


def by_ants(moving, static, *, setting, options):
    chosen = {"metric": "CC", "sampling": 2, "reg_iterations": setting}
    return *ants_syn(moving, static, 1, None, **chosen), None


def by_demons(moving, static, *, setting, options):
    return *demons(moving, static, 1, None, sigma=setting), None


METHODS = {
    "register": ours,
    "register, fewer iterations": partial(ours, level_iters=FEWER),
    "register, symmetric": partial(ours, symmetric=True),
    "register, velocity": partial(ours, transform="velocity"),
    TURNED: turned,
    **{name: partial(by_peer, name=name) for name in PEERS},
    "DIPY SyN (CC)": syn,
    "ANTs SyN (CC)": by_ants,
    "demons (SimpleITK)": by_demons,
}


def draw(rows, options):
    """Draw the Dice of each method over both measures of roughness."""
    import matplotlib.pyplot as plt

    measures = ("SDlogJ", "SD log singular values")
    figure, axes = plt.subplots(
        len(options.set), 2, figsize=(10, 4 * len(options.set)), layout="constrained"
    )
    for line, name in zip(np.atleast_2d(axes), options.set):
        for axis, measured in zip(line, measures):
            for colour, method in enumerate(SETTINGS):
                chosen = [r for r in rows if (r["set"], r["method"]) == (name, method)]
                points = [(float(r[measured]), float(r["Dice"])) for r in chosen]
                style = {"color": f"C{colour}", "label": method}
                axis.plot(*(zip(*points) if points else ([], [])), "o-", **style)
            axis.set(xlabel=measured, ylabel="Dice", title=name)
            axis.grid(alpha=0.4)
    np.atleast_2d(axes)[0, 0].legend()
    figure.savefig(options.figure, dpi=100)


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--malf", type=Path, required=True, help="folder of the brains")
    parser.add_argument("--peers", help="python of an environment of the peers")
    parser.add_argument("--set", action="append", choices=("2 mm", "1 mm"))
    parser.add_argument("--method", action="append", choices=tuple(SETTINGS))
    parser.add_argument("--pairs", type=int, help="number of pairs, by default all")
    parser.add_argument("--table", help="CSV file to write")
    parser.add_argument("--figure", help="PNG file to write")
    options = parser.parse_args()
    options.set = options.set or ["2 mm", "1 mm"]
    return options


if __name__ == "__main__":
    main()
