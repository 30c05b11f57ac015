"""Compare ways to register two DWI series whose fibres, not whose images, differ.

    python tools/compare_orientations.py --out doc/orientations.csv

Series of two phantoms are made: sheets of fibres in a body of one anisotropy, and
bundles in a head. The moving one is deformed by a known field of up to ``--size``
voxels. They are registered by the signal without weighting, by anisotropy, by tensors
and by spherical harmonics, and by MRtrix's mrregister (Debian: mrtrix3), where it is
installed. The table has the angle between true fibres after registration, in degrees;
the part of the voxels where it is above 45; the error of the field in voxels; its
roughness (SDlogJ); and seconds, of a second run where programs are compiled.
"""

from argparse import ArgumentParser
import csv
from pathlib import Path
import shutil
import subprocess
from tempfile import TemporaryDirectory
from time import perf_counter

from dipy.core.gradients import gradient_table
from dipy.core.sphere import HemiSphere, disperse_charges
from dipy.reconst.csdeconv import ConstrainedSphericalDeconvModel
import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from dipy_nn_reg import register
from dipy_nn_reg.data.fibres import make_fibres, make_series, make_sheets
from dipy_nn_reg.diffusion.orientations import orientation_tensors
from dipy_nn_reg.diffusion.reorientation import Quantity
from dipy_nn_reg.diffusion.series import anisotropy_of, fit_tensors, mean_b0
from dipy_nn_reg.diffusion.spherical_harmonics import evaluate_basis
from dipy_nn_reg.mapping.maps import displacement_of

PHANTOMS = {
    "sheets": (make_sheets, (40, 44, 24)),
    "bundles": (make_fibres, (48, 56, 40)),
}
# Voxel and world axes differ in the sign of the first one: b-vectors are along both.
AFFINE = np.diag([-2.0, 2, 2, 1])
ORDER, DIRECTIONS, BVALUE, NOISE = 6, 60, 1500, 0.03
RESPONSE = np.array([1.7e-3, 0.3e-3, 0.3e-3]), 1.0


def main():
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=float, default=6.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--weight", type=float, default=None)
    parser.add_argument("--smoothness", type=float, default=None)
    parser.add_argument("--ways", nargs="+", default=list(WAYS))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    options = {"orientation_weight": arguments.weight}
    options |= {"smoothness": arguments.smoothness}
    options = {name: value for name, value in options.items() if value is not None}
    rows = []
    for phantom in PHANTOMS:
        seeds = arguments.seeds
        pairs = [Pair(phantom, arguments.size, seed) for seed in seeds]
        for way in arguments.ways:
            rows.append(measured(way, phantom, pairs, options))
            print(*(f"{name}: {value}" for name, value in rows[-1].items()), flush=True)
    if arguments.out:
        with arguments.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def measured(way, phantom, pairs, options):
    """Return a row of the table: means over pairs."""
    WAYS[way](pairs[0], options)  # compiles
    found = []
    for pair in pairs:
        begin = perf_counter()
        displacement = WAYS[way](pair, options)
        found.append([*pair.errors(displacement), perf_counter() - begin])
    names = ("degrees", "above_45_percent", "field_error", "sdlogj", "seconds")
    means = np.mean(found, axis=0)
    values = {name: f"{mean:.3g}" for name, mean in zip(names, means)}
    return {"phantom": phantom, "way": way, **values}


class Person:
    """A head and images from its series: b0, tensors, anisotropy and harmonics."""

    def __init__(self, make, shape, displacement, seed):
        b0, self.truth, self.bundles = make(shape=shape, displacement=displacement)
        gtab = gradients()
        data = make_series(b0, self.truth, gtab, noise=NOISE, seed=seed)
        self.b0, self.mask = mean_b0(data, gtab), b0 > 0
        self.tensors = fit_tensors(data, gtab, self.mask)
        self.anisotropy = anisotropy_of(self.tensors)
        model = ConstrainedSphericalDeconvModel(gtab, RESPONSE, sh_order_max=ORDER)
        self.harmonics = model.fit(data, mask=self.mask).shm_coeff.astype(np.float32)
        self.harmonics[~self.mask] = 0


