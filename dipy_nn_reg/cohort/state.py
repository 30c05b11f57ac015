"""State of a cohort in files: a row for each pair, written as the pairs end.

A process that is killed loses the pairs in flight alone: what has ended has its row,
and a row that was cut short is ignored.
"""

from contextlib import contextmanager
import csv
import functools
from hashlib import sha256
import io
import json

from dipy.utils.logging import logger
import numpy as np

from dipy_nn_reg.cohort.jobs import row_of
from dipy_nn_reg.io.atomic import whole_file
from dipy_nn_reg.text import printable

# Columns of the table. Measures are those of the command dipy_nn_reg_register and of
# its page.
COLUMNS = (
    "id",
    "static",
    "moving",
    "status",
    "verdict",
    "alignment",
    "used",
    "loss",
    "ncc_before",
    "ncc_after",
    "nmi_after",
    "misplaced_after",
    "covered",
    "information",
    "rival",
    "folding",
    "sd_log_jacobian",
    "mean_displacement_mm",
    "largest_displacement_mm",
    "inverse_error_mm",
    "loss_before",
    "loss_after",
    "seconds",
    "peak_mib",
    "other_inputs",
    "error",
)
TABLE, PART, SETTINGS = "cohort.tsv", "cohort_part-{}-of-{}.tsv", "cohort.json"
_TEXT = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}


def check_folder(path):
    """Raise ValueError unless a folder is there or can be made, as far as names tell.

    Parameters
    ----------
    path : Path
        An absolute one.
    """
    existing = next(p for p in (path, *path.parents) if p.exists())
    if not existing.is_dir():
        raise ValueError(
            f"Expected out_dir to be a folder. Received {str(path)!r}, where "
            f"{str(existing)!r} is none."
        )


def table_of(folder, part=None):
    """Return the path of the table of a cohort, or of one of its parts.

    Parameters
    ----------
    folder : Path
    part : tuple of int, optional
        Number of the part, from 1, and number of parts.
    """
    return folder / (TABLE if part is None else PART.format(*part))


def read_rows(folder):
    """Return the rows of a cohort, and of all its parts, by the names of the pairs.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    rows : dict of dict of str

    Raises
    ------
    ValueError
        If a table has other columns.
    """
    rows = {}
    # If a pair has failed twice, the later reason is kept.
    for path in sorted(_tables_in(folder), key=lambda path: path.stat().st_mtime_ns):
        for row in read_table(path):
            # A pair that succeeded in one part has not failed.
            if row["id"] not in rows or rows[row["id"]]["status"] != "done":
                rows[row["id"]] = row
    return rows


def remove_rows(folder):
    """Remove the tables of a cohort and of its parts."""
    for path in _tables_in(folder):
        path.unlink()


def write_rows(path, rows):
    """Write a table of rows, whole or not at all.

    Parameters
    ----------
    path : Path
    rows : iterable of dict
    """
    with whole_file(path) as partial, open(partial, "w", **_TEXT) as file:
        file.write(_line(COLUMNS))
        file.writelines(_line_of(row) for row in rows)


@contextmanager
def appended(path):
    """Yield a function that adds a row to a table, at once.

    Parameters
    ----------
    path : Path
        An existing table, see :func:`write_rows`.
    """
    with open(path, "a", **_TEXT) as file:

        def add(row):
            file.write(_line_of(row))
            file.flush()

        yield add


def settings_of(options):
    """Return options as a file of settings holds them, without those not given.

    Parameters
    ----------
    options : dict

    Returns
    -------
    settings : dict
        Values that JSON can hold; of arrays and functions, what tells them apart.
    """
    return {n: _setting(value) for n, value in options.items() if value is not None}


def _setting(value):
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, dict):
        return {str(name): _setting(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_setting(part) for part in value]
    if isinstance(value, np.ndarray):
        digest = sha256(np.ascontiguousarray(value)).hexdigest()
        return f"{value.dtype} array of shape {value.shape}, sha256 {digest}"
    if isinstance(value, functools.partial):
        return [_setting(value.func), _setting(value.args), _setting(value.keywords)]
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return str(value)


def check_settings(folder, settings, *, is_empty=False):
    """Write the settings of a cohort, or compare them with those of an earlier run.

    Parameters
    ----------
    folder : Path
    settings : dict
        Values that JSON can hold.
    is_empty : bool, optional
        Whether the earlier run left no results, so that its settings may be replaced.

    Returns
    -------
    are_new : bool
        Whether they replaced those of an earlier run.

    Raises
    ------
    ValueError
        If an earlier run had others: its results would be mixed with these.
    """
    path = folder / SETTINGS
    earlier = _read_settings(path)
    if earlier == settings:
        return False
    if earlier is None or is_empty:
        with whole_file(path) as partial:
            partial.write_text(json.dumps(settings, indent=2) + "\n")
        return earlier is not None
    for name in sorted(settings.keys() | earlier.keys()):
        if settings.get(name) != earlier.get(name):
            raise ValueError(
                f"Expected the options of the earlier run in {str(folder)!r}, or "
                f"another out_dir. Received {name}={settings.get(name)!r}; the "
                f"earlier run had {earlier.get(name)!r}."
            )


def _read_settings(path):
    """Return the settings of an earlier run, or None if there was none."""
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"Expected settings of an earlier run. Received {str(path)!r}: {error}."
        ) from error


def check_files(jobs, rows):
    """Raise ValueError if a row is that of other images than a job of its name.

    Parameters
    ----------
    jobs : list of dipy_nn_reg.cohort.jobs.Job
    rows : dict of dict of str
    """
    for job in jobs:
        row = rows.get(job.name, {})
        for name, cell in row_of(job).items():
            if row.get(name, cell) != cell:
                raise ValueError(
                    f"Expected the images of the earlier run for {job.name!r}, or "
                    f"another out_dir. Received {name}={cell!r}; the earlier run had "
                    f"{row[name]!r}."
                )


def read_table(path):
    """Return the rows of one table; none if there is no file."""
    if not path.exists():
        return []
    with open(path, **_TEXT) as file:
        lines = file.read().splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        logger.warning(f"The last row of {printable(path)} was cut short.")
        lines.pop()
    cells = list(csv.reader(lines, delimiter="\t"))
    if (
        cells
        and tuple(cells[0]) != COLUMNS
        or any(len(line) != len(COLUMNS) for line in cells)
    ):
        raise ValueError(
            f"Expected a table of a cohort, with {len(COLUMNS)} columns from "
            f"{COLUMNS[0]!r} to {COLUMNS[-1]!r}. Received {str(path)!r}."
        )
    return [dict(zip(COLUMNS, line)) for line in cells[1:]]


def _tables_in(folder):
    return [*folder.glob(PART.format("*", "*")), *folder.glob(TABLE)]


def _line_of(row):
    return _line([_cell(row.get(name, "")) for name in COLUMNS])


def _cell(value):
    if isinstance(value, float):
        return f"{value:.6g}"
    # A row is one line.
    return printable(str(value))


def _line(cells):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter="\t", lineterminator="\n").writerow(cells)
    return text.getvalue()
