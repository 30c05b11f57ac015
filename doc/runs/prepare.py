"""Input files of the commands that are run for this documentation."""

from pathlib import Path

from dipy.io.stateful_tractogram import Space, StatefulTractogram
from dipy.io.streamline import save_tractogram
import nibabel as nib
from nibabel.affines import apply_affine
import numpy as np

from dipy_nn_reg.data.phantoms import STRUCTURES, make_phantoms

SHAPE = (40, 40, 36)
# Affine of the phantoms, whose axes point to the back, to the right and up.
AFFINE = np.array([[0, 4.0, 0, -78], [-4.0, 0, 0, 78], [0, 0, 4.0, -70], [0, 0, 0, 1]])


def prepare(folder):
    """Write two heads, their labels, four more heads to train on, and a bundle.

    Parameters
    ----------
    folder : Path
    """
    folder.mkdir(exist_ok=True)
    images, labels = make_phantoms(6, shape=SHAPE, seed=0)
    names = ["static", "moving", *(f"head{i}" for i in range(4))]
    for name, image, label_map in zip(names, images, labels):
        nib.save(nib.Nifti1Image(image, AFFINE), folder / f"{name}.nii.gz")
        label_map = nib.Nifti1Image(label_map.astype(np.uint8), AFFINE)
        nib.save(label_map, folder / f"{name}_labels.nii.gz")
    ends = [
        np.argwhere(labels[1] == STRUCTURES.index(name))[:10]
        for name in ("left thalamus", "right thalamus")
    ]
    along = np.linspace(0, 1, 20)[:, None]
    lines = [(1 - along) * a + along * b for a, b in zip(*ends)]
    bundle = StatefulTractogram(
        [apply_affine(AFFINE, line) for line in lines],
        str(folder / "moving.nii.gz"),
        Space.RASMM,
    )
    save_tractogram(bundle, str(folder / "bundle.trk"))


if __name__ == "__main__":
    prepare(Path("."))
