"""Images to train on and pairs to compare on, of different people and cases.

A pair is a moving and a static image, and their label maps, each a tuple of two.
"""

import csv
from functools import cache

import numpy as np

from dipy_nn_reg.io.nifti import Image, read_image, read_labels

# People on whom nothing is trained, among them those of the images at 1 mm and in
# native space.
TEST_PEOPLE = ("1001", "1006", "1010", "1017", "1036")
# Labels with noisy manual outlines, according to the README of the data.
LEFT_OUT = (42, 43, 46, 63, 64, 69, 75, 76)
# Number of cases of the hippocampus before those that are compared, and number of the
# last ones of them on which options were chosen.
TRAINING_CASES, CHOOSING_CASES = 100, 10


def brains_to_train_on(options):
    """Return images of ten people at 2 mm, and maps of 17 structures."""
    with np.load(options.malf / "malf_dev_2mm.npz") as file:
        chosen = ~np.isin(file["ids"], TEST_PEOPLE)
        images, groups = file["images"][chosen], file["labels30"][chosen]
        names = [_without_side(str(name)) for name in file["group_names"]]
    # Left and right cannot be confused, so that one map for both sides suffices.
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names), 1)}
    return images, np.array([0, *(numbers[name] for name in names)])[groups]


def _without_side(name):
    return name.removeprefix("Left ").removeprefix("Right ")


def cases_to_train_on(options):
    """Return images of the hippocampus and maps of its two parts."""
    with np.load(options.hippocampus) as crops:
        chosen = slice(TRAINING_CASES - CHOOSING_CASES)
        return tuple(crops[name][chosen] for name in ("images", "labels"))


def _brains_2mm(options):
    """Return pairs: moving and static image, and their groups and labels."""
    with np.load(options.malf / "malf_dev_2mm.npz") as file:
        places = [list(file["ids"]).index(person) for person in TEST_PEOPLE]
        images, groups, labels = (file[n] for n in ("images", "labels30", "labels"))
        affine = file["affine"]
    people = [
        [Image(array[i], affine, None, None) for array in (images, groups, labels)]
        for i in places
    ]
    return _in_a_circle(people)


def _brains_1mm(options):
    folder = options.malf / "mni_1mm"
    people = []
    for person in TEST_PEOPLE:
        if (folder / f"{person}_t1.nii.gz").exists():
            labels = read_labels(folder / f"{person}_label.nii.gz")
            image = read_image(folder / f"{person}_t1.nii.gz")
            people.append([image, _grouped(options, labels), labels])
    return _in_a_circle(people)


def _native(options):
    people = []
    for person in ("1006", "1017"):
        labels = read_labels(options.malf / "native" / f"{person}_glm.nii.gz")
        image = read_image(options.malf / "native" / f"{person}_SS.nii.gz")
        people.append([image, _grouped(options, labels), labels])
    return _in_a_circle(people)


def _hippocampus(options):
    with np.load(options.hippocampus) as crops:
        images, labels = (crops[n][TRAINING_CASES:] for n in ("images", "labels"))
    cases = [
        [Image(array[i], np.eye(4), None, None) for array in (images, labels)]
        for i in range(len(images))
    ]
    return _in_a_circle(cases)[:-1]


def _in_a_circle(people):
    """Return pairs of each person, moving, and the next; the first follows the last."""
    pairs = []
    for moving, static in zip(people, people[1:] + people[:1]):
        images, *labels = zip(moving, static)
        images = [
            image._replace(data=image.data.astype(np.float32)) for image in images
        ]
        pairs.append([*images, *labels])
    return pairs


def _grouped(options, labels):
    return labels._replace(data=_group_of_labels(options.malf)[labels.data])


@cache
def _group_of_labels(malf):
    with open(malf / "label_groups30.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    groups = np.zeros(1 + max(int(row["label"]) for row in rows), np.uint8)
    for row in rows:
        groups[int(row["label"])] = int(row["group30"])
    return groups


SETS = {
    "2 mm": _brains_2mm,
    "1 mm": _brains_1mm,
    "hippocampus": _hippocampus,
    "native": _native,
}
