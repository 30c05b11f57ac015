"""Pairs of a cohort: from a table, from files, or from a folder in BIDS."""

from pathlib import Path
import re

from dipy.utils.logging import logger

from dipy_nn_reg.annotations import PLACES
from dipy_nn_reg.cohort.naming import prefixes_of_sets
from dipy_nn_reg.io.tables import is_tsv, read_csv
from dipy_nn_reg.text import printable

# Masks and label maps that a pair may have, as columns of a table.
ANNOTATIONS = tuple(p.name for p in PLACES.values() if p.kind in ("mask", "labels"))
# All columns that are read, but for those of further images.
COLUMNS = ("id", "static", "moving", *ANNOTATIONS)
# Columns of further images of a person: moving_2, static_2, moving_3 and so on.
_FURTHER = re.compile(r"(moving|static)_([2-9])")
_TABLES = (".csv", ".tsv")
# Beginnings of the names of files beside the folders of pairs.
_OWN = ("cohort.", "cohort_part-", "dataset_description.")


def is_table(path):
    """Return whether a name is that of a table of pairs."""
    return str(path).lower().endswith(_TABLES)


def read_pairs(path, static=None):
    """Return the pairs that a table lists.

    Parameters
    ----------
    path : string or Path
        CSV, or TSV if it ends with ``.tsv``, with a column ``moving`` and, as far as
        needed, ``static``, ``id``, ``mask``, ``moving_mask``, ``static_labels`` and
        ``moving_labels``; ``moving_2`` and ``static_2`` for a second image of each
        person, and so on up to 9. Paths are relative to its folder. Empty cells count
        as none.
    static : Path, optional
        Static image of all pairs that name none.

    Returns
    -------
    pairs : list of dict

    Raises
    ------
    ValueError
        If it is no table, or if a row has no moving or no static image.
    """
    path, pairs = Path(path), []
    rows = read_csv(path)
    if rows and "moving" not in rows[0]:
        separator = "tabs" if is_tsv(path) else "commas"
        raise ValueError(
            f"Expected a table with a column 'moving', its columns separated by "
            f"{separator}. Received {str(path)!r} with {list(rows[0])}."
        )
    unread = [name for name in (rows[0] if rows else ()) if not _is_read(name or "")]
    if unread:
        names = printable(", ".join(unread))
        logger.warning(f"Columns of {printable(path)} that are not read: {names}.")
    for number, row in enumerate(rows, start=2):
        cells = {n: (row[n] or "").strip() for n in row if _is_read(n or "")}
        named = {n: cell for n, cell in cells.items() if cell}
        name = {"id": named.pop("id")} if "id" in named else {}
        pair = {n: path.parent / Path(cell).expanduser() for n, cell in named.items()}
        pairs.append(_complete({**name, **pair}, static, f"row {number} of {path}"))
    if not pairs:
        raise ValueError(f"Expected a table with rows. Received {str(path)!r}.")
    return pairs


def list_pairs(pairs, static=None):
    """Return pairs that are given as dicts, or as moving images, in one form.

    Parameters
    ----------
    pairs : list of dict or of path
        Dicts have the keys of a table's columns, see :func:`read_pairs`.
    static : Path, optional
        Static image of all pairs that name none.

    Returns
    -------
    pairs : list of dict
    """
    complete = []
    for number, pair in enumerate(pairs, start=1):
        pair = dict(pair) if isinstance(pair, dict) else {"moving": pair}
        unknown = sorted(name for name in pair if not _is_read(name))
        if unknown:
            raise ValueError(
                f"Expected pairs with keys among {COLUMNS}. Received {unknown}."
            )
        pair = {
            name: value if name == "id" else Path(value).expanduser()
            for name, value in pair.items()
        }
        complete.append(_complete(pair, static, f"pair {number}"))
    if not complete:
        raise ValueError("Expected one pair or more. Received none.")
    return complete


def further_images(pair):
    """Return the images of a pair beside the first ones, or None if there are none.

    Parameters
    ----------
    pair : dict of Path

    Returns
    -------
    channels : dict of list of Path, or None
        ``moving`` and ``static``.

    Raises
    ------
    ValueError
        If there is a further image of one person alone.
    """
    found = {"moving": {}, "static": {}}
    for name, path in pair.items():
        if match := _FURTHER.fullmatch(name):
            found[match[1]][match[2]] = path
    for number in found["moving"].keys() ^ found["static"].keys():
        raise ValueError(
            f"Expected moving_{number} and static_{number}, images of both people, or "
            f"none. Received one of them with {printable(pair['moving'])}."
        )
    channels = {
        person: [paths[n] for n in sorted(paths)] for person, paths in found.items()
    }
    return channels if channels["moving"] else None


def _is_read(name):
    """Return whether a column, or a key of a pair, is one of those that are read."""
    return name in COLUMNS or bool(_FURTHER.fullmatch(name))


def _complete(pair, static, place):
    """Return a pair with its static image."""
    if static is not None:
        pair.setdefault("static", Path(static))
    for name in ("static", "moving"):
        if name not in pair:
            raise ValueError(
                f"Expected a {name} image of each pair. Received none in "
                f"{printable(place)}."
            )
    return pair


def named(pairs):
    """Return pairs of which each has a name of its own, as ``id``.

    Parameters
    ----------
    pairs : list of dict
        Those without a name get that of the moving image, or of both images if there
        are several static ones.

    Raises
    ------
    ValueError
        If two names are equal, even if only in another case, or if one is no name of a
        folder.
    """
    images = [[pair[name] for pair in pairs] for name in ("static", "moving")]
    sets = images if len(set(images[0])) > 1 else images[1:]
    made = [prefix.removesuffix("__") for prefix in prefixes_of_sets(sets)]
    pairs = [{"id": name, **pair} for name, pair in zip(made, pairs)]
    seen = {}
    for pair in pairs:
        name = str(pair["id"])
        if not _can_be_a_folder(name):
            raise ValueError(
                f"Expected an id that can be the name of a folder, and none of a "
                f"cohort's own files. Received {name!r}."
            )
        if name.casefold() in seen:
            raise ValueError(
                f"Expected pairs of different names. Received {name!r} twice, for "
                f"{printable(seen[name.casefold()])} and {printable(pair['moving'])}."
            )
        seen[name.casefold()] = pair["moving"]
        pair["id"] = name
    return pairs


def _can_be_a_folder(name):
    """Return whether a name is free for the folder of a pair, on all systems."""
    is_name = name not in (".", "..") and not set(name) & set("/\\:\0")
    return is_name and name.isprintable() and not name.casefold().startswith(_OWN)
