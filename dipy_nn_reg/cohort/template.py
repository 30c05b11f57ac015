"""Template of a group: the image of mean shape and mean intensity."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib

from dipy_nn_reg.checks import check_integer, check_name, check_number, check_path
from dipy_nn_reg.cohort import state
from dipy_nn_reg.cohort.averages import AVERAGES
from dipy_nn_reg.cohort.engines import open_engine
from dipy_nn_reg.cohort.inputs import list_pairs, named
from dipy_nn_reg.cohort.jobs import failed_row
from dipy_nn_reg.cohort.options import check_channels, check_options, with_defaults
from dipy_nn_reg.cohort.people import readable
from dipy_nn_reg.cohort.rounds import KINDS, TEMPLATE, Rounds, has_rounds
from dipy_nn_reg.text import printable


@dataclass(frozen=True)
class Template:
    """Template of a group, and how each person is mapped to it.

    Attributes
    ----------
    path : Path
        File of the image.
    further : list of Path
        Files of the means of further images.
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
    further: list
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
    further=(),
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
        Files of images on any grids, all in 3D or all in 2D: NIfTI of two axes or of
        one slice along any axis, or pictures, which count as grey. A person whose image
        cannot be registered is left out. The order does not matter.
    out_dir : string or Path
        Folder of the results.
    initial : string or Path, optional
        Image to begin with, whose grid the template keeps. By default the mean of all.
    further : sequence of list of string or Path, optional
        Further images of the same people, such as FA beside T1: one list for each kind
        of image, in the order of ``images``. All are registered together, and a mean of
        each kind is made; the first ones are aligned, and begin with ``initial``.
    masks : list of string or Path, optional
        A mask for each image, outside of which it is not compared.
    labels : list of string or Path, optional
        A label map for each image, from which that of the template is voted.
    weights : list of float, optional
        Weight of each image; by default 1.
    rounds : int, optional
        Number of rounds of registration, four to be near the mean.
    average : {"mean", "median"}, optional
        How intensities are averaged, each image scaled to the same range. The median
        does not take ``weights``, which the mean of the shapes does.
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
        In 2D, images and maps have a third axis of size 1 across the slice.

    Raises
    ------
    ValueError
        If an option is invalid, if ``out_dir`` holds results of other options, if lists
        differ in length, if some images are in 2D and others in 3D, or if no image can
        be registered.
    FileNotFoundError
        If there is no file of an image, of a mask or of labels.
    RuntimeError
        As :func:`~dipy_nn_reg.register_cohort`.
    """
    _check(rounds, average, sharpen, prealign)
    people = _people(images, further, masks=masks, labels=labels, weights=weights)
    check_options({**options, "prealign": prealign})
    check_channels(options, [1 + len(further)])
    initial = None if initial is None else check_path("initial", initial).expanduser()
    used = readable(people, initial)
    out_dir = Path(out_dir).expanduser().absolute()
    state.check_folder(out_dir)
    settings = {
        **with_defaults(options),
        "people": {one["id"]: _inputs_of(one) for one in people},
        # Who could not be read at first would be missing in the rounds that are done.
        "readable": sorted(one["id"] for one in used),
        "initial": None if initial is None else initial.absolute(),
        "average": average,
        "sharpen": sharpen,
        "voxel_size": voxel_size,
        "prealign": prealign,
        "rounds": rounds,
    }
    engine = open_engine(n_jobs=n_jobs, scheduler=scheduler, killed=failed_row)
    with closing(engine):
        out_dir.mkdir(parents=True, exist_ok=True)
        is_empty = not has_rounds(out_dir)
        state.check_settings(out_dir, state.settings_of(settings), is_empty=is_empty)
        done = Rounds(
            out_dir,
            used,
            engine=engine,
            style={"average": average, "sharpen": sharpen},
            options={**options, "prealign": prealign},
        )
        done.begin(initial, voxel_size)
        for kind in KINDS[: 0 if prealign is None else 1 + KINDS.index(prealign)]:
            done.align(kind)
        for number in range(1, rounds + 1):
            done.register(f"registration_{number}", last=number == rounds)
        done.correct()
        return Template(**done.finish())


def _check(rounds, average, sharpen, prealign):
    """Raise ValueError for an invalid option."""
    check_integer("rounds", rounds, lowest=1)
    check_name("average", average, AVERAGES)
    check_number("sharpen", sharpen, or_zero=True)
    if prealign is not None:
        check_name("prealign", prealign, KINDS)


def _inputs_of(one):
    """Return the files of a person that shape the template, and the weight."""
    files = [one["moving"], *one["further"]]
    inputs = {"images": [path.absolute() for path in files], "weight": one["weight"]}
    if "moving_mask" in one:
        inputs["mask"] = one["moving_mask"].absolute()
    return inputs


def _people(images, further, **lists):
    """Return the id, the files and the weight of each person."""
    kinds = {f"further images, kind {n}": files for n, files in enumerate(further, 1)}
    for name, values in {**lists, **kinds}.items():
        if values is not None and len(values) != len(images):
            raise ValueError(
                f"Expected {name} for each of {len(images)} images. Received "
                f"{len(values)}."
            )
    images = [check_path("each image", path) for path in images]
    pairs = named(list_pairs(images, static=TEMPLATE))
    people = []
    for index, pair in enumerate(pairs):
        person = {"id": pair["id"], "moving": pair["moving"], "weight": 1.0}
        person["further"] = [
            check_path("each further image", files[index]).expanduser()
            for files in further
        ]
        for key, name in (("moving_mask", "masks"), ("labels", "labels")):
            if lists[name] is not None:
                path = check_path(f"each of {name}", lists[name][index])
                person[key] = path.expanduser()
        found = [person[key] for key in ("moving_mask", "labels") if key in person]
        for path in (person["moving"], *person["further"], *found):
            if not path.is_file():
                raise FileNotFoundError(f"File not found: {printable(path)}")
        if lists["weights"] is not None:
            check_number("each weight", lists["weights"][index])
            person["weight"] = float(lists["weights"][index])
        people.append(person)
    return people
