"""
=====================================
From NIfTI files to moved streamlines
=====================================

Two volumes in files, on different grids, are registered without any training. The map
then brings a label map and a bundle of streamlines from the moving to the static
image, in Python or by commands.

The heads are synthetic, so that the example needs no data; replace the names of the
files by those of your own. On two cores it takes about half a minute.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from dipy.io.image import load_nifti, save_nifti
from dipy.io.stateful_tractogram import Space, StatefulTractogram
from dipy.io.streamline import load_tractogram, save_tractogram
import matplotlib.pyplot as plt
from nibabel.affines import apply_affine
import numpy as np

from dipy_nn_reg import register
from dipy_nn_reg.data.phantoms import STRUCTURES, make_phantoms
from dipy_nn_reg.io.fields import save_mapping
from dipy_nn_reg.mapping.grid import Grid, prealign_of
from dipy_nn_reg.mapping.points import to_moving, to_static
from dipy_nn_reg.mapping.resampling import resample
from dipy_nn_reg.metrics import dice_of_labels

###############################################################################
# Write the files
# ---------------
#
# The axes of these heads point to the back, to the right and up, those of world
# coordinates to the right, to the front and up. The affines describe the difference.
# The second head has smaller voxels, and is rotated and shifted in the scanner.

folder = TemporaryDirectory()
files = Path(folder.name)


def make_affine(voxel_size, shape, *, degrees=0.0, shift=(0.0, 0.0, 0.0)):
    angle = np.radians(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:3, 3] = shift
    to_world = np.eye(4)
    to_world[:3, :3] = voxel_size * np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    to_world[:3, 3] = -to_world[:3, :3] @ ((np.array(shape) - 1) / 2)
    return turn @ to_world


for name, seed, shape, image_affine in (
    ("static", 1, (64, 64, 56), make_affine(2.5, (64, 64, 56))),
    (
        "moving",
        2,
        (80, 80, 70),
        make_affine(2.0, (80, 80, 70), degrees=12, shift=(10, -6, 8)),
    ),
):
    (image,), (labels,) = make_phantoms(1, shape=shape, seed=seed)
    save_nifti(files / f"{name}.nii.gz", image, image_affine)
    save_nifti(files / f"{name}_labels.nii.gz", labels, image_affine)

###############################################################################
# A bundle of arcs connects the thalami of the moving head. Streamlines are in world
# coordinates (mm).

moving_labels, moving_affine = load_nifti(files / "moving_labels.nii.gz")
rng = np.random.default_rng(0)
ends = [
    rng.choice(np.argwhere(moving_labels == STRUCTURES.index(name)), 20)
    for name in ("left thalamus", "right thalamus")
]
along = np.linspace(0, 1, 30)[:, None]
arcs = [
    (1 - along) * left + along * right + [0, 0, 16] * np.sin(np.pi * along)
    for left, right in zip(*ends)
]
bundle = StatefulTractogram(
    [apply_affine(moving_affine, arc) for arc in arcs],
    str(files / "moving.nii.gz"),
    Space.RASMM,
)
save_tractogram(bundle, str(files / "bundle.trk"))

###############################################################################
# Register
# --------
#
# The heads are aligned by an affine map, then a field is optimised.

static, static_affine = load_nifti(files / "static.nii.gz")
moving, moving_affine = load_nifti(files / "moving.nii.gz")
mapping, outcome = register(
    moving, static, moving_affine=moving_affine, static_affine=static_affine
)
print(outcome)
warped = mapping.transform(moving)
save_nifti(files / "warped.nii.gz", warped, static_affine)
save_mapping(files / "field.nii.gz", mapping)


def to_static_grid(image, maps, interpolation="linear"):
    """Read the moving image, or its labels, on the static grid."""
    return resample(
        image,
        moving_affine,
        lambda points: to_moving(points, maps),
        Grid(static.shape, static_affine),
        interpolation=interpolation,
    )


affine = prealign_of(mapping)
panels = {
    "static": static,
    "before": to_static_grid(moving, []),
    "after the affine": to_static_grid(moving, [affine]),
    "after all": warped,
}
static_labels, _ = load_nifti(files / "static_labels.nii.gz")
figure, axes = plt.subplots(2, 4, figsize=(9, 4.4), layout="constrained")
for column, (title, volume) in zip(axes.T, panels.items()):
    column[0].set_title(title)
    for ax, cut in zip(column, (np.s_[:, :, 28], np.s_[28, :, :])):
        # Rows run from front to back in the upper pictures, from top to bottom in the
        # lower ones.
        picture, outline = volume[cut], static_labels[cut] > 0
        if ax is column[1]:
            picture, outline = picture.T[::-1], outline.T[::-1]
        ax.imshow(picture, cmap="gray", vmin=0, vmax=1)
        ax.contour(outline, levels=[0.5], colors="tab:orange", linewidths=0.8)
        ax.set(xticks=[], yticks=[])
plt.show()

###############################################################################
# .. rst-class:: centered small fst-italic fw-semibold
#
# A slice from above and one from the front. In orange, the outline of the static head.
#
# Labels and streamlines
# ----------------------
#
# Labels are read at the nearest voxel, and keep their values.

for title, maps in (
    ("before", []),
    ("after the affine", [affine]),
    ("after all", [mapping]),
):
    warped_labels = to_static_grid(moving_labels, maps, "nearest")
    dice = dice_of_labels(static_labels, warped_labels)
    print(f"Dice {title:16} {np.mean(list(dice.values())):.3f}")
save_nifti(files / "warped_labels.nii.gz", warped_labels, static_affine)

###############################################################################
# Streamlines go the other way: ``to_static`` brings them from the moving head to the
# static one. Each begins and ends in a thalamus of the moving head, so we can count how
# many ends are in a thalamus of the static one.

bundle = load_tractogram(str(files / "bundle.trk"), "same")
moved = StatefulTractogram(
    [to_static(points, [mapping]) for points in bundle.streamlines],
    str(files / "static.nii.gz"),
    Space.RASMM,
)
save_tractogram(moved, str(files / "moved.trk"), bbox_valid_check=False)

thalami = [STRUCTURES.index(f"{side} thalamus") for side in ("left", "right")]


def fraction_in_thalami(streamlines):
    ends = np.concatenate([points[[0, -1]] for points in streamlines])
    voxels = np.rint(apply_affine(np.linalg.inv(static_affine), ends)).astype(int)
    return np.mean(np.isin(static_labels[tuple(voxels.T)], thalami))


for title, streamlines in (("before", bundle), ("after", moved)):
    fraction = fraction_in_thalami(streamlines.streamlines)
    print(f"ends in the static thalami {title}: {100 * fraction:.0f} %")

###############################################################################
# Both bundles, seen from the front, over a slice of the static head with its thalami.

row = int(np.argwhere(np.isin(static_labels, thalami))[:, 0].mean())
figure, axes = plt.subplots(1, 2, figsize=(7.5, 3.6), layout="constrained")
for ax, title, streamlines, color in (
    (axes[0], "before", bundle.streamlines, "tab:blue"),
    (axes[1], "after", moved.streamlines, "tab:orange"),
):
    ax.imshow(static[row].T, cmap="gray", origin="lower")
    is_thalamus = np.isin(static_labels[row], thalami)
    ax.contour(is_thalamus.T, levels=[0.5], colors="white", linewidths=1)
    for points in streamlines:
        voxels = apply_affine(np.linalg.inv(static_affine), points)
        ax.plot(voxels[:, 1], voxels[:, 2], color=color, linewidth=1)
    ax.set(title=title, xticks=[], yticks=[])
plt.show()

###############################################################################
# .. rst-class:: centered small fst-italic fw-semibold
#
# The bundle as it is in the file, and after it was brought to the static head.

folder.cleanup()

###############################################################################
# The same with commands
# ----------------------
#
# .. code-block:: bash
#
#    dipy_nn_reg_register static.nii.gz moving.nii.gz --out_dir pair
#    dipy_nn_reg_apply static.nii.gz moving_labels.nii.gz pair/field.nii.gz \
#        --interpolation nearest --out_dir pair --out_file labels.nii.gz
#    dipy_nn_reg_apply static.nii.gz bundle.trk pair/field.nii.gz \
#        --out_dir pair --out_file bundle.trk
#
# The first command writes the warped image, the field, a table of measures and a
# report.
