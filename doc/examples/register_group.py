"""
========================================
From a group of DWI series to a template
========================================

Each of several people has a diffusion series and a bundle of streamlines. A template of
their fractional anisotropy and b0 is built. Series, tensors and bundles are carried to
it, where people can be compared voxel by voxel. The people are synthetic, so that we
know their mean shape, and how the fibres run in it.

On two cores this example takes a minute.
"""

from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

from dipy.core.gradients import gradient_table
from dipy.core.sphere import HemiSphere, disperse_charges
from dipy.data import default_sphere
from dipy.direction import peaks_from_model
from dipy.io.gradients import read_bvals_bvecs
from dipy.io.stateful_tractogram import Space, StatefulTractogram
from dipy.io.streamline import load_tractogram, save_tractogram
from dipy.reconst.dti import TensorModel
from dipy.tracking.local_tracking import LocalTracking
from dipy.tracking.stopping_criterion import BinaryStoppingCriterion
from dipy.tracking.streamline import Streamlines
from dipy.tracking.utils import seeds_from_mask
import matplotlib.pyplot as plt
import nibabel as nib
from nibabel.affines import apply_affine
import numpy as np

from dipy_nn_reg import build_template
from dipy_nn_reg.data.fibres import make_fibres, make_series
from dipy_nn_reg.diffusion.local_maps import local_maps
from dipy_nn_reg.diffusion.reorientation import Quantity, reorient
from dipy_nn_reg.diffusion.series import anisotropy_of, fit_tensors, image_of_series
from dipy_nn_reg.io.fields import load_mapping
from dipy_nn_reg.mapping.bvecs import gradient_axes, rotate_bvecs
from dipy_nn_reg.mapping.grid import prealign_of, static_grid
from dipy_nn_reg.mapping.points import to_static
from dipy_nn_reg.metrics import bundle_dice, bundle_distance
from dipy_nn_reg.transform import integrate
from dipy_nn_reg.transform.random import random_displacements

###############################################################################
# Make the people
# ---------------
#
# With files of your own, leave this part out. Each person has a folder with a series
# whose motion and distortion have been corrected, its gradients, and a bundle.
#
# The people come in pairs, which are deformed by opposite velocities, a random one and
# a twist about the vertical axis: the head without deformation is their mean shape. An
# arc of fibres from left to right is tracked in each of them.

temporary = TemporaryDirectory()
folder = Path(temporary.name)
shape, affine = (48, 56, 40), np.diag([-2.0, 2, 2, 1])
rng = np.random.default_rng(3)
random = rng.normal(size=(20, 3))
random /= np.linalg.norm(random, axis=1, keepdims=True)
directions, _ = disperse_charges(HemiSphere(xyz=random), 500)
bvecs = np.vstack([np.zeros((2, 3)), directions.vertices])
bvals = np.r_[np.zeros(2), np.full(20, 1000.0)]
position = np.stack(np.indices(shape), axis=-1) - (np.array(shape) - 1) / 2
near = np.exp(-((position / np.array(shape) * 3) ** 2).sum(axis=-1))
twist = np.radians(20) * np.stack(
    [-near * position[..., 1], near * position[..., 0], 0 * near], axis=-1
)


def track(series, gtab, region):
    """Return streamlines of a region, in world coordinates."""
    peaks = peaks_from_model(
        TensorModel(gtab), series, default_sphere, 0.5, 25, mask=region, npeaks=1
    )
    lines = LocalTracking(
        peaks,
        BinaryStoppingCriterion(region),
        seeds_from_mask(region, affine),
        affine,
        step_size=1.0,
    )
    return Streamlines(line for line in lines if len(line) > 20)


def write_person(name, velocity, seed):
    """Write the files of a person."""
    person = folder / name
    person.mkdir()
    b0, tensors, bundles = make_fibres(shape=shape, displacement=integrate(velocity))
    gtab = gradient_table(bvals, bvecs=bvecs)
    series = make_series(b0, tensors, gtab, noise=0.02, seed=seed)
    image = nib.Nifti1Image(series, affine)
    nib.save(image, person / "dwi.nii.gz")
    np.savetxt(person / "dwi.bval", bvals[None], "%d")
    np.savetxt(person / "dwi.bvec", bvecs.T)
    arc = StatefulTractogram(track(series, gtab, bundles == 1), image, Space.RASMM)
    save_tractogram(arc, str(person / "arc.trk"), bbox_valid_check=False)


