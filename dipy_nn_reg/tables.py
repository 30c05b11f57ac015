"""Write and show what was measured."""

import csv

from dipy_nn_reg.files import whole_file


def write_csv(rows, path):
    """Write rows, dicts that may lack some of the columns."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with whole_file(path) as partial, open(partial, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path):
    """Return the rows of a table, as dicts of str."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def format_rows(rows, columns):
    """Return rows as lines of text, the first column to the left."""
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
    return f"{value:.4f}" if isinstance(value, float) else str(value)
