"""Rounds in which a template is made, each from the image of the one before."""

from contextlib import closing
from functools import partial
import json
import shutil
from time import perf_counter

from dipy.utils.logging import logger
import numpy as np

from dipy_nn_reg.cohort.averages import (
    Correction,
    common_grid,
    mean_image,
    mean_shape,
    mean_stretch,
    vote,
)
from dipy_nn_reg.cohort.engines import open_engine
from dipy_nn_reg.cohort.jobs import Job, align_files, failed_row
from dipy_nn_reg.cohort.pages import write_template_page
from dipy_nn_reg.cohort.register_cohort import register_cohort
from dipy_nn_reg.cohort.state import read_rows
from dipy_nn_reg.intensities import normalize
from dipy_nn_reg.io.atomic import whole_file
from dipy_nn_reg.io.labels import read_labels_on
from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.io.nifti_writing import write_image
from dipy_nn_reg.io.points import read_map, write_map
from dipy_nn_reg.io.warped import write_warped
from dipy_nn_reg.mapping.grid import prealign_of
from dipy_nn_reg.mapping.maps import displacement_of, displacement_to_mapping
from dipy_nn_reg.mapping.resampling import warp_image
from dipy_nn_reg.progress import progress_bar
from dipy_nn_reg.text import describe

# Alignments of the first rounds, from few parameters to many.
KINDS = ("rigid", "similarity", "affine")
TEMPLATE, LABELS, PAGE = "template.nii.gz", "labels.nii.gz", "template.html"
MAPS = "maps"
_PEOPLE, _ROUNDS, _RECORD = "people", "rounds", "round.json"
_FIELD = "field.nii.gz"


class Rounds:
    """Rounds of a template in a folder, of which those that are done are not repeated.

    Parameters
    ----------
    out_dir : Path
    people : list of dict
        ``id``, ``moving`` and ``weight`` of each; ``moving_mask`` and ``labels`` of
        those that have them.
    engine : dict
        ``n_jobs`` and ``scheduler``.
    style : dict
        ``average`` and ``sharpen``, as
        :func:`~dipy_nn_reg.cohort.averages.mean_image` takes them.
    options : dict
        Options of :func:`~dipy_nn_reg.register`.
    """

    def __init__(self, out_dir, people, *, engine, style, options):
        self.out_dir, self.people = out_dir, people
        self.engine, self.style, self.options = engine, style, options
        self.path, self.records = None, []

    def begin(self, initial, voxel_size):
        """Average the images as they lie, or take an initial image."""
        self.people = _readable(self.people)

        def make(_):
            if initial is None:
                images = [read_image(person["moving"]) for person in self.people]
                grid, shifts = common_grid(images, voxel_size)
                maps = [[shift] for shift in shifts]
                return self._mean(self.people, maps, grid), grid, Correction([])
            images = [read_image(initial)]
            grid, _ = common_grid(images, voxel_size)
            alone = {"weights": [1.0], "average": "mean", "sharpen": 0.0}
            return mean_image(images, [[]], grid, **alone), grid, Correction([])

        self._round("start", make)

    def align(self, kind):
        """Align all images to the template, and average them anew."""

        def make(_):
            jobs = [
                Job(one["id"], self._files(one), {}, self._masks(one))
                for one in self.people
            ]
            engine = open_engine(**self.engine, killed=failed_row)
            with (
                closing(engine),
                closing(engine.run(partial(align_files, kind=kind), jobs)) as results,
            ):
                shown = progress_bar(results, desc=kind, total=len(jobs))
                rows = {job.name: row for job, row in shown}
            people = _left(self.people, rows)
            affines = [rows[one["id"]]["affine"] for one in people]
            return self._update(people, affines, mean_stretch)

        self._round(kind, make)

    def register(self, name, *, last=False):
        """Register all images to the template, and average them anew.

        In the last round, the maps are corrected as the template is, and written.
        """

        def make(folder):
            rows = self._register(folder / _PEOPLE)
            people = _left(self.people, {row["id"]: row for row in rows})
            maps = _Maps(folder / _PEOPLE, self.path, people)
            data, grid, correction = self._update(people, maps, mean_shape)
            if last:
                self._write_maps(people, maps, correction)
            return data, grid, correction

        self._round(name, make, keep=last)

    def finish(self):
        """Return all results, with the labels that most people have."""
        folder, path = self.path.parent / _PEOPLE, self.out_dir / TEMPLATE
        shutil.copyfile(self.path, path)
        rows = read_rows(folder)
        people = _left(self.people, rows)
        maps, template = _Maps(self.out_dir / MAPS, path, people), read_image(path)
        begin = perf_counter()
        left = mean_shape(maps, template.grid, _weights(people))
        self.records.append(_record("left", left, perf_counter() - begin))
        labels = None
        if "labels" in people[0]:
            labels = self.out_dir / LABELS
            write_image(labels, self._vote(people, maps, template), template.affine)
        templates = [self._folder(i) / TEMPLATE for i in range(len(self.records) - 1)]
        page = self.out_dir / PAGE
        write_template_page(page, self.records, templates, people=folder)
        return {
            "path": path,
            "labels": labels,
            "fields": {one["id"]: maps.file_of(one) for one in people},
            "rows": [rows[one["id"]] for one in self.people],
            "rounds": self.records,
        }

    def _round(self, name, make, *, keep=False):
        """Make the template of a round, unless it has been made."""
        folder = self._folder(len(self.records), name)
        record = folder / _RECORD
        if not record.exists():
            folder.mkdir(parents=True, exist_ok=True)
            begin = perf_counter()
            data, grid, correction = make(folder)
            write_image(folder / TEMPLATE, data, grid.affine)
            with whole_file(record) as partial_file:
                described = _record(name, correction, perf_counter() - begin)
                partial_file.write_text(json.dumps(described))
            if not keep:
                shutil.rmtree(folder / _PEOPLE, ignore_errors=True)
        self.records.append(json.loads(record.read_text()))
        self.path = folder / TEMPLATE
        logger.info(_describe(self.records[-1]))

    def _folder(self, number, name=None):
        name = self.records[number]["name"] if name is None else name
        return self.out_dir / _ROUNDS / f"{number:02d}_{name}"

    def _files(self, one):
        return {"static": self.path, "moving": one["moving"].absolute()}

    def _masks(self, one):
        return {n: one[n].absolute() for n in ("moving_mask",) if n in one}

    def _register(self, folder):
        """Register all images to the template, and return the rows of the table."""
        pairs = [
            {"id": one["id"], "moving": one["moving"], **self._masks(one)}
            for one in self.people
        ]
        return register_cohort(
            pairs,
            folder,
            static=self.path,
            field_format="dipy",
            **self.engine,
            **self.options,
        )

    def _update(self, people, maps, average):
        """Return the corrected mean of images, its grid, and the correction."""
        template = read_image(self.path)
        correction = average(maps, template.grid, _weights(people))
        steps = ([*correction.maps, one] for one in maps)
        return self._mean(people, steps, template.grid), template.grid, correction

    def _write_maps(self, people, maps, correction):
        """Write the map from the new template to each person, and the warped image."""
        from dipy_nn_reg.transform import compose

        (field,), template = correction.maps, read_image(self.path)
        for one, mapping in zip(people, maps):
            moving = read_image(one["moving"])
            corrected = displacement_to_mapping(
                np.asarray(compose(displacement_of(mapping), displacement_of(field))),
                static_affine=template.affine,
                moving_shape=moving.grid.shape,
                moving_affine=moving.affine,
                prealign=prealign_of(mapping),
            )
            folder = self.out_dir / MAPS / one["id"]
            folder.mkdir(parents=True, exist_ok=True)
            write_map(folder / _FIELD, corrected, template, moving, format="dipy")
            warped = warp_image(moving, template, [corrected])
            write_warped(folder / "warped.nii.gz", warped, moving, template)

    def _mean(self, people, maps, grid):
        images = (read_image(one["moving"]) for one in people)
        return mean_image(images, maps, grid, weights=_weights(people), **self.style)

    def _vote(self, people, maps, template):
        images = [read_image(one["moving"]) for one in people]
        labels = [read_labels_on(one["labels"], i) for one, i in zip(people, images)]
        steps = ([one] for one in maps)
        return vote(labels, images, steps, template.grid, _weights(people))