for pair, drawn in enumerate(random_displacements((2, *shape), rng)):
    for sign in (1, -1):
        velocity = (sign * (drawn + twist)).astype(np.float32)
        name = f"sub-{2 * pair + (sign < 0) + 1:02d}"
        write_person(name, velocity, seed=int(name[-1]))

###############################################################################
# Build the template
# ------------------
#
# The anisotropy shows the bundles, and b0 the fluid; both are registered together. The
# template is their mean in the mean shape of the people. If ``build_template`` is
# stopped, the same call goes on where it was.

people = sorted(folder.glob("sub-*"))


def read_series(person):
    """Return the series of a person, its affine, and its gradients."""
    image = nib.load(person / "dwi.nii.gz")
    values = read_bvals_bvecs(str(person / "dwi.bval"), str(person / "dwi.bvec"))
    gtab = gradient_table(values[0], bvecs=values[1])
    return image.get_fdata(dtype=np.float32), image.affine, gtab


fitted = {}
for person in people:
    series, place, gtab = read_series(person)
    b0, _, tensors = image_of_series(series, gtab, with_tensors=True)
    fitted[person.name] = tensors
    for kind, values in (("fa", anisotropy_of(tensors)), ("b0", b0)):
        file = person / f"{person.name}_{kind}.nii.gz"
        nib.save(nib.Nifti1Image(values, place), file)

fa_files = [person / f"{person.name}_fa.nii.gz" for person in people]
b0_files = [person / f"{person.name}_b0.nii.gz" for person in people]
template = build_template(fa_files, folder / "template", further=[b0_files], rounds=2)
template_fa = template.image.get_fdata()
print(f"mean velocity that is left: {template.rounds[-1]['velocity']:.3f} voxels")

###############################################################################
# Carry series, tensors and bundles over
# --------------------------------------
#
# The map of a person moves each volume of the series, which is interpolated once. Its
# b-vectors turn by the affine part alone, as all voxels share them. Tensors turn with
# the tissue at each voxel :footcite:p:`Alexander2001`. Points of streamlines go in the
# direction opposite to that of images.


def carry_series(series, gtab, place, mapping):
    """Return a series on the grid of the template, and its gradients."""
    volumes = np.moveaxis(series, -1, 0)
    carried = np.stack([mapping.transform(volume) for volume in volumes], axis=-1)
    turned = rotate_bvecs(
        gtab.bvecs,
        moving_affine=place,
        static_affine=template.image.affine,
        prealign=prealign_of(mapping),
    )
    return carried, gradient_table(gtab.bvals, bvecs=turned)


def carry_tensors(tensors, place, mapping):
    """Return tensors on the grid of the template, turned with the tissue."""
    volumes = np.moveaxis(tensors, -1, 0)
    carried = np.stack([mapping.transform(volume) for volume in volumes], axis=-1)
    turns = local_maps([mapping], static_grid(mapping)).matrices
    # Tensors are along the axes of the b-vectors, and the turns are in the world.
    before, after = (
        gradient_axes(one, "affine") for one in (place, template.image.affine)
    )
    inside = carried[..., 0] > 0
    turns = after.T @ turns[inside] @ before
    carried[inside] = reorient(carried[inside], turns, Quantity("tensors"))
    return carried


def read_bundle(person):
    """Return the streamlines of a person, in world coordinates."""
    file = str(person / "arc.trk")
    return load_tractogram(file, "same", bbox_valid_check=False).streamlines


from_series, from_tensors, bundles = {}, {}, {"before": [], "after": []}
for person, file in zip(people, fa_files):
    name = person.name
    series, place, gtab = read_series(person)
    mapping = load_mapping(
        template.fields[file.name.split(".")[0]],
        moving_shape=series.shape[:3],
        moving_affine=place,
    )
    carried, turned_gtab = carry_series(series, gtab, place, mapping)
    from_series[name] = fit_tensors(carried, turned_gtab, template_fa > 0.1)
    from_tensors[name] = carry_tensors(fitted[name], place, mapping)
    lines = read_bundle(person)
    bundles["before"].append(lines)
    bundles["after"].append([to_static(line, [mapping]) for line in lines])

