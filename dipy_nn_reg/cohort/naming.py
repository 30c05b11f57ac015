"""Distinct names for outputs, and for files in tables and pages."""

from collections import Counter
import os
from pathlib import Path
import unicodedata

from dipy.io.utils import split_filename_extension


def distinct_names(paths):
    """Return the last parts of each path, as few as make all names distinct.

    Parameters
    ----------
    paths : list of Path
        Links are not followed: each keeps its own name.

    Returns
    -------
    names : list of str
        Equal paths have equal names.
    """
    paths = [_absolute(path) for path in paths]
    unique = set(paths)
    depth = 1
    while len({path.parts[-depth:] for path in unique}) < len(unique):
        depth += 1
    return [Path(*path.parts[-depth:]).as_posix() for path in paths]


def pair_name(names):
    """Return the name of a pair of images, as "moving to static"."""
    moving, static = (names[name].split(".nii")[0] for name in ("moving", "static"))
    if moving == static:
        moving, static = names["moving"], names["static"]
    return f"{moving} to {static}"


def prefixes_of_sets(inputs):
    """Return a distinct prefix of names for each set of input files.

    Parameters
    ----------
    inputs : list of list of Path
        Lists of the same length: one item of each makes a set.

    Returns
    -------
    prefixes : list of str
        The stems of the files, joined. They are distinct even if upper and lower case
        are not distinguished; sets of the same files are numbered.
    """
    sets = list(zip(*[_distinct_stems(paths) for paths in inputs]))
    for separator in ("_", "__"):
        joined = [separator.join(stems) for stems in sets]
        # "a_b" and "c" look like "a" and "b_c".
        if len(set(map(_fold, joined))) == len({tuple(map(_fold, s)) for s in sets}):
            break
    return [f"{name}__" for name in _numbered(joined)]


def _distinct_stems(paths):
    """Return file names without endings, distinct for distinct paths.

    Equal names are prefixed by folders, then suffixed by endings, and finally numbered.
    """
    paths = [_absolute(path) for path in paths]
    unique = list(dict.fromkeys(paths))
    stems = _with_folders(unique)
    endings = [_stem_and_ending(path)[1].replace(".", "_") for path in unique]
    alike = _alike(stems)
    with_endings = [s + e if a else s for s, e, a in zip(stems, endings, alike)]
    if sum(_alike(with_endings)) < sum(alike):
        stems = with_endings
    named = dict(zip(unique, _numbered(stems)))
    return [named[path] for path in paths]


def _with_folders(paths):
    """Return stems prefixed by as many folders as leave the fewest names alike."""
    best, min_alike = None, None
    for depth in range(max(len(path.parts) for path in paths)):
        stems = [
            "_".join([*path.parts[1:-1][-depth:], _stem_and_ending(path)[0]])
            if depth
            else _stem_and_ending(path)[0]
            for path in paths
        ]
        count = sum(_alike(stems))
        if min_alike is None or count < min_alike:
            best, min_alike = stems, count
        if not count:
            break
    return best


def _numbered(names):
    """Return names with a number appended to those that are alike."""
    taken = {_fold(n) for n, alike in zip(names, _alike(names)) if not alike}
    numbered = []
    for name, alike in zip(names, _alike(names)):
        number = 1
        while alike and _fold(f"{name}_{number}") in taken:
            number += 1
        numbered.append(f"{name}_{number}" if alike else name)
        taken.add(_fold(numbered[-1]))
    return numbered


def _alike(names):
    counts = Counter(map(_fold, names))
    return [counts[_fold(name)] > 1 for name in names]


def _fold(name):
    """Return a name in one case and with composed accents, to compare it by."""
    return unicodedata.normalize("NFC", name).casefold()


def _stem_and_ending(path):
    return split_filename_extension(path.name)


def _absolute(path):
    return Path(os.path.abspath(path))
