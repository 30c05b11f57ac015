"""Jobs of a cohort from what a user names, with the files that each will write."""

from collections import defaultdict
import os
from pathlib import Path

import nibabel as nib

from dipy_nn_reg.cohort import bids
from dipy_nn_reg.cohort.inputs import (
    ANNOTATIONS,
    further_images,
    is_table,
    list_pairs,
    named,
    read_pairs,
)
from dipy_nn_reg.cohort.jobs import Job
from dipy_nn_reg.io.field_formats import FORMATS


def plan_jobs(
    pairs, out_dir, *, static, field_format=None, unwanted=(), of_dataset=None
):
    """Return the jobs of a cohort, those of one size one after the other.

    Parameters
    ----------
    pairs, static, field_format
        As for :func:`~dipy_nn_reg.cohort.register_cohort.register_cohort`.
    out_dir : Path
    unwanted : tuple of str
        Names of outputs that are not written.
    of_dataset : dict
        ``suffix``, ``participants`` and ``space``, for a folder in BIDS.

    Returns
    -------
    jobs : list of Job
    field_format : str
    """
    static = None if static is None else Path(static).expanduser().absolute()
    one = pairs if isinstance(pairs, (str, Path)) else None
    is_dataset = one is not None and Path(one).is_dir()
    field_format = field_format or ("itk_h5" if is_dataset else "dipy")
    ending = FORMATS[field_format].endings[-1]
    if is_dataset:
        found, outputs = _of_dataset(Path(one), static, out_dir, ending, **of_dataset)
    else:
        _check_idle(of_dataset or {})
        found = named(
            read_pairs(one, static)
            if one and is_table(one)
            else list_pairs([one] if one else pairs, static)
        )
        outputs = [_outputs(out_dir / pair["id"], ending) for pair in found]
    jobs = [_job(pair, paths, unwanted) for pair, paths in zip(found, outputs)]
    _check_inputs(jobs)
    return _by_size(jobs), field_format


def _check_idle(of_dataset):
    """Raise ValueError for options of a folder in BIDS, where there is none."""
    defaults = {"suffix": bids.SUFFIX, "participants": (), "space": None}
    for name, default in defaults.items():
        value = of_dataset.get(name, default)
        if value != default and len(value):
            raise ValueError(
                f"Expected a folder in BIDS with a suffix, labels of participants or a "
                f"space. Received {name}={value!r} with other pairs."
            )


def _of_dataset(root, static, out_dir, ending, *, suffix, participants, space):
    """Return the pairs of a folder in BIDS, and the derivatives of each."""
    if not bids.is_dataset(root):
        raise ValueError(
            f"Expected a folder in BIDS, with {bids.DESCRIPTION}. Received "
            f"{str(root)!r} without."
        )
    if static is None:
        raise ValueError("Expected a static image for a folder in BIDS. Received none.")
    space = space or bids.space_of(static)
    bids.check_space(space)
    images = bids.find_images(root, suffix=suffix, participants=participants)
    names = [image.name.split(".nii")[0] for image in images]
    pairs = [
        {"id": name, "static": static, "moving": image}
        for name, image in zip(names, images)
    ]
    style = {"space": space, "ending": ending}
    outputs = [bids.outputs_of(image, root, out_dir, **style) for image in images]
    return named(pairs), outputs


def _outputs(folder, ending):
    """Return the files of a pair in a folder of its own."""
    return {
        "out_warped": folder / "warped.nii.gz",
        "out_field": folder / f"field{ending}",
        "out_inverse": folder / f"inverse{ending}",
        "out_prealign": folder / "prealign.txt",
        "out_overview": folder / "overview.jpg",
        "out_report": folder / "report.html",
    }


def _job(pair, outputs, unwanted):
    files = {name: pair[name].absolute() for name in ("static", "moving")}
    annotations = {n: pair[n].absolute() for n in ANNOTATIONS if n in pair}
    channels = further_images(
        {name: path.absolute() for name, path in pair.items() if name != "id"}
    )
    return Job(pair["id"], files, outputs, annotations, channels, unwanted)


def _check_inputs(jobs):
    """Raise ValueError if an output of one pair is an input of any."""
    read = {os.path.realpath(path) for job in jobs for path in _read_by(job)}
    for job in jobs:
        for path in job.outputs.values():
            if os.path.realpath(path) in read:
                raise ValueError(
                    f"Expected another output than the input {str(path)!r}."
                )


def _read_by(job):
    """Return all files that a job reads."""
    further = (job.channels or {}).values()
    return [
        *job.files.values(),
        *job.annotations.values(),
        *(path for paths in further for path in paths),
    ]


def _by_size(jobs):
    """Return jobs in an order in which each size of images is compiled for once."""
    if len({job.files["static"] for job in jobs}) == 1:
        return jobs
    groups = defaultdict(list)
    for job in jobs:
        groups[_shape(job.files["static"])].append(job)
    return [job for group in groups.values() for job in group]


def _shape(path):
    """Return the shape in a header; None if it cannot be read, which a row will say."""
    try:
        return nib.load(path).shape
    except (OSError, nib.filebasedimages.ImageFileError):
        return None
