"""Paths of the files that a command reads and writes."""

from glob import glob
from pathlib import Path

from dipy.workflows.multi_io import connect_output_paths

from dipy_nn_reg.checks import PRETRAINED
from dipy_nn_reg.cohort.naming import prefixes_of_sets
from dipy_nn_reg.workflows.output_checks import check_outputs


def as_list(paths):
    """Return a list of one path or of several."""
    return list(paths) if isinstance(paths, (list, tuple)) else [paths]


def find_inputs(paths):
    """Return the files that a path, a pattern, a folder or a list of these names.

    A path that exists is not read as a pattern, whatever characters it contains. Hidden
    files are found only by their own path.

    Parameters
    ----------
    paths : string or Path, or list of these

    Returns
    -------
    files : list of Path

    Raises
    ------
    FileNotFoundError
        If there are no such files.
    """
    return [file for path in as_list(paths) for file in _find(Path(path))]


def find_model(path, option="model_file"):
    """Return the file of a model, or the name of the pretrained one.

    Parameters
    ----------
    path : string or Path
    option : string, optional
        Name of the option in an error.

    Returns
    -------
    model : Path or str

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`find_input`.
    """
    if str(path) == PRETRAINED:
        return PRETRAINED
    return find_input(option, path)


def find_input(option, path):
    """Return the single file that a path or a pattern names.

    Parameters
    ----------
    option : str
        Name of the option in an error.
    path : string or Path

    Returns
    -------
    file : Path

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If there are several.
    """
    files = find_inputs(path)
    if len(files) != 1:
        raise ValueError(
            f"Expected one file for {option}. Received {str(path)!r}, which names "
            f"{len(files)}."
        )
    return files[0]


def pair_inputs(static, moving, *, all_pairs=False):
    """Return the static and the moving files of pairs.

    Parameters
    ----------
    static, moving : list of Path
        One static file for all moving files, one for each, or the other way round.
    all_pairs : bool, optional
        Pair each moving file with each static one.

    Returns
    -------
    static, moving : list of Path
        Lists of the same length.

    Raises
    ------
    ValueError
        If the numbers of files do not fit.
    """
    if all_pairs:
        return [s for s in static for _ in moving], [m for _ in static for m in moving]
    number = max(len(static), len(moving))
    if len(static) not in (1, number) or len(moving) not in (1, number):
        raise ValueError(
            f"Expected one static image, or one for each moving image. Received "
            f"{len(static)} static and {len(moving)} moving images."
        )
    return [p * number if len(p) < number else p for p in (static, moving)]


def one_for_each(option, paths, n):
    """Return a path for each of n pairs, from one for all or one for each.

    Without paths, each is None.
    """
    if paths is None:
        return [None] * n
    paths = find_inputs(paths)
    if len(paths) not in (1, n):
        raise ValueError(
            f"Expected one of {option} for each of the {n} pairs, or one for all. "
            f"Received {len(paths)}."
        )
    return paths * n if len(paths) == 1 else paths


def find_fields(field_files, n, *, absolute):
    """Return the path of a field for each of n pairs, or None for each.

    Raises
    ------
    ValueError
        If the numbers do not fit, or if there are no fields that could be absolute.
    """
    if absolute and field_files is None:
        raise ValueError(
            "Expected field_files with absolute. Received absolute=True alone."
        )
    return one_for_each("field_files", field_files, n)


def paths_of_both(what, static, moving, n):
    """Return a static and a moving path for each of n pairs, or None for each.

    Parameters
    ----------
    what : str
        Kind of files: "labels" or "points".
    static, moving : path, pattern or list, or None
    n : int

    Returns
    -------
    paths : list of tuple of Path, or list of None

    Raises
    ------
    ValueError
        If only one of both is None, or if the numbers of files do not fit.
    """
    if (static is None) != (moving is None):
        raise ValueError(
            f"Expected {what} of static and of moving images, or of none. "
            f"Received only {'static' if moving is None else 'moving'}_{what}."
        )
    if static is None:
        return [None] * n
    columns = (
        one_for_each(f"{name}_{what}", paths, n)
        for name, paths in (("static", static), ("moving", moving))
    )
    return list(zip(*columns))


def plan_outputs(flow, inputs, out_dir, names, *, kept=()):
    """Return the paths of the outputs, after checking that they can be written.

    Parameters
    ----------
    flow : dipy.workflows.workflow.Workflow
        Its options say how DIPY places outputs and whether it overwrites.
    inputs : list of list of Path
        Lists of the same length: one item of each belongs to a set of outputs.
    out_dir : string or Path
    names : dict of str, or list of these
        Names of the outputs by their options, for all sets or for each. If there are
        several sets, the names of the inputs are used as prefixes.
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
            [with_prefix(prefix, name) for name in named.values()],
            output_strategy=flow._output_strategy,
            mix_names=False,
        )
        sets.append(dict(zip(named, map(Path, outputs[0]))))
    check_outputs(flow, sets, [path for paths in [*inputs, kept] for path in paths])
    return sets


def plan_cohort(flow, name, outputs, inputs):
    """Return the path of the page on several pairs, beside that of the first pair.

    Parameters
    ----------
    flow : dipy.workflows.workflow.Workflow
    name : str
    outputs : list of dict of Path
        Outputs of each pair, including ``out_report``.
    inputs : list of Path
        All files that are read, which the page may not replace.

    Returns
    -------
    path : Path or None
        None for one pair.

    Raises
    ------
    ValueError, OSError
        If the page cannot be written.
    """
    if len(outputs) == 1:
        return None
    path = outputs[0]["out_report"].parent / name
    check_outputs(flow, [*outputs, {"out_cohort": path}], inputs)
    return path


def _find(path):
    """Return the files that a path, a pattern or a folder names."""
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.is_file() and not _is_hidden(p))
        if not files:
            raise FileNotFoundError(f"No files in the folder: {path}")
        return files
    if path.exists():
        return [path]
    if path.is_symlink():
        raise FileNotFoundError(f"File not found: {path}, a link that leads nowhere")
    # A parent folder that exists is not read as a pattern, either.
    folder = next((p for p in path.parents if p.is_dir()), path.parent)
    matches = glob(str(path.relative_to(folder)), root_dir=folder)
    files = sorted(folder / match for match in matches)
    files = [p for p in files if p.is_file() and not _is_hidden(p)]
    if not files:
        raise FileNotFoundError(f"File not found: {path}")
    return files


def _is_hidden(path):
    return path.name.startswith(".")


def with_prefix(prefix, name):
    """Return the path of a file with a prefix of its name."""
    return str(Path(name).parent / f"{prefix}{Path(name).name}") if prefix else name
