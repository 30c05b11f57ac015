"""Registration of many pairs of files, which can be stopped and gone on with."""

from contextlib import closing
from functools import partial
from pathlib import Path

from dipy.utils.logging import logger

from dipy_nn_reg.checks import check_flag, check_integer, check_name
from dipy_nn_reg.cohort import bids, state
from dipy_nn_reg.cohort.engines import open_engine
from dipy_nn_reg.cohort.jobs import failed_row, run_job
from dipy_nn_reg.cohort.options import check_channels, check_options, with_defaults
from dipy_nn_reg.cohort.pages import write_cohort
from dipy_nn_reg.cohort.plan import plan_jobs
from dipy_nn_reg.io.field_formats import WRITABLE_FORMATS
from dipy_nn_reg.io.tables import is_number
from dipy_nn_reg.progress import progress_bar

PAGE = "cohort.html"


def register_cohort(
    pairs,
    out_dir,
    *,
    static=None,
    suffix=bids.SUFFIX,
    participants=(),
    space=None,
    n_jobs=1,
    scheduler=None,
    part=None,
    retry_failed=False,
    reports=False,
    field_format=None,
    inverse=False,
    fill=None,
    **options,
):
    """Register many pairs of files, or many images to one.

    Each pair that has ended has a row in ``cohort.tsv``. If the process is stopped, or
    killed, calling this again does what is missing, and only that. A pair that fails is
    a row that says why. The results are the same whichever engine computes them.

    Parameters
    ----------
    pairs : string, Path, or list of string, Path or dict
        A table, ending with ``.csv`` or ``.tsv``, of columns ``moving``, ``static``,
        ``id``, ``mask``, ``moving_mask``, ``static_labels`` and ``moving_labels``, of
        which the first is needed, with paths relative to the table; ``moving_2`` and
        ``static_2`` are a second image of each person, and so on. Or a folder in BIDS.
        Or a list of moving images, or of dicts with the keys of such a table.
    out_dir : string or Path
        Folder of the results: one folder for each pair, or names of BIDS if ``pairs``
        is a folder in BIDS. It is made if it does not exist.
    static : string or Path, optional
        Static image of all pairs that name none.
    suffix : str, optional
        Suffix of the images of a folder in BIDS.
    participants : sequence of str, optional
        Labels of the people in a folder in BIDS; by default all.
    space : str, optional
        Name of the space of the static image in names of BIDS; by default taken from
        its file.
    n_jobs : int, optional
        Number of processes, which share the processors of this machine. They import the
        script that calls this, so that the call belongs below
        ``if __name__ == "__main__":``.
    scheduler : str, optional
        Address of a Dask scheduler, or the file that it has written, whose workers
        register the pairs.
    part : tuple of int, optional
        ``(3, 20)`` for the third of twenty parts of the pairs, as for a job array. The
        parts may run at the same time. A call without ``part`` then gathers their rows.
    retry_failed : bool, optional
        Whether pairs that failed are registered again.
    reports : bool, optional
        Whether each pair gets a page of its own, which takes seconds and megabytes.
    field_format : {"dipy", "itk", "itk_h5", "afni", "fsl", "mrtrix"}, optional
        Format of the maps; by default that of DIPY, and of ITK's composite transforms
        (``"itk_h5"``) for a folder in BIDS.
    inverse : bool, optional
        Whether the inverse of each map is written, too.
    fill : float, optional
        Value outside of the moving images. By default their background.
    **options
        Options of :func:`~dipy_nn_reg.register`, but for those of one pair. ``model``
        may be the Path of one.

    Returns
    -------
    rows : list of dict of str
        Rows of the table, one for each pair that has ended, in whichever part.

    Raises
    ------
    FileNotFoundError
        If there is no table or folder.
    ValueError
        If an option or the table is invalid, if two pairs would write the same file, if
        a scheduler does not answer, or if ``out_dir`` holds results of other options.
    ImportError
        If a package that only cohorts need is missing: ``dipy_nn_reg[cohort]``.
    RuntimeError
        If ``n_jobs`` is above 1 in a script without such a line.
    OSError
        If the disk is full; the rows of earlier pairs remain.
    """
    if field_format is not None:
        check_name("field_format", field_format, WRITABLE_FORMATS)
    flags = {"inverse": inverse, "reports": reports}
    for name, flag in {**flags, "retry_failed": retry_failed}.items():
        check_flag(name, flag)
    if part is not None:
        _check_part(part)
    check_options(options, fill)
    out_dir = Path(out_dir).expanduser().absolute()
    state.check_folder(out_dir)
    if isinstance(pairs, (str, Path)):
        pairs = Path(pairs).expanduser()
    asked_for = {"out_inverse": inverse, "out_report": reports}
    jobs, field_format = plan_jobs(
        pairs,
        out_dir,
        static=static,
        field_format=field_format,
        unwanted=tuple(name for name, is_asked in asked_for.items() if not is_asked),
        of_dataset={"suffix": suffix, "participants": participants, "space": space},
    )
    further = (job.channels for job in jobs)
    check_channels(options, (1 + len(f["moving"]) if f else 1 for f in further))
    options |= {"field_format": field_format, "fill": fill}
    engine = open_engine(n_jobs=n_jobs, scheduler=scheduler, killed=failed_row)
    with closing(engine):
        out_dir.mkdir(parents=True, exist_ok=True)
        if isinstance(pairs, Path) and bids.is_dataset(pairs):
            bids.describe(out_dir)
        settings = state.settings_of({**with_defaults(options), **flags})
        _check_settings(out_dir, settings)
        return register_jobs(
            partial(run_job, options=options),
            jobs,
            out_dir,
            engine,
            part=part,
            retry_failed=retry_failed,
            # Another call may have replaced them while there were no results.
            confirm=partial(state.check_settings, out_dir, settings),
        )


