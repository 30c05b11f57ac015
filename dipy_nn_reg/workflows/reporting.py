"""Pages on registrations, for several commands."""

import os
from pathlib import Path
import shlex
import sys

from dipy_nn_reg.workflows.paths import check_outputs


def plan_cohort(flow, name, outputs):
    """Return where the page on several pairs goes, beside that of the first one.

    Parameters
    ----------
    flow : dipy.workflows.workflow.Workflow
    name : str
    outputs : list of dict of Path
        Of the pairs, with ``out_report``.

    Returns
    -------
    path : Path or None
        None for one pair.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    if len(outputs) == 1:
        return None
    path = outputs[0]["out_report"].parent / name
    check_outputs(flow, [*outputs, {"out_cohort": path}])
    return path


def write_report(path, mapping, images, *, field=None, labels=None):
    """Write the page of one pair.

    Parameters
    ----------
    path : Path
    mapping : dipy.align.imwarp.DiffeomorphicMap
    images : dict of dipy_nn_reg.nifti.Image
        ``static`` and ``moving``; of several channels, their mean is shown.
    field : Path, optional
        Where the map is.
    labels : dict of ndarray, optional
        ``static_labels`` and ``moving_labels``.

    Returns
    -------
    subject : dict
        As :func:`~dipy_nn_reg.quality_report.cohort_report` takes it.
    """
    from dipy_nn_reg.quality_report import report

    static, moving = images["static"], images["moving"]
    name = f"{_stem(moving.path)} to {_stem(static.path)}"
    measures = report(
        path,
        mapping,
        *(
            image.data if image.data.ndim == 3 else image.data.mean(-1)
            for image in (moving, static)
        ),
        moving_affine=moving.affine,
        static_affine=static.affine,
        **(labels or {}),
        title=name,
        details={
            "Static": static.path.resolve(),
            "Moving": moving.path.resolve(),
            **({"Field": field.resolve()} if field else {}),
            "Command": command(),
        },
    )
    return {"name": name, "page": path, **measures}


def write_cohort(path, subjects):
    """Write the page of several pairs, with the way to the page of each."""
    from dipy_nn_reg.quality_report import cohort_report

    subjects = [
        {**s, "page": Path(os.path.relpath(s["page"], path.parent)).as_posix()}
        for s in subjects
    ]
    cohort_report(path, subjects, details={"Command": command()})


def command():
    """Return the command line that is running, to be typed again."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _stem(path):
    return path.name.split(".nii")[0]
