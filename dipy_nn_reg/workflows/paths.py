"""Which files a command reads and writes."""

from glob import glob
from pathlib import Path

from dipy.workflows.multi_io import connect_output_paths

from dipy_nn_reg.workflows.naming import prefixes_of_sets
from dipy_nn_reg.workflows.output_checks import check_outputs


def as_list(paths):
    """Return a list of one path or of several."""
    return list(paths) if isinstance(paths, (list, tuple)) else [paths]


def find_inputs(paths):
    """Return the files that a path, a pattern, a folder or a list of these names.

    A path that exists is no pattern, whatever characters are in it. Hidden files are
    found by their own path alone.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    return [found for path in as_list(paths) for found in _find(Path(path))]


def find_input(option, path):
    """Return the one file that a path or a pattern names.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If there are several.
    """
    found = find_inputs(path)
    if len(found) != 1:
        raise ValueError(
            f"Expected one file for {option}. Received {str(path)!r}, which names "
            f"{len(found)}."
        )
    return found[0]


def pair_inputs(static, moving, *, all_pairs=False):
    """Return lists of one length: one static for all, one for each, or all with all.

    Raises
    ------
    ValueError
        If the numbers do not fit.
    """
    if all_pairs:
        return [s for s in static for _ in moving], [m for _ in static for m in moving]
    most = max(len(static), len(moving))
    if len(static) not in (1, most) or len(moving) not in (1, most):
        raise ValueError(
            f"Expected one static image, or one for each moving image. Received "
            f"{len(static)} static and {len(moving)} moving images."
        )
    return [paths * most if len(paths) < most else paths for paths in (static, moving)]


def one_for_each(option, paths, n):
    """Return a path, or None, for each of n pairs, from one for all or one for each."""
    if paths is None:
        return [None] * n
    paths = find_inputs(paths)
    if len(paths) not in (1, n):
        raise ValueError(
            f"Expected one of {option} for each of the {n} pairs, or one for all. "
            f"Received {len(paths)}."
        )
    return paths * n if len(paths) == 1 else paths


def both(what, static, moving, n):
    """Return a static and a moving path for each pair, or None."""
    if (static is None) != (moving is None):
        raise ValueError(
            f"Expected {what} of static and of moving images, or of none. "
            f"Received those of one."
        )
    if static is None:
        return [None] * n
    both = (
        one_for_each(f"{name}_{what}", paths, n)
        for name, paths in (("static", static), ("moving", moving))
    )
    return list(zip(*both))


def plan_outputs(flow, inputs, out_dir, names, *, kept=()):
    """Return where the outputs go, after making sure that they can be written.

    Parameters
    ----------
    flow : dipy.workflows.workflow.Workflow
        Its options say how DIPY places outputs and whether it overwrites.
    inputs : list of list of Path
        Lists of one length: an item of each makes one set of outputs.
    out_dir : string or Path
    names : dict of str, or list of these
        Of the outputs; one for all sets or one for each. Where there are several
        sets, the names of the inputs go in front, so that all are distinct.
    kept : list of Path, optional
        Other files that no output may replace.

    Returns
    -------
    sets : list of dict of Path

    Raises
    ------
    ValueError, OSError
        As :func:`~dipy_nn_reg.workflows.output_checks.check_outputs`.
    """
    several = flow._mix_names or len(inputs[0]) > 1
    prefixes = prefixes_of_sets(inputs) if several else [""]
    sets = []
    if isinstance(names, dict):
        names = [names] * len(inputs[0])
    for prefix, named, *paths in zip(prefixes, names, *inputs):
        _, outputs = connect_output_paths(
            [[str(path)] for path in paths],
            str(out_dir),
            [_with_prefix(prefix, name) for name in named.values()],
            output_strategy=flow._output_strategy,
            mix_names=False,
        )
        sets.append(dict(zip(named, map(Path, outputs[0]))))
    check_outputs(flow, sets, [path for paths in [*inputs, kept] for path in paths])
    return sets


def _find(path):
    if path.is_dir():
        return sorted(p for p in path.iterdir() if p.is_file() and not _is_hidden(p))
    if path.exists():
        return [path]
    if path.is_symlink():
        raise FileNotFoundError(f"File not found: {path}, a link that leads nowhere")
    # What exists of the path is no pattern, either.
    folder = next((p for p in path.parents if p.is_dir()), path.parent)
    matches = glob(str(path.relative_to(folder)), root_dir=folder)
    found = sorted(folder / match for match in matches)
    found = [p for p in found if p.is_file() and not _is_hidden(p)]
    if not found:
        raise FileNotFoundError(f"File not found: {path}")
    return found


def _is_hidden(path):
    return path.name.startswith(".")


def _with_prefix(prefix, name):
    """Put a prefix in front of the name of a file, behind its folders."""
    return str(Path(name).parent / f"{prefix}{Path(name).name}") if prefix else name
