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
    mean_image,
    mean_shape,
    mean_stretch,
    vote,
)
from dipy_nn_reg.cohort.common_grid import common_grid
from dipy_nn_reg.cohort.jobs import Job, align_files, only_warnings
from dipy_nn_reg.cohort.pages import write_template_page
from dipy_nn_reg.cohort.people import (
    FIELD,
    VELOCITY,
    WARPED,
    Maps,
    correct_map,
    register_person,
    remaining,
    weights_of,
)
from dipy_nn_reg.cohort.plan import plan_jobs
from dipy_nn_reg.cohort.register_cohort import register_jobs
from dipy_nn_reg.cohort.state import read_rows
from dipy_nn_reg.io.atomic import whole_file
from dipy_nn_reg.io.labels import read_labels_on
from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.io.nifti_writing import write_image
from dipy_nn_reg.mapping.maps import displacement_of
from dipy_nn_reg.progress import progress_bar

# Alignments of the first rounds, from few parameters to many.
KINDS = ("rigid", "similarity", "affine")
FURTHER = "template_{}.nii.gz"
TEMPLATE, LABELS, PAGE = "template.nii.gz", "labels.nii.gz", "template.html"
MAPS = "maps"
_PEOPLE, _ROUNDS, _RECORD = "people", "rounds", "round.json"
_CORRECTION = "correction.npy"
# Options of the files that a registration writes.
_FILES = {"field_format": "dipy", "fill": None}


