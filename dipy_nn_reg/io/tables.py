"""Tables, as CSV and TSV files and as text, and of numbers."""

import csv
import re

from dipy.utils.logging import logger
import numpy as np

from dipy_nn_reg.checks import check_path
from dipy_nn_reg.io.atomic import whole_file
from dipy_nn_reg.text import printable

# Options of open(); the names of files in a table may be bytes that are no text.
_TEXT = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}
# Beginning of a formula in a spreadsheet, possibly guarded by apostrophes.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def write_csv(rows, path):
    """Write a table of rows to a file.

    Parameters
    ----------
    rows : list of dict
        Values by column. A row may lack some of the columns.
    path : string or Path

    Notes
    -----
    Text that a spreadsheet would read as a formula gets a leading ``'``, which
    :func:`read_csv` removes.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    rows = [{name: _guard(cell) for name, cell in row.items()} for row in rows]
    # Python before 3.13 does not quote a carriage return.
    returns = any("\r" in str(cell) for row in rows for cell in row.values())
    quoting = csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
    with whole_file(path) as partial, open(partial, "w", **_TEXT) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n", quoting=quoting)
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path):
    """Return the rows of a table in a file.

    Parameters
    ----------
    path : string or Path
        Cells are separated by tabs if it ends with ``.tsv``, else by commas.

    Returns
    -------
    rows : list of dict of str

    Raises
    ------
    ValueError
        If the file is not text, if a row has more or fewer cells than the first line,
        or if two columns have the same name.
    """
    # Spreadsheets put a byte-order mark before UTF-8.
    with open(path, **_TEXT | {"encoding": "utf-8-sig"}) as file:
        try:
            lines = csv.reader(file, delimiter="\t" if is_tsv(path) else ",")
            columns, *lines = [line for line in lines if line] or [[]]
        except csv.Error as error:
            raise ValueError(
                f"Expected a table. Received {str(path)!r}: {error}."
            ) from error
    if any("\t" in name for name in columns):
        raise ValueError(
            f"Expected cells separated by commas, or a name that ends with '.tsv'. "
            f"Received {str(path)!r} with tabs."
        )
    if not all(name.isprintable() for name in columns):
        raise ValueError(f"Expected a table. Received {str(path)!r}, which is no text.")
    if len(set(columns)) < len(columns):
        raise ValueError(
            f"Expected columns of different names. Received {str(path)!r} with "
            f"{', '.join(columns)}."
        )
    for number, line in enumerate(lines, start=2):
        if len(line) != len(columns):
            raise ValueError(
                f"Expected rows of {len(columns)} cells, as in the first line. "
                f"Received {str(path)!r} with {len(line)} in row {number}."
            )
    return [dict(zip(columns, map(_without_guard, line))) for line in lines]


def is_tsv(path):
    """Return whether the cells of a table are separated by tabs."""
    return str(path).lower().endswith(".tsv")


def format_rows(rows, columns):
    """Return a table as lines of text.

    Parameters
    ----------
    rows : list of dict
        Floats are shown with four decimals.
    columns : sequence of str
        Columns to show. The first one is aligned to the left, the others to the right.

    Returns
    -------
    text : str
    """
    cells = [[_format(row.get(name, "")) for name in columns] for row in rows]
    cells = [list(columns), *cells]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
        )
        for line in cells
    )


def _format(value):
    return f"{value:.4f}" if isinstance(value, float) else printable(value)


def _guard(cell):
    is_text = isinstance(cell, str) and not is_number(cell)
    return f"'{cell}" if is_text and _FORMULA.match(cell) else cell


def _without_guard(cell):
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def is_number(text):
    """Return whether a text can be converted to a float."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_numbers(path, what, *, numbered=False):
    """Read rows of numbers from text, without a first line of words.

    Parameters
    ----------
    path : string or Path
    what : str
        Expected content, for an error.
    numbered : bool, optional
        Whether a first line of the numbers of the columns is skipped as well.

    Returns
    -------
    numbers : ndarray of float64, shape (rows, columns)

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If there are words, or rows of different lengths.
    """
    path = check_path("path", path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    lines = [line.strip() for line in text.replace(",", " ").splitlines()]
    rows = [line.split() for line in lines if line and line[0] != "#"]
    if rows and not any(is_number(word) for word in rows[0]):
        rows = rows[1:]
    elif (
        numbered and len(rows) > 1 and rows[0] == [str(i) for i in range(len(rows[0]))]
    ):
        logger.warning(f"The first line of {path} is skipped as names of columns.")
        rows = rows[1:]
    try:
        return np.array([[float(word) for word in row] for row in rows])
    except ValueError as error:
        raise ValueError(
            f"Expected {what}, numbers in columns. Received {str(path)!r}: {error}"
        ) from error
