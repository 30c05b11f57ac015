"""Numbers that pages quote, as substitutions: ``|2 mm, register, Dice|``.

They are read from the tables that the tools wrote, so that a page cannot disagree with
its table.
"""

import csv
from pathlib import Path

FOLDER = Path(__file__).parent
# Columns whose cells have a name each, by the columns that name a row.
TABLES = {
    "brains.csv": (("set", "method"), ("Dice", "Dice, all labels", "SDlogJ", "s")),
    "zero_shot.csv": (
        ("images",),
        ("pretrained", "pretrained, s", "pretrained, 2 passes"),
    ),
}


def numbers():
    """Return the text of each number by its name."""
    found = {}
    for table, (names, columns) in TABLES.items():
        for row in read(table):
            for column in filter(row.get, columns):
                name = ", ".join([*map(row.get, names), column])
                found[name] = rounded(row[column], column)
    return found


def read(table):
    """Return the rows of a table."""
    with open(FOLDER / table, newline="") as file:
        return list(csv.DictReader(file))


def rounded(text, column):
    """Return seconds with two digits, and other numbers with three decimals."""
    seconds = column == "s" or column.endswith(", s")
    return f"{float(text):.2g}" if seconds else f"{float(text):.3f}"


def substitutions():
    """Return the definitions of all numbers, in reStructuredText."""
    return "".join(f"\n.. |{name}| replace:: {n}" for name, n in numbers().items())