class _Maps:
    """Maps of people to a template, each of which is read when its turn comes."""

    def __init__(self, folder, template, people):
        self.folder, self.template, self.people = folder, template, people

    def __iter__(self):
        static = read_image(self.template)
        for one in self.people:
            yield read_map(self.file_of(one), static, read_image(one["moving"]))

    def file_of(self, one):
        """Return the file with the map of a person."""
        return self.folder / one["id"] / _FIELD


def _readable(people):
    """Return the people with a volume that can be read; say who have none."""
    rows = {one["id"]: {"status": "done"} for one in people}
    for one in people:
        try:
            _check_volume(read_image(one["moving"]).data)
        except (OSError, ValueError) as error:
            rows[one["id"]] = {"status": "failed", "error": describe(error)}
    return _left(people, rows)


def _check_volume(image):
    if 1 in image.shape or not normalize(image).any():
        raise ValueError(
            f"Expected a volume with contrast. Received shape {image.shape} and values "
            f"from {image.min()} to {image.max()}."
        )


def _left(people, rows):
    """Return the people whose images could be registered; say who could not."""
    for one in people:
        row = rows[one["id"]]
        if row["status"] != "done":
            logger.warning(f"Left out: {one['id']}: {row['error']}")
    left = [one for one in people if rows[one["id"]]["status"] == "done"]
    if not left:
        raise ValueError("Expected images that can be registered. Received none.")
    return left


def _weights(people):
    return [one["weight"] for one in people]


def _record(name, correction, seconds):
    """Return what is kept of a round: how far it moved the template, and its time."""
    sizes = {"velocity": correction.velocity, "stretch": correction.stretch}
    known = {key: size for key, size in sizes.items() if size is not None}
    return {"name": name, **known, "seconds": round(seconds, 2)}


def _describe(record):
    """Return a round in one line."""
    moved = ""
    if "velocity" in record:
        moved = f": mean velocity {record['velocity']:.3f} voxels"
    if "stretch" in record:
        moved = f": mean stretch {100 * record['stretch']:.2f} %"
    return f"Round {record['name']}{moved}, {record['seconds']:.1f} s"
