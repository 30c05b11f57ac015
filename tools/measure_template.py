"""Build a template of brains, and measure overlap of labels through it.

    python tools/measure_template.py --brains BRAINS --folder FOLDER
    python tools/measure_template.py --brains BRAINS --folder FOLDER --people 5

BRAINS is malf_dev_2mm.npz. Prints the minutes, the mean velocity that is left, and the
mean Dice over the 30 groups of labels: of pairs through the template, of the same pairs
registered directly, and of the voted labels with those of each person; then the
sharpness of the template (mean gradient in the object, beside that of the people) and
the mean Dice of all pairs of people on its grid. ``--ants`` measures
``ants.build_template`` in its place, with its defaults: minutes, sharpness, and overlap
on the grid of the template, to which all people are then registered by SyN.
"""

from argparse import ArgumentParser
from itertools import combinations
from pathlib import Path
from time import perf_counter

import nibabel as nib
import numpy as np

from dipy_nn_reg import build_template, register
from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.io.points import read_map
from dipy_nn_reg.mapping.points import to_moving, to_static
from dipy_nn_reg.mapping.resampling import resample
from dipy_nn_reg.metrics.labels import dice_of_labels


def main():
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--brains", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--people", type=int)
    parser.add_argument("--ants", action="store_true")
    arguments = parser.parse_args()
    paths, labels = write(np.load(arguments.brains), arguments.folder)
    paths, labels = paths[: arguments.people], labels[: arguments.people]
    if arguments.ants:
        measure_ants(paths, labels)
        return
    begin = perf_counter()
    out = arguments.folder / "template"
    template = build_template(paths, out, labels=labels, n_jobs=2)
    minutes = (perf_counter() - begin) / 60
    print(f"{len(paths)} people, {minutes:.1f} minutes (0 if it had been built)")
    print(f"mean velocity left: {template.rounds[-1]['velocity']:.3f} voxels")
    people = People(template, paths, labels)
    pairs = [(i, i + 1) for i in range(0, len(paths) - 1, 2)]
    print(f"through the template: {np.mean([people.through(*p) for p in pairs]):.4f}")
    print(f"directly: {np.mean([people.directly(*p) for p in pairs]):.4f}")
    print(f"voted labels: {people.voted():.4f}")
    originals = np.mean([sharpness(image.data) for image in people.images])
    print(
        f"sharpness: {sharpness(people.template.data) / originals:.3f} of the people's"
    )
    print(f"on the grid of the template: {overlap(people.on_template()):.4f}")


def measure_ants(paths, labels):
    import ants

    images = [ants.image_read(str(path)) for path in paths]
    begin = perf_counter()
    template = ants.build_template(image_list=images)
    print(f"{len(paths)} people, {(perf_counter() - begin) / 60:.1f} minutes")
    originals = np.mean([sharpness(image.numpy()) for image in images])
    print(f"sharpness: {sharpness(template.numpy()) / originals:.3f} of the people's")
    begin, warped = perf_counter(), []
    for image, path in zip(images, labels):
        found = ants.registration(template, image, type_of_transform="SyN")
        labels_there = ants.apply_transforms(
            template,
            ants.image_read(str(path)),
            found["fwdtransforms"],
            interpolator="nearestNeighbor",
        )
        warped.append(labels_there.numpy().astype(int))
    print(f"registered to it in {(perf_counter() - begin) / 60:.1f} minutes")
    print(f"on the grid of the template: {overlap(warped):.4f}")


def write(file, folder):
    """Write images and labels; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"images": [], "labels30": []}
    for name, found in paths.items():
        for index, array in enumerate(file[name]):
            found.append(folder / f"{name}{index:02d}.nii.gz")
            nib.save(nib.Nifti1Image(array, file["affine"]), found[-1])
    return paths["images"], paths["labels30"]


def sharpness(image):
    """Return the mean length of the gradient in the object."""
    image = image.astype(float)
    gradient = np.sqrt(sum(part**2 for part in np.gradient(image)))
    return gradient[image > 0.1 * image.max()].mean()


def overlap(labels):
    """Return the mean Dice of all pairs of label maps on one grid."""
    pairs = combinations(labels, 2)
    return np.mean([np.mean(list(dice_of_labels(*pair).values())) for pair in pairs])


class People:
    """Images, labels and maps of the people of a template."""

    def __init__(self, template, paths, labels):
        self.template = read_image(template.path)
        self.vote = np.asarray(nib.load(template.labels).dataobj)
        self.images = [read_image(path) for path in paths]
        self.labels = [np.asarray(nib.load(path).dataobj) for path in labels]
        self.maps = [
            read_map(field, self.template, image)
            for field, image in zip(template.fields.values(), self.images)
        ]

    def _warp(self, person, find, grid):
        image, labels = self.images[person], self.labels[person]
        return resample(labels, image.affine, find, grid, interpolation="nearest")

    def _dice(self, expected, person, find, grid):
        warped = self._warp(person, find, grid)
        return np.mean(list(dice_of_labels(expected, warped).values()))

    def on_template(self):
        """Return the labels of all people on the grid of the template."""
        grid = self.template.grid
        return [
            self._warp(person, lambda p, m=mapping: to_moving(p, [m]), grid)
            for person, mapping in enumerate(self.maps)
        ]

    def through(self, static, moving):
        """Return the Dice of two people, through the template."""

        def find(points):
            there = to_static(points, [self.maps[static]])
            return to_moving(there, [self.maps[moving]])

        grid = self.images[static].grid
        return self._dice(self.labels[static], moving, find, grid)

    def directly(self, static, moving):
        """Return the Dice of two people who are registered to each other."""
        one, other = self.images[moving], self.images[static]
        affines = {"moving_affine": one.affine, "static_affine": other.affine}
        mapping, _ = register(one.data, other.data, **affines)

        def find(points):
            return to_moving(points, [mapping])

        grid = self.images[static].grid
        return self._dice(self.labels[static], moving, find, grid)

    def voted(self):
        """Return the mean Dice of the voted labels with those of each person."""
        return np.mean([overlap([self.vote, one]) for one in self.on_template()])


if __name__ == "__main__":
    main()
