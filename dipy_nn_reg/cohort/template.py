"""Template of a group: the image of mean shape and mean intensity."""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib

from dipy_nn_reg.checks import check_integer, check_name, check_number
from dipy_nn_reg.cohort import state
from dipy_nn_reg.cohort.averages import AVERAGES
from dipy_nn_reg.cohort.inputs import list_pairs, named
from dipy_nn_reg.cohort.rounds import KINDS, TEMPLATE, Rounds
from dipy_nn_reg.text import printable


@dataclass(frozen=True)
class Template:
    """Template of a group, and how each person is mapped to it.

    Attributes
    ----------
    path : Path
        File of the image.
    labels : Path or None
        File of the labels that most people have.
    fields : dict of Path
        For each person, by name, the file of the map from the template to the image, as
        :func:`~dipy_nn_reg.io.fields.load_mapping` reads it.
    rows : list of dict
        Rows of the table of the last registrations, to the template before the last
        correction, see :func:`~dipy_nn_reg.register_cohort`.
    rounds : list of dict
        Name and ``seconds`` of each round, and how far it moved the template:
        ``velocity`` (mean length of the mean velocity, in voxels), or ``stretch``
        (largest change of a length by the mean affine, as a fraction). The last row is
        what is left in the end.
    """

    path: Path
    labels: Path | None
    fields: dict
    rows: list
    rounds: list

    @property
    def image(self):
        """Image of the template, as nibabel reads it."""
        return nib.load(self.path)


def build_template(
    images,
    out_dir,
    *,
    initial=None,
    masks=None,
    labels=None,
    weights=None,
    rounds=4,
    average="mean",
    sharpen=0.0,
    voxel_size=None,
    prealign="affine",
    n_jobs=1,
    scheduler=None,
    **options,
):
    """Build the template of a group: the image of mean shape and mean intensity.

    The images are averaged as they lie, then after a rigid, a similarity and an affine
    alignment to the average before, and after each of some rounds of registration.
    Each time the average is corrected by the mean of all affines, without their rigid
    part, and by the mean of the velocities of all maps. A call that is stopped goes on,
    when it is repeated, after the last round; within a round, after the last person.

    Parameters
    ----------
    images : list of string or Path
        Images in 3D, of any grids. A person whose image cannot be registered is left
        out.
    out_dir : string or Path
        Folder of the results.
    initial : string or Path, optional
        Image to begin with, whose grid the template keeps. By default the mean of all.
    masks : list of string or Path, optional
        A mask for each image, outside of which it is not compared.
    labels : list of string or Path, optional
        A label map for each image, from which that of the template is voted.
    weights : list of float, optional
        Weight of each image; by default 1.
    rounds : int, optional
        Number of rounds of registration, four to be near the mean.
    average : {"mean", "median"}, optional
        How intensities are averaged, each image scaled to the same range.
    sharpen : float, optional
        How much of the difference from a blurred image is added to the template.
    voxel_size : float, optional
        In mm; by default that of the images, or of ``initial``.
    prealign : {"affine", "similarity", "rigid"} or None, optional
        Alignment of each person; None for images that are aligned.
    n_jobs, scheduler : optional
        As for :func:`~dipy_nn_reg.register_cohort`.
    **options
        Options of :func:`~dipy_nn_reg.register`.

    Returns
    -------
    template : Template

    Raises
    ------
    ValueError
        If an option is invalid, if ``out_dir`` holds results of other options, if lists
        differ in length, or if no image can be registered.
    FileNotFoundError
        If there is no file of an image.
    """
    _check(rounds, average, sharpen, prealign)
    people = _people(images, masks=masks, labels=labels, weights=weights)
    out_dir = Path(out_dir).expanduser().absolute()
    out_dir.mkdir(parents=True, exist_ok=True)
    settings = {
        "people": {one["id"]: str(one["moving"].absolute()) for one in people},
        "weights": [person["weight"] for person in people],
        "initial": None if initial is None else str(Path(initial).absolute()),
        "average": average,
        "sharpen": sharpen,
        "voxel_size": voxel_size,
        "prealign": prealign,
        "rounds": rounds,
        **state.settings_of(options),
    }
    state.check_settings(out_dir, settings)
    done = Rounds(
        out_dir,
        people,
        engine={"n_jobs": n_jobs, "scheduler": scheduler},
        style={"average": average, "sharpen": sharpen},
        options={**options, "prealign": prealign},
    )
    done.begin(initial, voxel_size)
    for kind in KINDS[: 0 if prealign is None else 1 + KINDS.index(prealign)]:
        done.align(kind)
    for number in range(1, rounds + 1):
        done.register(f"registration_{number}", last=number == rounds)
    return Template(**done.finish())


def _check(rounds, average, sharpen, prealign):
    """Raise ValueError for an invalid option."""
    check_integer("rounds", rounds, lowest=1)
    check_name("average", average, AVERAGES)
    check_number("sharpen", sharpen, or_zero=True)
    if prealign is not None:
        check_name("prealign", prealign, KINDS)


def _people(images, **lists):
    """Return the id, the files and the weight of each person."""
    for name, values in lists.items():
        if values is not None and len(values) != len(images):
            raise ValueError(
                f"Expected {name} for each of {len(images)} images. Received "
                f"{len(values)}."
            )
    pairs = named(list_pairs(images, static=TEMPLATE))
    people = []
    for index, pair in enumerate(pairs):
        if not pair["moving"].is_file():
            raise FileNotFoundError(f"File not found: {printable(pair['moving'])}")
        person = {"id": pair["id"], "moving": pair["moving"], "weight": 1.0}
        for key, name in (("moving_mask", "masks"), ("labels", "labels")):
            if lists[name] is not None:
                person[key] = Path(lists[name][index])
        if lists["weights"] is not None:
            check_number("each weight", lists["weights"][index])
            person["weight"] = float(lists["weights"][index])
        people.append(person)
    return people