class Pair:
    """A moving and a static person, and the field between them."""

    def __init__(self, phantom, size, seed):
        make, shape = PHANTOMS[phantom]
        rng = np.random.default_rng(seed)
        field = [gaussian_filter(rng.normal(size=shape), 5) for _ in range(3)]
        self.field = np.stack(field, axis=-1)
        self.field *= size / np.linalg.norm(self.field, axis=-1).max()
        self.static = Person(make, shape, None, 2 * seed)
        self.moving = Person(make, shape, self.field, 2 * seed + 1)

    def errors(self, displacement):
        """Return the measures of a displacement of this pair, in voxels."""
        shape = displacement.shape[:3]
        read = np.moveaxis(displacement, -1, 0) + np.indices(shape)
        jacobian = np.stack(np.gradient(displacement, axis=(0, 1, 2)), axis=-1)
        jacobian += np.eye(3)
        inside = self.static.bundles > 0
        tensors = [
            [sampled(self.moving.truth[..., i, j], read)[inside] for j in range(3)]
            for i in range(3)
        ]
        along = principal(np.moveaxis(tensors, -1, 0))
        along = np.linalg.solve(jacobian[inside], along[..., None])[..., 0]
        along /= np.linalg.norm(along, axis=-1, keepdims=True)
        cosine = np.abs((along * principal(self.static.truth[inside])).sum(axis=-1))
        degrees = np.degrees(np.arccos(cosine.clip(0, 1)))
        truth = np.stack([sampled(c, read) for c in np.moveaxis(self.field, -1, 0)], -1)
        body = self.static.mask
        error = np.linalg.norm(truth + displacement, axis=-1)[body]
        volume = np.linalg.det(jacobian)[body].clip(1e-3)
        return (
            degrees.mean(),
            100 * (degrees > 45).mean(),
            error.mean(),
            np.log(volume).std(),
        )


def gradients():
    rng = np.random.default_rng(0)
    sphere = HemiSphere(xyz=rng.normal(size=(DIRECTIONS, 3)))
    vectors = disperse_charges(sphere, 300)[0].vertices
    bvals = np.r_[np.zeros(4), np.full(DIRECTIONS, BVALUE)]
    return gradient_table(bvals, bvecs=np.concatenate([np.zeros((4, 3)), vectors]))


def sampled(image, points):
    return map_coordinates(image, points, order=1, mode="nearest")


def principal(tensors):
    return np.linalg.eigh(tensors.astype(float))[1][..., 2]


def none(pair, _):
    return np.zeros_like(pair.field)


def by_image(name):
    def way(pair, options):
        images = getattr(pair.moving, name), getattr(pair.static, name)
        own = {n: v for n, v in options.items() if n != "orientation_weight"}
        mapping, _ = register(*images, prealign=None, **own)
        return displacement_of(mapping)

    return way


def by_quantity(name, quantity, image="anisotropy"):
    def way(pair, options):
        people = {"moving": pair.moving, "static": pair.static}
        fibres = {
            f"{n}_orientations": orientation_tensors(getattr(p, name), AFFINE, quantity)
            for n, p in people.items()
        }
        mapping, _ = register(
            *(getattr(person, image) for person in people.values()),
            prealign=None,
            moving_affine=AFFINE,
            static_affine=AFFINE,
            **fibres,
            **options,
        )
        return displacement_of(mapping)

    return way


def mrregister(pair, _):
    if shutil.which("mrregister") is None:
        return np.full_like(pair.field, np.nan)
    with TemporaryDirectory() as folder:
        folder = Path(folder)
        for name in ("moving", "static"):
            harmonics = for_mrtrix(getattr(pair, name).harmonics)
            nib.save(nib.Nifti1Image(harmonics, AFFINE), folder / f"{name}.nii")
            mask = getattr(pair, name).mask.astype(np.uint8)
            nib.save(nib.Nifti1Image(mask, AFFINE), folder / f"{name}_mask.nii")
        command = (
            "mrregister moving.nii static.nii -type nonlinear -quiet -nl_warp "
            "there.nii back.nii -mask1 moving_mask.nii -mask2 static_mask.nii"
        )
        subprocess.run(command.split(), cwd=folder, check=True)
        read = nib.load(folder / "there.nii").get_fdata()
    voxels = (read - AFFINE[:3, 3]) @ np.linalg.inv(AFFINE[:3, :3]).T
    displacement = voxels - np.moveaxis(np.indices(voxels.shape[:3]), 0, -1)
    return np.nan_to_num(displacement)


def for_mrtrix(coefficients):
    """Return coefficients in MRtrix's basis, along the axes of the world."""
    directions = np.random.default_rng(0).normal(size=(500, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    before = evaluate_basis(directions, ORDER, "descoteaux07_legacy")
    after = evaluate_basis(directions * [-1, 1, 1], ORDER, "tournier07")
    change = np.linalg.lstsq(after, before, rcond=None)[0]
    return (coefficients @ change.T).astype(np.float32)


WAYS = {
    "none": none,
    "b0": by_image("b0"),
    "FA": by_image("anisotropy"),
    "FA and tensors": by_quantity("tensors", Quantity("tensors")),
    "FA and harmonics": by_quantity(
        "harmonics", Quantity("sh", basis="descoteaux07_legacy")
    ),
    "b0 and tensors": by_quantity("tensors", Quantity("tensors"), "b0"),
    "mrregister": mrregister,
}


if __name__ == "__main__":
    main()
