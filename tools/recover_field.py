r"""Register T2 to T1 images of one brain that were deformed by known fields.

    python tools/recover_field.py --atlas sri24 --table doc/fields_sri24.csv

The folder holds ``spgr.nii.gz`` (T1), ``late.nii.gz`` (T2) and ``lpba40.nii.gz``
(labels) of the SRI24 atlas, which are in one space. At 3 mm, the T2 image is deformed
by smooth random velocities of up to 5 voxels. A network is trained to register some of
the deformed images to the T1 image, without seeing their fields. Its predictions are
compared, inside the brain, with the inverses of the known fields: for the images that
it was trained on, and for others. It took eight minutes, with other work on the
machine.
"""

from argparse import ArgumentParser
from pathlib import Path
from time import perf_counter

import nibabel as nib
import numpy as np
from options import parse_options
from scipy.ndimage import gaussian_filter
from tqdm import tqdm

from dipy_nn_reg import DeformableRegistration, metrics
from dipy_nn_reg.io.tables import write_csv
from dipy_nn_reg.transform.functions import integrate, warp

# Voxel size in mm; length of the longest vector and smoothness of a velocity, in
# voxels; number of fields of each kind that are tested.
SPACING, LARGEST, SIGMA, TEST_FIELDS = 3, 5, 10, 4
VARIANTS = ("loss='mind', smoothness=0.02",)


def main():
    options = _parse_arguments()
    t1, t2, brain = load_atlas(Path(options.atlas))
    rng = np.random.default_rng(options.seed)
    velocities = [
        random_velocity(rng, t1.shape, LARGEST, SIGMA)
        for _ in range(options.fields + TEST_FIELDS)
    ]
    moving = np.stack([warp(t2, integrate(v)) for v in tqdm(velocities, disable=None)])
    tests = [*range(TEST_FIELDS), *range(options.fields, len(velocities))]
    truths = [integrate(-velocities[i]) for i in tests]
    initial = [np.linalg.norm(u[brain], axis=-1).mean() for u in truths]
    rows = []
    for variant in options.variant or VARIANTS:
        registration, seconds = _train(variant, moving[: options.fields], t1, options)
        fields = registration.predict_field(moving[tests], t1)
        errors = [
            np.linalg.norm((u - truth)[brain], axis=-1).mean()
            for u, truth in zip(fields, truths)
        ]
        row = {"options": variant, "fields": options.fields, "epochs": options.epochs}
        row |= _means(initial, errors)
        row["folding %"] = f"{np.mean([metrics.folding(u) for u in fields]):.4f}"
        rows.append({**row, "training s": f"{seconds:.0f}"})
        print(rows[-1], flush=True)
    if options.table:
        write_csv(rows, options.table)


def _train(variant, moving, t1, options):
    """Return a model that registers images to the T1 image, and its training time."""
    registration = DeformableRegistration(
        input_shape=t1.shape,
        transform="bspline_velocity",
        seed=options.seed,
        **parse_options(variant),
    )
    start = perf_counter()
    registration.fit(moving, t1, epochs=options.epochs, batch_size=1, verbose=2)
    return registration, perf_counter() - start


def _means(initial, errors):
    """Return mean errors before and after, of images trained on and of new ones."""
    row = {}
    for name, part in (
        ("trained on", slice(TEST_FIELDS)),
        ("new", slice(TEST_FIELDS, None)),
    ):
        row[f"before, {name}"] = f"{np.mean(initial[part]):.2f}"
        row[f"after, {name}"] = f"{np.mean(errors[part]):.2f}"
    return row


def load_atlas(folder):
    """Return T1, T2 and a mask of the brain, at 3 mm and cropped to the brain."""
    t1, t2, labels = (
        np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj, np.float32)[..., 0]
        for name in ("spgr", "late", "lpba40")
    )
    t1, t2, brain = (_average(a) for a in (t1, t2, labels > 0))
    brain = brain > 0.5
    margin = 6
    box = tuple(
        slice(max(index.min() - margin, 0), index.max() + margin + 1)
        for index in np.nonzero(brain)
    )
    t1, t2, brain = t1[box], t2[box], brain[box]
    t1, t2 = (np.clip(a / np.quantile(a[brain], 0.998), 0, 1) for a in (t1, t2))
    return t1.astype(np.float32), t2.astype(np.float32), brain


def _average(image):
    """Return the average of each cube of voxels."""
    sizes = [n // SPACING for n in image.shape]
    image = image[tuple(slice(n * SPACING) for n in sizes)]
    split = [part for n in sizes for part in (n, SPACING)]
    return image.reshape(split).mean(axis=(1, 3, 5), dtype=np.float32)


def random_velocity(rng, shape, largest, sigma):
    """Return a smooth velocity whose longest vector has the length ``largest``."""
    velocity = np.stack(
        [gaussian_filter(rng.normal(size=shape), sigma) for _ in shape], axis=-1
    )
    velocity *= largest / np.linalg.norm(velocity, axis=-1).max()
    return velocity.astype(np.float32)


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--atlas", required=True, help="folder of the SRI24 atlas")
    parser.add_argument("--table", help="CSV file to write")
    parser.add_argument(
        "--fields", type=int, default=4, help="number of fields to train on"
    )
    parser.add_argument("--epochs", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--variant", action="append", help="options of the model")
    return parser.parse_args()


if __name__ == "__main__":
    main()
