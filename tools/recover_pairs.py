r"""Register pairs of SRI24 that were deformed by known fields, without a model.

    python tools/recover_pairs.py --atlas sri24 --table doc/recovered_sri24.csv

Images and fields are made as in ``recover_field.py``, also with larger fields; nothing
is trained. T1 is registered to T1 with the defaults of ``register``, T2 to T1 with
losses for two contrasts. A row holds the mean distance inside the brain, in voxels,
from the inverse of the known field: before registration, and after ``register`` with
and without its coarse search.
"""

from argparse import ArgumentParser
from pathlib import Path
from unittest.mock import patch

import numpy as np
from recover_field import load_atlas, random_velocity
from tqdm import tqdm

from dipy_nn_reg import metrics, register
from dipy_nn_reg.io.tables import write_csv
from dipy_nn_reg.mapping.maps import displacement_of
from dipy_nn_reg.pairwise import levels
from dipy_nn_reg.transform.functions import integrate, warp

# Length of the longest vector of each velocity, and its smoothness, in voxels.
FIELDS = ((5, 10), (10, 10), (15, 10), (20, 10), (8, 5), (12, 5))
CASES = (("T1", None), ("T2", "mi"), ("T2", "mind"))


def main():
    options = _parse_arguments()
    t1, t2, brain = load_atlas(Path(options.atlas))
    images, rows = {"T1": t1, "T2": t2}, []
    for largest, sigma in tqdm(FIELDS, disable=None):
        velocities = [
            random_velocity(np.random.default_rng(seed), t1.shape, largest, sigma)
            for seed in range(options.fields)
        ]
        truths = [integrate(-v) for v in velocities]
        for contrast, loss in CASES:
            moving = [warp(images[contrast], integrate(v)) for v in velocities]
            row = {"largest": largest, "sigma": sigma, "moving": contrast}
            row |= {"loss": loss or "default"}
            row["before"] = _error(np.zeros_like(truths), truths, brain)
            fields = [_register(m, t1, loss) for m in moving]
            row["after"] = _error(fields, truths, brain)
            row["folding %"] = f"{np.mean([metrics.folding(u) for u in fields]):.4f}"
            with patch.object(levels, "MAX_SEARCHED", 0):
                fields = [_register(m, t1, loss) for m in moving]
            row["after, no search"] = _error(fields, truths, brain)
            rows.append(row)
            print(row, flush=True)
    if options.table:
        write_csv(rows, options.table)


def _register(moving, static, loss):
    mapping, _ = register(moving, static, prealign=None, loss=loss)
    return displacement_of(mapping)


def _error(fields, truths, brain):
    """Return the mean distance of fields from the true ones, as text."""
    lengths = [np.linalg.norm(u - t, axis=-1)[brain] for u, t in zip(fields, truths)]
    return f"{np.mean(lengths):.2f}"


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--atlas", required=True, help="folder of the SRI24 atlas")
    parser.add_argument("--table", help="CSV file to write")
    parser.add_argument(
        "--fields", type=int, default=3, help="number of fields of each kind"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
