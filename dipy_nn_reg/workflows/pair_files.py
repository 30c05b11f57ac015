"""Registration of pairs of files, with the outputs of each pair, for two commands."""

from functools import partial

from dipy.utils.logging import logger

from dipy_nn_reg.checks import (
    ORIENTATION_WEIGHT,
    check_both,
    check_defaults,
    check_name,
    check_number,
)
from dipy_nn_reg.cohort.failures import Failures
from dipy_nn_reg.cohort.naming import distinct_names, pair_name
from dipy_nn_reg.cohort.outputs import Outputs
from dipy_nn_reg.cohort.pages import import_pages, write_cohort
from dipy_nn_reg.cohort.pair import register_files
from dipy_nn_reg.io.field_formats import WRITABLE_FORMATS, check_field_name
from dipy_nn_reg.io.points import read_affine
from dipy_nn_reg.io.tables import format_rows, write_csv
from dipy_nn_reg.progress import progress_bar
from dipy_nn_reg.quiet import start_import_of_keras
from dipy_nn_reg.text import printable
from dipy_nn_reg.workflows.paths import (
    find_input,
    find_inputs,
    pair_inputs,
    plan_cohort,
    plan_outputs,
)

# Name of the field from moving to static, unless another one is asked for.
INVERSE = "inverse.nii.gz"
# Columns of the table that is shown.
SHOWN = (
    "moving",
    "alignment",
    "used",
    "ncc_headers",
    "ncc_after",
    "folding",
    "inverse_error_mm",
    "seconds",
    "verdict",
    "error",
)


def plan_pairs(flow, static_files, moving_files, names, *, all_pairs, out_dir, kept):
    """Return static and moving files, the outputs of each pair, and that of all pairs.

    Parameters
    ----------
    flow : dipy.workflows.workflow.Workflow
    static_files, moving_files : path, pattern or list
    names : dict of str
        Names of the outputs, including those of pages.
    all_pairs : bool
        Whether each moving image is registered to each static one.
    out_dir : string or Path
    kept : list of Path
        Other files that no output may replace.

    Returns
    -------
    static, moving : list of Path
    outputs : list of dict of Path
    cohort : Path or None
        Path of the page on all pairs; None for one pair.
    """
    names = dict(names)
    cohort = names.pop("out_cohort")
    static, moving = pair_inputs(
        find_inputs(static_files), find_inputs(moving_files), all_pairs=all_pairs
    )
    outputs = plan_outputs(flow, [static, moving], out_dir, names, kept=kept)
    cohort = plan_cohort(flow, cohort, outputs, [*static, *moving, *kept])
    return static, moving, outputs, cohort


def check_field_files(field_format, out_field, out_inverse, *, inverse):
    """Raise ValueError unless the files of fields can be of a format.

    Parameters
    ----------
    field_format : str
    out_field, out_inverse : str
    inverse : bool
        Whether the inverse is written. If not, it may not be given a name.
    """
    check_name("field_format", field_format, WRITABLE_FORMATS)
    check_field_name("out_field", out_field, field_format)
    if inverse:
        check_field_name("out_inverse", out_inverse, field_format)
    elif out_inverse != INVERSE:
        raise ValueError(
            f"Expected --inverse, which writes the field from moving to static. "
            f"Received out_inverse={str(out_inverse)!r} alone."
        )


def read_prealign(prealign):
    """Return the ``prealign`` of a command as :func:`~dipy_nn_reg.register` takes it.

    Parameters
    ----------
    prealign : str, Path or None
        A kind of alignment, "none", or the path of a file with an affine.

    Returns
    -------
    prealign : str, ndarray or None
    paths : list of Path
        The file with the affine, if there is one.
    """
    # With this module, and that of frames, optimisers of SciPy are imported, for which
    # --help need not wait.
    from dipy_nn_reg.mapping.prealign import KINDS

    if prealign is None or prealign in KINDS:
        return prealign, []
    if prealign == "none":
        return None, []
    path = find_input("prealign", prealign)
    return read_affine(path), [path]


