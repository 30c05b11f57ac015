"""Which files a command reads and writes."""

import os
from pathlib import Path

from dipy.io.utils import split_filename_extension
from dipy.workflows.multi_io import IOIterator, connect_output_paths


def as_list(paths):
    """Return a list of one path or of several."""
    return list(paths) if isinstance(paths, (list, tuple)) else [paths]


def find_inputs(paths):
    """Return the files that a path, a pattern, a folder or a list of these names.

    Raises
    ------
    OSError
        If there is none.
    """
    inputs = IOIterator()
    inputs.set_inputs(as_list(paths))  # DIPY's own rules
    return [Path(path) for path in inputs.inputs[0]]


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
    FileExistsError
        If an output is there and must stay.
    ValueError
        If an output would replace an input.
    PermissionError
        If a folder cannot be written to.
    """
    several = flow._mix_names or len(inputs[0]) > 1
    prefixes = [""] * len(inputs[0])
    if several:
        parts = [_distinct_stems(paths) for paths in inputs]
        prefixes = ["_".join(stems) + "__" for stems in zip(*parts)]
    sets = []
    if isinstance(names, dict):
        names = [names] * len(inputs[0])
    for prefix, named, *paths in zip(prefixes, names, *inputs):
        _, outputs = connect_output_paths(
            [[str(path)] for path in paths],
            str(out_dir),
            [prefix + name for name in named.values()],
            output_strategy=flow._output_strategy,
            mix_names=False,
        )
        sets.append(dict(zip(named, map(Path, outputs[0]))))
    check_outputs(flow, sets, [*inputs, kept])
    return sets


def check_outputs(flow, sets, inputs=()):
    """Make the folders of the outputs, and raise an error if one cannot be written."""
    outputs = [path for one in sets for path in one.values()]
    flow.flat_outputs = outputs
    flow.last_generated_outputs = sets[-1]
    taken = {path.resolve() for paths in inputs for path in paths}
    for path in outputs:
        if path.resolve() in taken:
            raise ValueError(f"Expected another output than the input {str(path)!r}.")
    if not flow.manage_output_overwrite():
        there = next(path for path in outputs if path.is_file())
        raise FileExistsError(
            f"Expected no earlier results, or --force. Found {str(there)!r}."
        )
    for path in outputs:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(
                f"Expected a folder that can be written to. "
                f"Received {str(path.parent.resolve())!r}."
            )


def _distinct_stems(paths):
    """Return file names without endings; where they are alike, with their folders."""
    paths = [path.resolve() for path in paths]
    stems = {path: split_filename_extension(path)[0] for path in paths}
    folders = {path: path.parent for path in stems}
    while len(set(stems.values())) < len(stems):
        for path, folder in folders.items():
            if folder.name:
                stems[path] = f"{folder.name}_{stems[path]}"
                folders[path] = folder.parent
    return [stems[path] for path in paths]
