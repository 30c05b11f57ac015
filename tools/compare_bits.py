"""Comparison of results, bit for bit, before and after a change of the code.

    python tools/compare_bits.py --data ../shared/data --out before.npz
    # ... change the code ...
    python tools/compare_bits.py --data ../shared/data --out after.npz \
        --beside before.npz

Six pairs are registered (2D, 3D, 3D at 1 mm, with labels, with a mask, and with a
model), and two networks trained for 20 steps and used, with fixed seeds. The second
run prints, for each result, the number of values that differ and the largest
difference; its exit status is 1 if any value differs. Only the public interface is
used, so that one script serves both versions. Bits are the same only on one machine:
libraries choose their kernels by the processor and its number of cores.
"""

from argparse import ArgumentParser
from pathlib import Path
import sys

import nibabel as nib
import numpy as np

from dipy_nn_reg import DeformableRegistration, register
from dipy_nn_reg.data import load_mnist

BATCH, STEPS = 4, 20


def main():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--beside", type=Path)
    options = parser.parse_args()
    results = compute(options.data)
    np.savez(options.out, **results)
    if options.beside is not None:
        with np.load(options.beside) as before:
            same = [compare(n, before[n], values) for n, values in results.items()]
        sys.exit(not all(same))


def compute(data):
    """Return all results by name."""
    with np.load(data / "malf" / "malf_dev_2mm.npz") as file:
        brains, labels, affine = file["images"], file["labels30"], file["affine"]
    with np.load(data / "hippocampus" / "hippocampus_dev_48x64x48.npz") as file:
        crops = file["images"][: BATCH * 3].astype(np.float32)
    results = {
        "2D": fields(brains[0][:, :, 40], brains[1][:, :, 40]),
        "3D": fields(brains[0], brains[1], moving_affine=affine, static_affine=affine),
        "1 mm": one_mm(data / "malf" / "mni_1mm"),
        "labels": fields(
            brains[2], brains[3], moving_labels=labels[2], static_labels=labels[3]
        ),
        "mask": fields(brains[4], brains[5], mask=labels[5] > 0),
    }
    digits = load_mnist(data / "mnist")[0][0][: BATCH * STEPS]
    for name, images in (("fit 2D", digits), ("fit 3D", crops)):
        model = train(images)
        results[name] = np.concatenate([w.ravel() for w in model.model.get_weights()])
        results[f"{name}, predict"], results[f"{name}, field"] = model.predict(
            images[:BATCH], images[0], return_field=True
        )
    results["model"] = fields(crops[1], crops[2], model=model)
    return results


def fields(moving, static, **options):
    """Register one pair without alignment and return both fields of the map."""
    mapping, _ = register(moving, static, prealign=None, **options)
    return np.stack([mapping.forward, mapping.backward])


def one_mm(folder):
    paths = sorted(folder.glob("*_t1.nii.gz"))
    moving, static = (nib.load(path) for path in paths[:2])
    mapping, _ = register(
        moving.get_fdata(dtype=np.float32),
        static.get_fdata(dtype=np.float32),
        moving_affine=moving.affine,
        static_affine=static.affine,
        level_iters=(4, 4, 4, 2),
    )
    return np.stack([mapping.forward, mapping.backward])


def train(images):
    model = DeformableRegistration(input_shape=images.shape[1:], seed=0)
    epochs = max(1, BATCH * STEPS // len(images))
    model.fit(images, epochs=epochs, batch_size=BATCH, verbose=0)
    return model


def compare(name, before, after):
    """Print how two results differ; return whether they are the same, bit for bit."""
    if before.shape != after.shape:
        print(f"{name}: shape {before.shape}, now {after.shape}")
        return False
    differ = np.sum(before.view(np.uint32) != after.view(np.uint32))
    largest = np.max(np.abs(before.astype(float) - after))
    print(f"{name}: {differ} of {before.size} values differ, by {largest:.3g} at most")
    return not differ


if __name__ == "__main__":
    main()
