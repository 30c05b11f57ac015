"""Outputs of the registration of one pair of files."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from dipy_nn_reg import metrics
from dipy_nn_reg.cohort.pages import apply_to_images, write_report
from dipy_nn_reg.intensities import float_type
from dipy_nn_reg.io.atomic import whole_file, whole_files
from dipy_nn_reg.io.points import write_map
from dipy_nn_reg.io.tables import write_csv
from dipy_nn_reg.io.warped import write_warped
from dipy_nn_reg.mapping.grid import is_prealigned, prealign_of
from dipy_nn_reg.mapping.maps import invert_mapping
from dipy_nn_reg.mapping.measures import roughness_of
from dipy_nn_reg.mapping.resampling import warp_image

# Measures of the map alone, which the page shows too.
OF_FIELD = (
    "folding",
    "sd_log_jacobian",
    "mean_displacement_mm",
    "largest_displacement_mm",
    "inverse_error_mm",
)


@dataclass(frozen=True)
class Outputs:
    """Files of one pair, and how they are written.

    Attributes
    ----------
    paths : dict of Path
        By the names of the command's options: ``out_field``, ``out_inverse`` and
        ``out_prealign``. If they are named, too: ``out_warped``, ``out_metrics``,
        ``out_report`` and ``out_overview``, a small picture.
    unwanted : collection of str, optional
        Names of those that are not written. Earlier ones are removed with an earlier
        field: they describe it.
    field_format : str, optional
        As :func:`~dipy_nn_reg.io.fields.save_mapping` takes it.
    fill : float, optional
        As :func:`~dipy_nn_reg.mapping.resampling.warp_image` takes it.
    write_others : callable, optional
        Takes temporary paths and the map, and writes files with further names of
        ``paths``.
    """

    paths: dict
    unwanted: tuple = ()
    field_format: str = "dipy"
    fill: float | None = None
    write_others: Callable | None = None


def write_pair(registered, images, pair_names, outputs, *, masks):
    """Write all outputs of one pair together.

    Parameters
    ----------
    registered : tuple
        Map and outcome, as :func:`~dipy_nn_reg.register` returns them.
    images : dict of dipy_nn_reg.io.nifti.Image
        ``static`` and ``moving``.
    pair_names : dict of str
        Names of the images, ``static`` and ``moving``.
    outputs : Outputs
    masks : dict of ndarray
        ``mask`` and ``moving_mask``, if the images were compared within them.

    Returns
    -------
    row : dict
        Row of the table of measures.
    subjects : list of dict
        What :func:`~dipy_nn_reg.cohort.pages.write_report` returns, if a page or a
        picture is written.
    """
    mapping, outcome = registered
    fill = outputs.fill
    paths, removed = _written_and_removed(outputs, mapping)
    # The field is written beside the rest: NumPy and ISA-L let other threads compute.
    with (
        whole_files(paths | removed, optional=removed) as partials,
        ThreadPoolExecutor() as pool,
    ):
        partials = {name: partials[name] for name in paths}
        maps = partials, mapping, images, outputs.field_format
        writing = pool.submit(_write_maps, *maps)
        pair = _pair_to_show(mapping, images, masks, paths)
        warped = _warped(mapping, images, fill, pair)
        if "out_warped" in paths:
            _write_warped(partials["out_warped"], warped, mapping, images, fill)
        measures = _measure(registered, images, warped, headers="out_metrics" in paths)
        row = {**pair_names, **_sources(outcome, mapping), **measures}
        if "out_metrics" in paths:
            write_csv([row], partials["out_metrics"])
        shown = {**partials, "field": paths["out_field"]}
        subject = _judge(registered, images, pair_names, shown, pair, measures)
        if "out_report" in paths:
            subject["page"] = paths["out_report"]
        writing.result()
        if outputs.write_others is not None:
            outputs.write_others(partials, mapping)
    if not subject:
        return row, []
    return {**row, "verdict": subject["verdict"]}, [subject]


def _written_and_removed(outputs, mapping):
    """Return the paths of the files that are written, and of those that are removed.

    Those of an earlier registration must not remain beside the new field. Where there
    was no field, they belong to something else.
    """
    paths, unwanted = outputs.paths, set(outputs.unwanted)
    if not is_prealigned(mapping):
        unwanted.add("out_prealign")
    written = {name: path for name, path in paths.items() if name not in unwanted}
    if not paths["out_field"].exists():
        return written, {}
    return written, {name: paths[name] for name in paths.keys() - written.keys()}


def _pair_to_show(mapping, images, masks, paths):
    """Return the images of the picture and the page, if one of these is asked for."""
    if not {"out_report", "out_overview"} & set(paths):
        return None
    # No labels are shown: those that guided a registration cannot validate it.
    return apply_to_images(mapping, images, masks)


def _warped(mapping, images, fill, pair):
    """Return the warped image: that of the page, if it is in the same intensities."""
    moving, static = images["moving"], images["static"]
    is_shown = (
        pair is not None
        and fill is None
        and float_type(moving.data) == pair.warped.dtype
        and np.array_equal(pair.moving, moving.data)
    )
    return pair.warped if is_shown else warp_image(moving, static, [mapping], fill=fill)


def _judge(registered, images, names, paths, pair, measures):
    """Write the picture and the page that are asked for; return what they show."""
    if pair is None:
        return {}
    # Imported here: the help of a command need not wait for it.
    from dipy_nn_reg.quality.measures import measure
    from dipy_nn_reg.quality.overviews import write_overview
    from dipy_nn_reg.quality.verdicts import judge

    _, outcome = registered
    of_field = {name: measures[name] for name in OF_FIELD}
    if "out_overview" in paths:
        write_overview(paths["out_overview"], pair)
    if "out_report" in paths:
        return write_report(
            *(paths["out_report"], pair, images, names),
            field=paths["field"],
            of_field=of_field,
            outcome=outcome,
        )
    alignment = outcome.alignment
    measures = measure(pair, of_field=of_field, alignment=alignment, brief=True)
    return {**measures, "verdict": judge(measures)[0].title}


def _sources(outcome, mapping):
    """Return the kind of alignment, the source of the field, and the loss."""
    if outcome.alignment is not None:
        kind = outcome.alignment.kind
    else:
        kind = "given" if is_prealigned(mapping) else "none"
    return {"alignment": kind, "used": outcome.used, "loss": outcome.loss}


def _write_maps(paths, mapping, images, field_format):
    """Write the field, its inverse if asked for, and the affine if there is one."""
    static, moving = images["static"], images["moving"]
    write_map(paths["out_field"], mapping, static, moving, format=field_format)
    if "out_inverse" in paths:
        back = invert_mapping(mapping)
        write_map(paths["out_inverse"], back, moving, static, format=field_format)
    if "out_prealign" in paths:
        with whole_file(paths["out_prealign"]) as path:
            np.savetxt(path, prealign_of(mapping))


def _write_warped(path, warped, mapping, images, fill):
    """Write the warped image, with colours if the moving image has them."""
    moving, static = images["moving"], images["static"]
    if moving.in_colour.data is not moving.data:
        warped = warp_image(moving.in_colour, static, [mapping], fill=fill)
    write_warped(path, warped, moving, static)


def _measure(registered, images, warped, *, headers):
    """Return the measures of the table; the outcome has most of those of the map."""
    mapping, outcome = registered
    static, measures = images["static"], {}
    if headers:
        before = warp_image(images["moving"], static, [])
        measures["ncc_headers"] = metrics.ncc(static.data, before)
    return measures | {
        "ncc_after": metrics.ncc(static.data, warped),
        "folding": outcome.folding,
        "sd_log_jacobian": roughness_of(mapping),
        "mean_displacement_mm": outcome.mean_displacement_mm,
        "largest_displacement_mm": outcome.largest_displacement_mm,
        "inverse_error_mm": outcome.inverse_error_mm,
        "loss_before": outcome.loss_before,
        "loss_after": outcome.loss_after,
        "seconds": outcome.seconds,
    }
