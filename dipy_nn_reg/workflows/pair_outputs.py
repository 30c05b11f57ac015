"""Outputs of the registration of one pair of files."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dipy_nn_reg import metrics
from dipy_nn_reg.io.atomic import whole_file, whole_files
from dipy_nn_reg.io.points import write_map
from dipy_nn_reg.io.tables import write_csv
from dipy_nn_reg.io.warped import write_warped
from dipy_nn_reg.mapping.grid import is_prealigned, prealign_of
from dipy_nn_reg.mapping.maps import invert_mapping
from dipy_nn_reg.mapping.measures import roughness_of
from dipy_nn_reg.mapping.resampling import warp_image
from dipy_nn_reg.workflows.report_files import write_report

# Measures of the map alone, which the page shows too.
OF_FIELD = (
    "folding",
    "sd_log_jacobian",
    "mean_displacement_mm",
    "largest_displacement_mm",
    "inverse_error_mm",
)


def write_pair(
    registered, images, pair_names, paths, *, masks, field_format, fill, inverse
):
    """Write all outputs of one pair together.

    Parameters
    ----------
    registered : tuple
        Map and outcome, as :func:`~dipy_nn_reg.register` returns them.
    images : dict of dipy_nn_reg.io.nifti.Image
        ``static`` and ``moving``.
    pair_names : dict of str
        Names of the images, ``static`` and ``moving``.
    paths : dict of Path
        Outputs by the names of the command's options.
    masks : dict of ndarray
        ``mask`` and ``moving_mask``, if the images were compared within them.
    field_format, fill, inverse
        As for :func:`~dipy_nn_reg.workflows.pair_files.register_files`.

    Returns
    -------
    row : dict
        Row of the table of measures.
    subjects : list of dict
        What :func:`~dipy_nn_reg.workflows.report_files.write_report` returns, if a page
        is written.
    """
    (mapping, outcome), subjects = registered, []
    static, moving = images["static"], images["moving"]
    # Those of an earlier registration must not remain beside the new field.
    optional = ("out_prealign", "out_inverse")
    # The field is written beside the rest: NumPy and ISA-L let other threads compute.
    with (
        whole_files(paths, optional=optional) as partials,
        ThreadPoolExecutor() as pool,
    ):
        maps = partials, mapping, static, moving, field_format
        writing = pool.submit(_write_maps, *maps, inverse=inverse)
        warped = warp_image(moving, static, [mapping], fill=fill)
        _write_warped(partials["out_warped"], warped, mapping, images, fill)
        measures = _measure(outcome, mapping, static, moving, warped)
        row = {**pair_names, **_sources(outcome, mapping), **measures}
        write_csv([row], partials["out_metrics"])
        if "out_report" in paths:
            page = partials["out_report"]
            # No labels are shown: those that guided a registration cannot validate it.
            subject = write_report(
                *(page, mapping, images, pair_names),
                field=paths["out_field"],
                annotations=masks,
                of_field={name: measures[name] for name in OF_FIELD},
                outcome=outcome,
            )
            subjects = [{**subject, "page": paths["out_report"]}]
            row["verdict"] = subject["verdict"]
        writing.result()
    return row, subjects


def _sources(outcome, mapping):
    """Return the kind of alignment, the source of the field, and the loss."""
    if outcome.alignment is not None:
        kind = outcome.alignment.kind
    else:
        kind = "given" if is_prealigned(mapping) else "none"
    return {"alignment": kind, "used": outcome.used, "loss": outcome.loss}


def _write_maps(paths, mapping, static, moving, field_format, *, inverse):
    """Write the field, its inverse if asked for, and the affine if there is one."""
    write_map(paths["out_field"], mapping, static, moving, format=field_format)
    if inverse:
        back = invert_mapping(mapping)
        write_map(paths["out_inverse"], back, moving, static, format=field_format)
    if is_prealigned(mapping):
        with whole_file(paths["out_prealign"]) as path:
            np.savetxt(path, prealign_of(mapping))


def _write_warped(path, warped, mapping, images, fill):
    """Write the warped image, with colours if the moving image has them."""
    moving, static = images["moving"], images["static"]
    if moving.in_colour.data is not moving.data:
        warped = warp_image(moving.in_colour, static, [mapping], fill=fill)
    write_warped(path, warped, moving, static)


def _measure(outcome, mapping, static, moving, warped):
    """Return the measures of the table; the outcome has most of those of the map."""
    before = warp_image(moving, static, [])
    return {
        "ncc_headers": metrics.ncc(static.data, before),
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