def quantity_of(files, kind, convention, sh_basis, weight):
    """Return what files of orientations hold, or None without such files.

    Parameters
    ----------
    files : dict
        Paths or None, by the options of both images.
    kind, convention, sh_basis, weight
        Options of the command.

    Returns
    -------
    quantity : dipy_nn_reg.diffusion.reorientation.Quantity or None

    Raises
    ------
    ValueError
        If there is a file of one image alone, if an option is invalid, or if options
        are given without files.
    """
    from dipy_nn_reg.diffusion.reorientation import Quantity

    check_both("orientations", **files)
    check_number("orientation_weight", weight, or_zero=True)
    quantity = Quantity(kind, convention, sh_basis)
    if all(files.values()):
        quantity.check()
        return quantity
    names = ("orientation_kind", "convention", "sh_basis", "orientation_weight")
    given = (*quantity[:3], weight)
    idle = (*Quantity("tensors")[:3], ORIENTATION_WEIGHT)
    check_defaults("moving_orientations and static_orientations", names, given, idle)
    return None


def outputs_of(paths, *, inverse, no_report, **style):
    """Return the outputs of each pair, as options of a command ask for them.

    Parameters
    ----------
    paths : list of dict of Path
        As :func:`plan_pairs` returns them.
    inverse, no_report : bool
        Options of the command.
    **style
        Further attributes of the outputs.

    Returns
    -------
    outputs : list of dipy_nn_reg.cohort.outputs.Outputs
    """
    asked_for = {"out_inverse": inverse, "out_report": not no_report}
    unwanted = tuple(name for name, is_asked in asked_for.items() if not is_asked)
    return [Outputs(of_pair, unwanted, **style) for of_pair in paths]


def register_pairs(static, moving, outputs, cohort, *, channels=None, **options):
    """Register moving images to static ones, one pair after the other.

    Parameters
    ----------
    static, moving : list of Path
        Lists of the same length.
    outputs : list of dipy_nn_reg.cohort.outputs.Outputs
        As :func:`outputs_of` returns them.
    cohort : Path or None
        Path of the page on all pairs, if there are several.
    channels : dict of dict, optional
        Further images of each image: ``static`` and ``moving``, by its path.
    **options
        As :func:`~dipy_nn_reg.cohort.pair.register_files` takes them.
    """
    has_pages = "out_report" not in outputs[0].unwanted
    is_again = any(of_pair.paths["out_field"].exists() for of_pair in outputs)
    _start_imports(pages=has_pages)
    rows, subjects, failures = [], [], Failures(len(moving))
    names = distinct_names([*static, *moving])
    pairs = list(zip(static, moving, outputs, names, names[len(static) :]))
    for *files, of_pair, static_name, moving_name in progress_bar(pairs, desc="Pairs"):
        pair_names = {"static": static_name, "moving": moving_name}
        note = partial(_note_failure, rows, pair_names, of_pair.paths)
        with failures.caught(pair_name(pair_names), note):
            files = dict(zip(pair_names, files))
            if channels is not None:
                further = {name: channels[name][path] for name, path in files.items()}
                options = {**options, "channels": further}
            row, subject = register_files(files, pair_names, of_pair, **options)
            rows.append(row)
            subjects += subject
    if cohort is not None and subjects:
        write_cohort(cohort, subjects, failures.reasons)
    elif cohort is not None and is_again and not has_pages:
        # That of earlier results, whose pages were removed.
        cohort.unlink(missing_ok=True)
    logger.info("Registered:\n" + format_rows(rows, shown_columns(rows)))
    pages = [cohort] if cohort and subjects else [s["page"] for s in subjects]
    for page in pages:
        logger.info(f"Page for a browser: {printable(page)}")
    failures.finish()


def _start_imports(*, pages):
    """Start to import Keras, and import beside it what pages need."""
    start_import_of_keras()
    if pages:
        import_pages()


def _note_failure(rows, pair_names, paths, reason):
    """Write the reason of a failure, unless there are earlier results to keep."""
    rows.append({**pair_names, "error": reason})
    earlier = next((path for path in paths.values() if path.exists()), None)
    if earlier is None:
        write_csv(rows[-1:], paths["out_metrics"])
    else:
        logger.warning(f"Its earlier results are kept, such as {printable(earlier)}.")


def shown_columns(rows):
    """Return the columns to show: static images if they differ, errors if any."""
    columns = [n for n in SHOWN if n != "error" or any(n in row for row in rows)]
    several = len({row["static"] for row in rows}) > 1
    return ["static", *columns] if several else columns
