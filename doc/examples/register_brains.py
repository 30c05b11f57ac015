"""
====================================================
Register two brains, their labels and their fibers
====================================================

From NIfTI files to DIPY's ``DiffeomorphicMap``: a network is trained on some brains and
registers two others, on any grids. The map then brings a label map,
streamlines and a diffusion series with its b-vectors from one brain to the other. The
commands ``dipy_nn_reg_fit``, ``dipy_nn_reg_predict`` and ``dipy_nn_reg_apply`` do the
same from the shell.

The environment variable ``DIPY_NN_REG_BRAINS`` names the folder of the images:
``*_t1.nii.gz``, brains without their skulls, and ``*_label.nii.gz``. On two cores the
example takes two minutes.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from dipy.align.reslice import reslice
from dipy.core.gradients import gradient_table
from dipy.data import get_sphere
from dipy.io.image import load_nifti, save_nifti
from dipy.reconst.dti import TensorModel
import matplotlib.pyplot as plt
import numpy as np

from dipy_nn_reg import DeformableRegistration
from dipy_nn_reg.io.fields import load_mapping, save_mapping
from dipy_nn_reg.mapping.bvecs import rotate_bvecs
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.points import to_moving, to_static
from dipy_nn_reg.mapping.resampling import resample
from dipy_nn_reg.metrics import dice_of_labels

###############################################################################
# We train on all brains except two, at 4 mm so that it takes only a minute. The model
# is for voxels of this size; the size of the voxels in the files does not matter.

VOXEL_SIZE = 4.0
paths = sorted(Path(os.environ["DIPY_NN_REG_BRAINS"]).glob("*_t1.nii.gz"))
coarse = []
for path in paths[2:]:
    data, affine, zooms = load_nifti(path, return_voxsize=True)
    coarse.append(reslice(data.astype(float), affine, zooms, (VOXEL_SIZE,) * 3)[0])
coarse = np.stack(coarse)
print(f"{len(coarse)} brains to train on, of {coarse.shape[1:]} voxels")

registration = DeformableRegistration(input_shape=coarse.shape[1:], seed=0)
epochs = int(os.environ.get("DIPY_NN_REG_EPOCHS", "100"))
history = registration.fit(coarse, epochs=epochs, batch_size=1, verbose=0)
print(f"similarity in training: {history.history['ncc'][-1]:.3f}")

###############################################################################
# Now the two others, at full resolution. Each has its own affine. If they were far from
# each other, ``prealign="affine"`` would align them first.

static, static_affine = load_nifti(paths[0])
moving, moving_affine = load_nifti(paths[1])
mapping = registration.predict_mapping(
    moving,
    static,
    moving_affine=moving_affine,
    static_affine=static_affine,
    voxel_size=VOXEL_SIZE,
)
warped = mapping.transform(moving)

middle = static.shape[2] // 2
fig, axes = plt.subplots(1, 3, figsize=(9, 3.6))
for axis, (title, image) in zip(
    axes, (("Static", static), ("Moving", moving), ("Warped", warped))
):
    axis.imshow(image[:, :, middle].T, cmap="gray", origin="lower")
    axis.set_title(title)
    axis.axis("off")
fig.tight_layout()
plt.show()

###############################################################################
# .. rst-class:: centered small fst-italic fw-semibold
#
# A slice of the two brains, and of the moving one on the grid of the static one.
#
# We save the map in a file that DIPY reads; ``format="itk"`` would be for ANTs and
# Slicer.

folder = TemporaryDirectory()
files = Path(folder.name)
save_mapping(files / "field.nii.gz", mapping)
save_nifti(files / "warped.nii.gz", warped, static_affine)
mapping = load_mapping(files / "field.nii.gz")

###############################################################################
# Labels are read at the nearest voxel, and keep their values. Their overlap shows how
# well the brains are registered, since the training has not seen them.

labels = [
    load_nifti(str(path).replace("_t1", "_label"))[0].astype(int) for path in paths[:2]
]


def to_static_grid(image, maps, interpolation="linear"):
    return resample(
        image,
        moving_affine,
        lambda points: to_moving(points, maps),
        Grid(static.shape, static_affine),
        interpolation=interpolation,
    )


for name, maps in (("before", []), ("after", [mapping])):
    dice = dice_of_labels(labels[0], to_static_grid(labels[1], maps, "nearest"))
    print(f"Dice {name} registration: {np.nanmean(list(dice.values())):.3f}")

###############################################################################
# Streamlines go the other way: they are brought from the moving brain to the static
# one. Here is a bundle of arcs between the hemispheres of the moving brain.

middle_of_brain = np.argwhere(moving > 0).mean(axis=0)
angles = np.linspace(0, np.pi, 40)
bundle = [
    middle_of_brain
    + np.stack([30 * np.cos(angles), np.full(40, y), 20 * np.sin(angles)], axis=-1)
    for y in np.linspace(-8, 8, 9)
]
bundle = [
    points @ moving_affine[:3, :3].T + moving_affine[:3, 3] for points in bundle
]  # in world coordinates, as a tractogram is in DIPY
moved = [to_static(points, [mapping]) for points in bundle]

fig, axes = plt.subplots(1, 2, figsize=(7, 3.6))
for axis, image, affine, lines in (
    (axes[0], moving, moving_affine, bundle),
    (axes[1], static, static_affine, moved),
):
    to_voxels = np.linalg.inv(affine)
    axis.imshow(image[:, int(middle_of_brain[1])].T, cmap="gray", origin="lower")
    for points in lines:
        voxels = points @ to_voxels[:3, :3].T + to_voxels[:3, 3]
        axis.plot(voxels[:, 0], voxels[:, 2], linewidth=1)
    axis.axis("off")
axes[0].set_title("In the moving brain")
axes[1].set_title("In the static brain")
fig.tight_layout()
plt.show()

###############################################################################
# .. rst-class:: centered small fst-italic fw-semibold
#
# Streamlines before and after.
#
# A diffusion series is warped volume by volume. If the map has an affine part, the
# b-vectors turn with it. We simulate a series in which water moves most along the first
# axis of the moving brain, and use a rotation of 20 degrees in place of an affine that
# was estimated.

angle = np.radians(20)
rotation = np.eye(4)
rotation[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]

bvecs = np.vstack([[0, 0, 0], get_sphere(name="repulsion100").vertices[::4]])
bvals = np.array([0, *[1000] * (len(bvecs) - 1)])
diffusivity = np.array([1.7e-3, 0.3e-3, 0.3e-3])
attenuation = np.exp(-bvals * (bvecs**2 @ diffusivity))
series = (moving[..., None] * attenuation).astype(np.float32)

slab = np.s_[:, :, middle : middle + 1]
warped_series = to_static_grid(series, [mapping, rotation])[slab]
rotated = rotate_bvecs(
    bvecs, moving_affine=moving_affine, static_affine=static_affine, prealign=rotation
)

for name, vectors in (("as they were", bvecs), ("rotated", rotated)):
    table = gradient_table(bvals, bvecs=vectors)
    fit = TensorModel(table).fit(warped_series, mask=warped_series[..., 0] > 20)
    mean = np.abs(fit.evecs[..., 0][fit.fa > 0.5]).mean(axis=0)
    turned = np.degrees(np.arctan2(mean[1], mean[0]))
    print(f"b-vectors {name}: main direction turned by {turned:.1f} degrees")

###############################################################################
# With the b-vectors as they were, fibers would point in the directions that they had in
# the moving brain. With rotated ones, they have turned with the brain.

folder.cleanup()
