"""Files with pages on registrations, for several commands."""

import os
from pathlib import Path
import shlex
import sys
from urllib.parse import quote

from dipy_nn_reg.cohort.naming import pair_name
from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.mapping.grid import is_prealigned, static_grid
from dipy_nn_reg.text import printable, readable

# Entry of the details of a pair of which one image has a skull.
_SKULL = "in the {} image alone; the images were compared in the brain"


def import_pages():
    """Import matplotlib and what else pages need, beside an import in a thread."""
    import dipy_nn_reg.quality.reports  # noqa: F401


def apply_to_images(mapping, images, annotations=None):
    """Return two images brought together by a map, of several channels their mean.

    Parameters
    ----------
    mapping : dipy.align.imwarp.DiffeomorphicMap
    images : dict of dipy_nn_reg.io.nifti.Image
        ``static`` and ``moving``.
    annotations : dict of ndarray, optional
        ``static_labels`` and ``moving_labels``; ``mask`` and ``moving_mask``.

    Returns
    -------
    pair : dipy_nn_reg.quality.applied.MappedPair
    """
    from dipy_nn_reg.quality.applied import apply_map

    static, moving = images["static"], images["moving"]
    return apply_map(
        mapping,
        *(
            image.data if image.data.ndim == 3 else image.data.mean(-1)
            for image in (moving, static)
        ),
        moving_affine=moving.affine,
        static_affine=static.affine,
        **(annotations or {}),
    )


def write_report(path, pair, images, names, *, field=None, of_field=None, outcome=None):
    """Write the page of one pair.

    Parameters
    ----------
    path : Path
    pair : dipy_nn_reg.quality.applied.MappedPair
        As :func:`apply_to_images` returns it.
    images : dict of dipy_nn_reg.io.nifti.Image
        ``static`` and ``moving``, whose paths are shown.
    names : dict of str
        Names of the images, ``static`` and ``moving``.
    field : Path, optional
        File of the map.
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
    from dipy_nn_reg.quality.reports import report_pair

    name = _shown(pair_name(names))
    measures = report_pair(
        path,
        pair,
        of_field=of_field,
        alignment=None if outcome is None else outcome.alignment,
        title=name,
        details={
            "Static": _shown(images["static"].path.absolute()),
            "Moving": _shown(images["moving"].path.absolute()),
            **({"Field": _shown(field.absolute())} if field else {}),
            **_choices(outcome, pair.mapping),
            **_turn(pair.mapping),
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


def _turn(mapping):
    """Return how much a map turns the tissue beyond what b-vectors can follow."""
    from dipy_nn_reg.diffusion.local_maps import measure_turn

    grid = static_grid(mapping)
    if len(grid.shape) < 3 or 1 in grid.shape:
        return {}
    median, most = measure_turn([mapping], grid)
    text = f"{median:.1f} degrees (median), {most:.1f} (95 % of the voxels)"
    return {"Rotation beyond the affine, which b-vectors do not follow": text}


def write_cohort(path, subjects, failed):
    """Write the page of several pairs, with links to the page of each.

    Parameters
    ----------
    path : Path
    subjects : list of dict
        As :func:`write_report` returns them; ``page`` is the path of the page, or None,
        and ``picture`` that of a small picture, if there is one.
    failed : list of tuple of str
        Name and reason of each pair that has no page.
    """
    from dipy_nn_reg.quality.cohort_reports import cohort_report

    subjects = [{**s, **_links(s, path.parent)} for s in subjects]
    cohort_report(path, subjects, failed=failed, details={"Command": command()})


def write_template_page(path, rounds, templates, *, people):
    """Write the page of a template, with a picture of it after each round.

    Parameters
    ----------
    path : Path
    rounds : list of dict
        As :class:`~dipy_nn_reg.cohort.template.Template` has them; the last one is what
        is left in the end.
    templates : list of Path
        Template of each round but the last.
    people : Path
        Folder of the last registrations, to whose page a link leads.
    """
    from dipy_nn_reg.quality.overviews import picture_of
    from dipy_nn_reg.quality.pages import write_page

    pictures = [picture_of(read_image(file)) for file in templates]
    write_page(
        path,
        "template.html",
        title="Template",
        rounds=[{"velocity": None, "stretch": None, **one} for one in rounds],
        pictures=[*pictures, None],
        people=_address(people / "cohort.html", path.parent),
        details={"Command": command()},
    )


def command():
    """Return the command line of this process, quoted for a shell."""
    return _shown(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]))


def _links(subject, folder):
    """Return the URLs of a page and a picture, as far as there are any."""
    paths = {name: subject.get(name) for name in ("page", "picture")}
    return {n: None if p is None else _address(p, folder) for n, p in paths.items()}


def _address(file, folder):
    """Return the relative URL of a file from a folder; it is valid for any name."""
    path = Path(os.path.relpath(file, folder)).as_posix()
    return f"./{quote(os.fsencode(path))}"


def _shown(text):
    """Return text for a page, which is written in UTF-8 whatever the locale."""
    return printable(readable(text))