###############################################################################
# Compare
# -------
#
# The overlap is the mean Dice of the voxels that the bundles of two people pass
# through, and the distance that of their streamlines. The error of directions is the
# angle between first eigenvectors and the fibres of the true mean shape, in its arc.

grid = template.image.affine, template.image.shape
for when, of_people in bundles.items():
    pairs = list(combinations(of_people, 2))
    dice = np.mean([bundle_dice(*pair, *grid) for pair in pairs])
    distance = np.mean([bundle_distance(*pair) for pair in pairs])
    print(f"bundles {when}: Dice {dice:.2f}, distance {distance:.1f} mm")

_, true_tensors, true_bundles = make_fibres(shape=shape)
arc = true_bundles == 1
truth = np.linalg.eigh(true_tensors[arc])[1][..., 2]


def angles_to_truth(tensors):
    """Return the angles in degrees between first eigenvectors and true fibres."""
    found = tensors[arc][:, [[0, 1, 3], [1, 2, 4], [3, 4, 5]]]
    cosine = np.abs((np.linalg.eigh(found)[1][..., 2] * truth).sum(axis=-1))
    angles = np.degrees(np.arccos(cosine.clip(0, 1)))
    return angles[tensors[arc][:, 0] > 0]


errors = {
    name: np.concatenate([angles_to_truth(tensors) for tensors in of_people.values()])
    for name, of_people in (
        ("as they lie", fitted),
        ("series", from_series),
        ("tensors", from_tensors),
    )
}
for name, error in errors.items():
    print(f"{name:12} {np.median(error):5.1f} degrees in the median")

as_they_lie = np.mean([nib.load(file).get_fdata() for file in fa_files], axis=0)
figure, panels = plt.subplots(1, 3, figsize=(11, 4), layout="constrained")
for panel, title, image, of_people in (
    (panels[0], "mean of the people as they lie", as_they_lie, bundles["before"]),
    (panels[1], "template, with all bundles", template_fa, bundles["after"]),
):
    seen_from_above = image.max(axis=2)
    panel.imshow(seen_from_above.T, cmap="gray", origin="lower", vmin=0, vmax=0.9)
    for number, lines in enumerate(of_people, 1):
        for line in lines[:: max(1, len(lines) // 30)]:
            x, y, _ = apply_affine(np.linalg.inv(affine), line).T
            panel.plot(x, y, color=f"C{number}", linewidth=0.6)
    panel.contour(arc.any(axis=2).T, levels=[0.5], colors="tab:cyan", linewidths=1)
    panel.set_title(title)
    panel.set(xticks=[], yticks=[])
panels[2].boxplot(list(errors.values()), showfliers=False)
panels[2].set_xticks([1, 2, 3], list(errors))
panels[2].set_ylabel("error of direction in degrees")
plt.show()

###############################################################################
# .. rst-class:: centered small fst-italic fw-semibold
#
# From above: the largest anisotropy along the vertical axis, the bundles of all people,
# each in a colour, and the outline of the arc of the true mean shape. To the right, the
# error of directions in that arc: of tensors before any registration, of those fitted
# to the series in the template, whose b-vectors follow the affine part alone, and of
# those that turned with the tissue.
#
# From files, by commands
# -----------------------
#
# ::
#
#    dipy_nn_reg_template 'sub-*/*_fa.nii.gz' --further 'sub-*/*_b0.nii.gz' \
#        --out_dir template
#    dipy_nn_reg_dwi template/template.nii.gz sub-01/dwi.nii.gz sub-01/dwi.bval \
#        sub-01/dwi.bvec --image fa --tensors --out_dir sub-01/to_template
#
# The second command registers the person to the finished template once more; with the
# map that the first one has written, ``dipy_nn_reg_apply`` moves streamlines::
#
#    dipy_nn_reg_apply template/template.nii.gz sub-01/arc.trk \
#        template/maps/sub-01_fa/field.nii.gz --out_dir sub-01 --out_file moved.trk
#
# References
# ----------
#
# .. footbibliography::
