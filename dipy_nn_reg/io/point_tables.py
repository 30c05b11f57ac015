"""Points in text files, in columns of world coordinates."""

import csv
from pathlib import Path
import re

from dipy.utils.logging import logger
import numpy as np

from dipy_nn_reg.io.atomic import whole_file
from dipy_nn_reg.io.tables import is_number, is_tsv, read_numbers

# Endings of the names of files of points.
POINTS = (".csv", ".tsv", ".txt")
# Axis and direction of the coordinate in a column, by the letter that names it.
_AXES = {
    letter: (axis, sign)
    for letters, sign in (("xyz", 1), ("ras", 1), ("lpi", -1))
    for axis, letter in enumerate(letters)
}
# Name of such a column, which may have a unit.
_NAME = re.compile(r"([a-z])[\s_]*[\[(]?(mm)?[\])]?")


def read_points(path):
    """Read points from three columns of world coordinates in mm.

    A first line of words names the columns: x, y and z, which are those of RAS+, or the
    directions in which they grow, such as l, p and s of ITK; other names are read as x,
    y and z, with a warning. A comment may name them as well. "0,1,2" above other lines,
    which pandas writes above columns without names, is skipped with a warning.

    Parameters
    ----------
    path : string or Path

    Returns
    -------
    points : ndarray, shape (n, 3)
        RAS+.

    Raises
    ------
    ValueError
        If there are no points, if there are other than three columns, if values are not
        finite, or if the columns are named as voxels: i, j and k.
    """
    points = read_numbers(path, "points", numbered=True)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(
            f"Expected three columns, x, y and z in mm. Received {str(path)!r} of "
            f"shape {points.shape}."
        )
    check_finite(points, path)
    return _in_ras(points, _names_in(path), path)


def write_points(path, points):
    """Write points, separated by commas, or by tabs in a file ``.tsv``."""
    with whole_file(path) as partial, open(partial, "w", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if is_tsv(path) else ",")
        writer.writerow("xyz")
        writer.writerows([f"{value:.6f}" for value in point] for point in points)


def check_finite(points, path):
    """Raise ValueError unless all points of a file have finite coordinates.

    Parameters
    ----------
    points : ndarray, shape (n, 3)
    path : string or Path
    """
    number = int(np.sum(~np.isfinite(points).all(axis=1)))
    if number:
        raise ValueError(
            f"Expected points with finite coordinates. Received {str(path)!r}, in "
            f"which {number} of {len(points)} points have others."
        )


def _names_in(path):
    """Return the names of columns: a first line of words, or those in a comment."""
    text = Path(path).read_text(encoding="utf-8-sig", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    first = next(line for line in lines if not line.startswith("#"))
    if not any(map(is_number, first.replace(",", " ").split())):
        return _words(first)
    comments = [_words(line.lstrip("#")) for line in lines[: lines.index(first)]]
    return next((c for c in comments if len(c) == 3 and all(map(_letter, c))), [])


def _words(line):
    words = line.split(",") if "," in line else line.split()
    return [word.strip(" \"'") for word in words]


def _letter(name):
    """Return the letter that names a column, or None."""
    match = _NAME.fullmatch(name.lower())
    return match[1] if match else None


def _in_ras(points, names, path):
    """Return points in RAS+, by the names of their columns."""
    letters = [_letter(name) for name in names]
    if set(letters) == set("ijk"):
        raise ValueError(
            f"Expected world coordinates in mm: columns x, y and z. Received "
            f"{str(path)!r} with {', '.join(names)}, which name voxels."
        )
    places = [_AXES.get(letter) for letter in letters]
    if None not in places and sorted(axis for axis, _ in places) == [0, 1, 2]:
        found = np.empty_like(points)
        for column, (axis, sign) in zip(points.T, places):
            found[:, axis] = sign * column
        return found
    if names:
        logger.warning(
            f"The columns {', '.join(names)} of {path} are read as x, y and z in mm "
            "(RAS+)."
        )
    return points