def _check_part(part):
    """Raise ValueError unless a part is a number from 1 and the number of parts."""
    if not isinstance(part, (tuple, list)) or len(part) != 2:
        raise ValueError(
            f"Expected part to be two integers, such as (3, 20). Received {part=!r}."
        )
    check_integer("part", part[1], lowest=1)
    check_integer("part", part[0], lowest=1, highest=part[1])


def _check_settings(out_dir, settings):
    """Write the settings, or raise ValueError if pairs are registered by others."""
    statuses = {row["status"] for row in state.read_rows(out_dir).values()}
    if state.check_settings(out_dir, settings, is_empty=statuses <= {"failed"}):
        # Whatever failed with other options is tried again.
        state.remove_rows(out_dir)


def register_jobs(
    function,
    jobs,
    out_dir,
    engine,
    *,
    part=None,
    retry_failed=False,
    confirm=lambda: None,
):
    """Register the pairs that have no row, and write a row of each as it ends.

    Parameters
    ----------
    function : callable
        Takes a job, and returns its row, as :func:`~dipy_nn_reg.cohort.jobs.run_job`.
    jobs : list of dipy_nn_reg.cohort.jobs.Job
    out_dir : Path
    engine
        As :func:`~dipy_nn_reg.cohort.engines.open_engine` returns it.
    part, retry_failed : optional
        As for :func:`register_cohort`.
    confirm : callable, optional
        Called before a row is written; raises an error if none may be.

    Returns
    -------
    rows : list of dict of str
        As :func:`register_cohort` returns them.
    """
    mine = jobs if part is None else jobs[part[0] - 1 :: part[1]]
    earlier = state.read_rows(out_dir)
    if retry_failed:
        earlier = {n: row for n, row in earlier.items() if row["status"] == "done"}
    state.check_files(mine, earlier)
    path = state.table_of(out_dir, part)
    # Pairs that other calls have registered keep their rows.
    kept = {row["id"]: row for row in state.read_table(path)}
    for job in mine:
        kept.pop(job.name, None)
    rows = [earlier[job.name] for job in mine if job.name in earlier]
    state.write_rows(path, [*rows, *kept.values()])
    missing = [job for job in mine if job.name not in earlier]
    if len(missing) < len(mine):
        logger.info(f"{len(mine) - len(missing)} of {len(mine)} pairs are done.")
    _run(function, missing, path, engine, confirm)
    others = state.read_rows(out_dir)
    rows = [others.pop(job.name) for job in jobs if job.name in others]
    if part is None:
        state.write_rows(path, [*rows, *others.values()])
        _write_page(out_dir, rows, {job.name: job for job in jobs})
    return rows


def _run(function, jobs, path, engine, confirm):
    """Register pairs, and add a row of each to a table as it ends."""
    results = engine.run(function, jobs)
    with state.appended(path) as add, closing(results):
        for _, row in progress_bar(results, desc="Pairs", total=len(jobs)):
            confirm()
            add(row)
            if row["status"] == "failed":
                logger.error(f"Failed: {row['id']}: {row['error']}")


def _write_page(out_dir, rows, jobs):
    """Write the page on all pairs, with a picture of each, the worst ones first."""
    subjects = [_subject(row, jobs[row["id"]]) for row in rows if row["verdict"]]
    failed = [(row["id"], row["error"]) for row in rows if row["status"] == "failed"]
    if subjects or failed:
        write_cohort(out_dir / PAGE, subjects, failed)


def _subject(row, job):
    measures = {name: float(cell) for name, cell in row.items() if is_number(cell)}
    return {
        **measures,
        "name": row["id"],
        "verdict": row["verdict"],
        "page": None if "out_report" in job.unwanted else job.outputs["out_report"],
        "picture": job.outputs["out_overview"],
    }
