"""Register pairs of files and write what belongs to each: for several commands."""

from dipy.utils.logging import logger
import numpy as np

from dipy_nn_reg import metrics
from dipy_nn_reg.files import whole_file
from dipy_nn_reg.map_metrics import measure_field
from dipy_nn_reg.mapping import invert_mapping
from dipy_nn_reg.nifti import check_image_name, read_image, write_image
from dipy_nn_reg.prealign import KINDS
from dipy_nn_reg.progress import progress_bar
from dipy_nn_reg.resampling import warp_image
from dipy_nn_reg.tables import format_rows, write_csv
from dipy_nn_reg.workflows.inputs import read_affine, write_map
from dipy_nn_reg.workflows.paths import find_inputs, pair_inputs, plan_outputs
from dipy_nn_reg.workflows.quiet import import_keras
from dipy_nn_reg.workflows.reporting import plan_cohort, write_cohort, write_report

SHOWN = (
    "moving",
    "used",
    "ncc_headers",
    "ncc_after",
    "folding",
    "inverse_error_mm",
    "seconds",
    "verdict",
)


def plan_pairs(
    flow, static_files, moving_files, names, *, all_pairs, out_dir, kept, no_report
):
    """Return static and moving files, the outputs of each pair, and that of all.

    Parameters
    ----------
    flow : dipy.workflows.workflow.Workflow
    static_files, moving_files : path, pattern or list
    names : dict of str
        Of the outputs, those of pages included.
    all_pairs : bool
    out_dir : string or Path
    kept : list of Path
        Other files that no output may replace.
    no_report : bool
        Plan no pages.

    Returns
    -------
    static, moving : list of Path
    outputs : list of dict of Path
    cohort : Path or None
        Of the page on all pairs; None for one pair.
    """
    names = dict(names)
    cohort = names.pop("out_cohort")
    if no_report:
        del names["out_report"]
    for name in ("out_warped", "out_field", "out_inverse"):
        check_image_name(names[name])
    static, moving = pair_inputs(
        find_inputs(static_files), find_inputs(moving_files), all_pairs=all_pairs
    )
    outputs = plan_outputs(flow, [static, moving], out_dir, names, kept=kept)
    if not no_report:
        cohort = plan_cohort(flow, cohort, outputs)
    return static, moving, outputs, None if no_report else cohort


def read_prealign(prealign):
    """Return what :func:`~dipy_nn_reg.pairwise.register` takes as ``prealign``."""
    if prealign is None or prealign in KINDS:
        return prealign
    return None if prealign == "none" else read_affine(prealign)


def register_files(static, moving, outputs, cohort, *, field_format, **options):
    """Register moving images to static ones, one pair after the other.

    Parameters
    ----------
    static, moving : list of Path
        Of one length.
    outputs : list of dict of Path
        For each pair: ``out_warped``, ``out_field``, ``out_inverse``, ``out_metrics``
        ``out_prealign``, and ``out_report`` if there is to be a page.
    cohort : Path or None
        Of the page on all pairs, if there is to be one.
    field_format : str
        As :func:`~dipy_nn_reg.field_files.save_field` takes it.
    **options
        Of :func:`~dipy_nn_reg.pairwise.register`.
    """
    import_keras()
    from dipy_nn_reg import register

    model = options.get("model")
    several = model is not None and model.model.options["num_channels"] > 1
    rows, subjects = [], []
    pairs = list(zip(static, moving, outputs))
    for static_path, moving_path, paths in progress_bar(pairs, desc="Pairs"):
        images = {
            "static": read_image(static_path, series=several),
            "moving": read_image(moving_path, series=several),
        }
        _check_rank(images, model)
        mapping, report = register(
            images["moving"].data,
            images["static"].data,
            moving_affine=images["moving"].affine,
            static_affine=images["static"].affine,
            **options,
        )
        names = {"static": static_path.name, "moving": moving_path.name}
        row = _write(mapping, images, paths, field_format)
        found = {"loss_before": report.loss_before, "loss_after": report.loss_after}
        rows.append(
            {**names, "used": report.used, **row, **found, "seconds": report.seconds}
        )
        write_csv(rows[-1:], paths["out_metrics"])
        if "out_report" in paths:
            # Labels that guided a registration are no proof of it: none are shown.
            page, field = paths["out_report"], paths["out_field"]
            subject = write_report(page, mapping, images, field=field)
            subjects.append(subject)
            rows[-1]["verdict"] = subject["verdict"]
    if cohort is not None:
        write_cohort(cohort, subjects)
    logger.info("Registered:\n" + format_rows(rows, SHOWN))
    for page in [cohort] if cohort else [s["page"] for s in subjects]:
        logger.info(f"To be opened in a browser: {page}")


def _check_rank(images, model):
    """Raise ValueError unless all are slices or all are volumes, as a model needs."""
    ranks = {n: 2 if i.data.shape[2] == 1 else 3 for n, i in images.items()}
    if model is None:
        ndim, reason = ranks["static"], "as the static one has"
    else:
        ndim, reason = len(model.model.options["input_shape"]), "as the model takes"
    for name, image in images.items():
        if ranks[name] != ndim:
            raise ValueError(
                f"Expected an image of {ndim} axes, {reason}. "
                f"Received {str(image.path)!r} of shape {image.data.shape}."
            )


def _write(mapping, images, paths, field_format):
    """Write what belongs to one pair, and return its measures."""
    static, moving = images["static"], images["moving"]
    warped = warp_image(moving, static, [mapping])
    write_image(paths["out_warped"], warped, static.affine, header=static.header)
    write_map(paths["out_field"], mapping, static, moving, format=field_format)
    inverse = invert_mapping(mapping)
    write_map(paths["out_inverse"], inverse, moving, static, format=field_format)
    prealign = np.linalg.inv(mapping.prealign)
    paths["out_prealign"].unlink(missing_ok=True)  # that of an earlier registration
    if not np.allclose(prealign, np.eye(len(prealign))):
        with whole_file(paths["out_prealign"]) as partial:
            np.savetxt(partial, prealign)
    return _measure(mapping, static, moving, warped)


def _measure(mapping, static, moving, warped):
    before = warp_image(moving, static, [])
    return {
        "ncc_headers": metrics.ncc(static.data, before),
        "ncc_after": metrics.ncc(static.data, warped),
        **measure_field(mapping),
    }