class Rounds:
    """Rounds of a template in a folder, of which those that are done are not repeated.

    Parameters
    ----------
    out_dir : Path
    people : list of dict
        ``id``, ``moving``, ``weight`` and ``further``, a list of further images, of
        each; ``moving_mask`` and ``labels`` of those that have them.
    engine
        As :func:`~dipy_nn_reg.cohort.engines.open_engine` returns it; it serves all
        rounds.
    style : dict
        ``average`` and ``sharpen``, as
        :func:`~dipy_nn_reg.cohort.averages.mean_image` takes them.
    options : dict
        Options of :func:`~dipy_nn_reg.register`.
    """

    def __init__(self, out_dir, people, *, engine, style, options):
        self.out_dir, self.order = out_dir, [one["id"] for one in people]
        # Rounding depends on the order of a sum, and grows in the search for affines.
        self.people = sorted(people, key=lambda one: str(one["moving"]))
        self.engine, self.style, self.options = engine, style, options
        self.path, self.registrations, self.records = None, None, []

    def begin(self, initial, voxel_size):
        """Average the images as they lie, or take an initial image."""

        def make(_):
            if initial is None:
                images = [read_image(person["moving"]) for person in self.people]
                grid, shifts = common_grid(images, voxel_size)
                return self._means(self.people, shifts, grid), grid, Correction([])
            images = [read_image(initial)]
            grid, _ = common_grid(images, voxel_size)
            alone = {"weights": [1.0], "average": "mean", "sharpen": 0.0}
            # Further images have no initial one: they are averaged as they lie.
            still = [np.eye(4)] * len(self.people)
            _, *further = self._means(self.people, still, grid)
            first = mean_image(images, [[]], grid, **alone)
            return [first, *further], grid, Correction([])

        self._round("start", make)

    def align(self, kind):
        """Align all images to the template, and average them anew."""

        def make(_):
            jobs = [
                Job(one["id"], self._files(one), {}, self._masks(one))
                for one in self.people
            ]
            rows = self._rows(kind, partial(align_files, kind=kind), jobs)
            people = remaining(self.people, rows)
            affines = [rows[one["id"]]["affine"] for one in people]
            grid, weights = read_image(self.path).grid, weights_of(people)
            correction = mean_stretch(affines, grid, weights)
            means = self._means(people, affines, grid, correction.maps)
            return means, grid, correction

        self._round(kind, make)

    def register(self, name, *, last=False):
        """Register all images to the template, and average them anew.

        What the last round has written is kept.
        """

        def make(folder):
            rows = self._register(folder / _PEOPLE, shown=last)
            people = remaining(self.people, {row["id"]: row for row in rows})
            maps = Maps(folder / _PEOPLE, self.path, people)
            grid, weights = read_image(self.path).grid, weights_of(people)
            correction = mean_shape(maps.velocities(), grid, weights)
            if last:
                np.save(folder / _CORRECTION, displacement_of(correction.maps[0]))
            # Linear interpolation would blur the mean, and cost 0.001 of Dice. Affines
            # are found between blurred images.
            means = self._means(
                people, maps, grid, correction.maps, interpolation="cubic"
            )
            return means, grid, correction

        self._round(name, make, keep=last)
        self.registrations = self.path.parent

    def correct(self):
        """Write the map from the last template to each person, and what is left."""

        def make(folder):
            source, path = self.registrations / _PEOPLE, self.path
            people = remaining(self.people, read_rows(source))
            corrected = Maps(folder / _PEOPLE, path, people)
            jobs = [
                Job(
                    one["id"],
                    {**self._files(one), "field": source / one["id"] / FIELD},
                    {
                        "out_field": self.out_dir / MAPS / one["id"] / FIELD,
                        "out_warped": self.out_dir / MAPS / one["id"] / WARPED,
                        "out_velocity": corrected.file_of(one, VELOCITY),
                    },
                )
                for one in people
            ]
            function = partial(correct_map, correction=self.registrations / _CORRECTION)
            for row in self._rows("maps", function, jobs).values():
                if row["status"] != "done":
                    raise ValueError(f"No map to {row['id']}: {row['error']}")
            template = read_image(path)
            left = mean_shape(corrected.velocities(), template.grid, weights_of(people))
            means = [read_image(path).data for path in self._templates()]
            return means, template.grid, Correction([], velocity=left.velocity)

        self._round("left", make)

    def finish(self):
        """Return all results, with the labels that most people have."""
        folder = self.registrations / _PEOPLE
        path, *further = (self.out_dir / file.name for file in self._templates())
        for file in self._templates():
            shutil.copyfile(file, self.out_dir / file.name)
        rows = read_rows(folder)
        people = remaining(self.people, rows)
        maps, labels = Maps(self.out_dir / MAPS, path, people), None
        if "labels" in people[0]:
            labels, template = self.out_dir / LABELS, read_image(path)
            write_image(labels, self._vote(people, maps, template), template.affine)
        templates = [self._folder(i) / TEMPLATE for i in range(len(self.records) - 1)]
        fields = {one["id"]: maps.file_of(one) for one in people}
        page = self.out_dir / PAGE
        write_template_page(page, self.records, templates, people=folder)
        return {
            "path": path,
            "further": further,
            "labels": labels,
            "fields": {name: fields[name] for name in self.order if name in fields},
            "rows": [rows[name] for name in self.order],
            "rounds": self.records,
        }

    def _round(self, name, make, *, keep=False):
        """Make the template of a round, unless it has been made."""
        folder = self._folder(len(self.records), name)
        record = folder / _RECORD
        if not record.exists():
            folder.mkdir(parents=True, exist_ok=True)
            begin = perf_counter()
            means, grid, correction = make(folder)
            for path, data in zip(self._templates(folder), means):
                write_image(path, data, grid.affine)
            with whole_file(record) as partial_file:
                described = _record(name, correction, perf_counter() - begin)
                partial_file.write_text(json.dumps(described))
            if not keep:
                shutil.rmtree(folder / _PEOPLE, ignore_errors=True)
            for velocity in folder.glob(f"{_PEOPLE}/*/{VELOCITY}"):
                velocity.unlink()
        self.records.append(json.loads(record.read_text()))
        self.path = folder / TEMPLATE
        logger.info(_describe(self.records[-1]))

    def _templates(self, folder=None):
        """Return the files of all images of a template, by default of the last one."""
        folder = self.path.parent if folder is None else folder
        numbers = range(2, 2 + len(self.people[0]["further"]))
        return [folder / TEMPLATE, *(folder / FURTHER.format(n) for n in numbers)]

    def _folder(self, number, name=None):
        name = self.records[number]["name"] if name is None else name
        return self.out_dir / _ROUNDS / f"{number:02d}_{name}"

    def _files(self, one):
        return {"static": self.path, "moving": one["moving"].absolute()}

    def _masks(self, one):
        return {n: one[n].absolute() for n in ("moving_mask",) if n in one}

    def _register(self, folder, *, shown):
        """Register all images to the template, and return the rows of the table."""
        folder.mkdir(exist_ok=True)
        pairs = [
            {"id": one["id"], "moving": one["moving"], **self._masks(one)}
            for one in self.people
        ]
        _, *templates = self._templates()
        for pair, one in zip(pairs, self.people):
            for n, (image, template) in enumerate(zip(one["further"], templates), 2):
                pair |= {f"moving_{n}": image, f"static_{n}": template}
        unwanted = ["out_inverse", "out_report"]
        if not shown:
            unwanted += ["out_overview", "out_warped"]
        jobs, _ = plan_jobs(pairs, folder, static=self.path, unwanted=tuple(unwanted))
        function = partial(register_person, options={**self.options, **_FILES})
        return register_jobs(function, jobs, folder, self.engine)

    def _rows(self, name, function, jobs):
        """Return what a function of each job returns, by the names of the jobs."""
        with closing(self.engine.run(function, jobs)) as results:
            shown = progress_bar(results, desc=name, total=len(jobs))
            return {job.name: row for job, row in shown}

    def _means(self, people, maps, grid, before=(), **style):
        """Return the means of the images of people, each read through maps."""
        of_each = [[one["moving"], *one["further"]] for one in people]
        style |= {"weights": weights_of(people), **self.style}
        with only_warnings():
            return [
                mean_image(
                    map(read_image, f), ([*before, m] for m in maps), grid, **style
                )
                for f in zip(*of_each)
            ]

    def _vote(self, people, maps, template):
        with only_warnings():
            images = [read_image(one["moving"]) for one in people]
            labels = [read_labels_on(p["labels"], i) for p, i in zip(people, images)]
            steps = ([one] for one in maps)
            return vote(labels, images, steps, template.grid, weights_of(people))


def has_rounds(out_dir):
    """Return whether a folder holds a round of a template that is done."""
    return any(out_dir.glob(f"{_ROUNDS}/*/{_RECORD}"))


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
