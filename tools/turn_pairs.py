r"""Turn one image of many pairs, and see whether the alignment finds it.

    python tools/turn_pairs.py --data data --turns 40 --table doc/turned.csv \
        --greedy greedy/bin/python

``data`` holds the folders malf, sri24, hippocampus, oasis2d and mnist. The moving image
is turned by up to 180 degrees and shifted by up to 100 mm: in its header, with another
order of storage; by a header that ignores the order of storage; and by interpolation on
a new grid. A result is right if it differs by at most 2 degrees, and by 2 mm (2 pixels
of a slice) on average over the object, from that of the same method for the pair before
it was turned; it is near if the distance is small, whatever the angle. Greedy, in an
environment of its own (see ``greedy_affine.py``), searches by moments of inertia first.
Times are those of processors, without files: ours is estimated in one thread, so that
this is the time which one waits on an idle machine; Greedy is given two threads.
"""

from argparse import ArgumentParser
import os
from pathlib import Path
from time import process_time

from affine_methods import run_greedy
from nibabel.affines import apply_affine
import numpy as np
from scipy.linalg import polar
from turned_sets import OTHER_CONTRAST, SETS, WAYS, structure

from dipy_nn_reg.io.tables import write_csv
from dipy_nn_reg.mapping.affine_summary import describe_affine
from dipy_nn_reg.mapping.prealign import estimate_prealign

# Largest differences of a right result.
MAX_ANGLE, MAX_DISTANCE = 2.0, 2.0


def main():
    options = _parse_arguments()
    rows, turns = [], []
    for name in options.set or SETS:
        pairs = SETS[name](options)
        methods = {"ours": (_ours, options.turns)} if options.turns else {}
        if options.greedy:
            methods["Greedy"] = (_greedy(options.greedy, name), options.greedy_turns)
        for method, (align, number) in methods.items():
            results = _turn_pairs(pairs, align, number, options.seed)
            turns += [{"images": name, "method": method, **one} for one in results]
            rows.append({"images": name, "method": method, **_row(results)})
            print(rows[-1], f"load {os.getloadavg()[0]:.1f}", flush=True)
            if options.every:
                write_csv(turns, options.every)
    if options.table:
        write_csv(rows, options.table)


def _turn_pairs(pairs, align, number, seed):
    """Return the angle, the distance and the seconds of each turned pair."""
    ways, results, straight = list(WAYS), [], {}
    for i in range(number):
        j = i % len(pairs)
        moving, static = pairs[j]
        if j not in straight:
            straight[j] = align(moving, static)
        # Each way is used on each pair.
        way = ways[i // len(pairs) % len(ways)]
        rng = np.random.default_rng([seed, i])
        *turned, motion = WAYS[way](rng, *moving)
        affine, seconds, note = align(turned, static)
        angle, distance = _difference(affine, motion @ straight[j][0], static)
        turn = describe_affine(motion, np.zeros(moving[0].ndim)).angle_degrees
        results.append(
            {
                "pair": j,
                "turn": i,
                "way": way,
                "turned by": f"{turn:.0f}",
                "angle": f"{angle:.2f}",
                "distance": f"{distance:.2f}",
                "right": int(angle <= MAX_ANGLE and distance <= MAX_DISTANCE),
                "seconds": seconds,
                "note": note,
                "not turned": straight[j][2],
            }
        )
    return results


def _difference(affine, expected, static):
    """Return the angle, and the mean distance over the object, of two affines."""
    rotation, _ = polar((affine @ np.linalg.inv(expected))[:-1, :-1])
    motion = np.eye(len(affine))
    motion[:-1, :-1] = rotation
    angle = describe_affine(motion, np.zeros(len(rotation))).angle_degrees
    values, to_world = static
    points = apply_affine(to_world, np.argwhere(structure(values)))
    steps = apply_affine(affine, points) - apply_affine(expected, points)
    return angle, np.linalg.norm(steps, axis=1).mean()


def _ours(moving, static):
    start = process_time()
    alignment = estimate_prealign(
        moving[0], static[0], moving_affine=moving[1], static_affine=static[1]
    )
    return alignment.affine, process_time() - start, str(alignment)


def _greedy(python, name):
    metric = "NMI" if name in OTHER_CONTRAST else "NCC"

    def align(moving, static):
        return run_greedy(python, moving, static, metric, "affine", "moments")

    return align


def _row(results):
    row = {"turns": len(results)}
    row["right %"] = f"{100 * np.mean([one['right'] for one in results]):.1f}"
    near = [float(one["distance"]) <= MAX_DISTANCE for one in results]
    row["near %"] = f"{100 * np.mean(near):.1f}"
    for way in WAYS:
        right = [one["right"] for one in results if one["way"] == way]
        row[f"{way} %"] = f"{100 * np.mean(right):.1f}" if right else ""
    seconds = [one["seconds"] for one in results]
    row["median CPU s"] = f"{np.median(seconds):.2f}"
    row["largest CPU s"] = f"{max(seconds):.2f}"
    return row


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder of the images")
    parser.add_argument("--set", action="append", choices=SETS, help="default: all")
    parser.add_argument("--turns", type=int, default=200, help="0: only Greedy")
    parser.add_argument("--greedy", help="python of an environment of Greedy")
    parser.add_argument("--greedy_turns", type=int, default=20)
    parser.add_argument("--table", help="CSV file to write")
    parser.add_argument("--every", help="CSV file of every turn")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
