"""Files with pages on registrations, for several commands."""

import os
from pathlib import Path
import shlex
import sys
from urllib.parse import quote

from dipy_nn_reg.mapping.grid import is_prealigned
from dipy_nn_reg.text import printable, readable
from dipy_nn_reg.workflows.naming import pair_name
from dipy_nn_reg.workflows.output_checks import check_outputs

# Entry of the details of a pair of which one image has a skull.
_SKULL = "in the {} image alone; the images were compared in the brain"


def import_pages():
    """Import matplotlib and what else pages need, beside an import in a thread."""
    import dipy_nn_reg.quality.reports  # noqa: F401


def plan_cohort(flow, name, outputs, inputs):
    """Return the path of the page on several pairs, beside that of the first pair.

    Parameters
    ----------
    flow : dipy.workflows.workflow.Workflow
    name : str
    outputs : list of dict of Path
        Outputs of each pair, including ``out_report``.
    inputs : list of Path
        All files that are read, which the page may not replace.

    Returns
    -------
    path : Path or None
        None for one pair.

    Raises
    ------
    ValueError, OSError
        If the page cannot be written.
    """
    if len(outputs) == 1:
        return None
    path = outputs[0]["out_report"].parent / name
    check_outputs(flow, [*outputs, {"out_cohort": path}], inputs)
    return path


def write_report(
    path,
    mapping,
    images,
    names,
    *,
    field=None,
    annotations=None,
    of_field=None,
    outcome=None,
):
    """Write the page of one pair.

    Parameters
    ----------
    path : Path
    mapping : dipy.align.imwarp.DiffeomorphicMap
    images : dict of dipy_nn_reg.io.nifti.Image
        ``static`` and ``moving``. The mean of several channels is shown.
    names : dict of str
        Names of the images, ``static`` and ``moving``.
    field : Path, optional
        File of the map.
    annotations : dict of ndarray, optional
        ``static_labels`` and ``moving_labels``; ``mask`` and ``moving_mask``.
    of_field : dict of float, optional
        Measures of the map, as :func:`~dipy_nn_reg.quality.measures.measure` takes
        them.
    outcome : Outcome, optional
        Outcome of the registration, whose choices are shown.

    Returns
    -------
    subject : dict
        As :func:`~dipy_nn_reg.cohort_report` takes it.
    """
    from dipy_nn_reg.quality.applied import apply_map
    from dipy_nn_reg.quality.reports import report_pair

    static, moving = images["static"], images["moving"]
    name = _shown(pair_name(names))
    pair = apply_map(
        mapping,
        *(
            image.data if image.data.ndim == 3 else image.data.mean(-1)
            for image in (moving, static)
        ),
        moving_affine=moving.affine,
        static_affine=static.affine,
        **(annotations or {}),
    )
    measures = report_pair(
        path,
        pair,
        of_field=of_field,
        alignment=None if outcome is None else outcome.alignment,
        title=name,
        details={
            "Static": _shown(static.path.absolute()),
            "Moving": _shown(moving.path.absolute()),
            **({"Field": _shown(field.absolute())} if field else {}),
            **_choices(outcome, mapping),
            "Command": command(),
        },
    )
    return {"name": name, "page": path, **measures}


def _choices(outcome, mapping):
    """Return what a registration chose, for the list at the end of the page."""
    if outcome is None:
        return {}
    given = "as given" if is_prealigned(mapping) else "none"
    return {
        "Alignment": str(outcome.alignment or given),
        "Loss": outcome.loss,
        **({"Skull": _SKULL.format(outcome.skull)} if outcome.skull else {}),
    }


def write_cohort(path, subjects, failures):
    """Write the page of several pairs, with links to the page of each.

    Parameters
    ----------
    path : Path
    subjects : list of dict
        As :func:`write_report` returns them; ``page`` is the path of the page.
    failures : Failures
        Pairs that have no page.
    """
    from dipy_nn_reg.quality.reports import cohort_report

    subjects = [{**s, "page": _address(s["page"], path.parent)} for s in subjects]
    cohort_report(
        path, subjects, failed=failures.reasons, details={"Command": command()}
    )


def command():
    """Return the command line of this process, quoted for a shell."""
    return _shown(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]))


def _address(page, folder):
    """Return the relative URL of a page from a folder; it is valid for any name."""
    path = Path(os.path.relpath(page, folder)).as_posix()
    return f"./{quote(os.fsencode(path))}"


def _shown(text):
    """Return text for a page, which is written in UTF-8 whatever the locale."""
    return printable(readable(text))
