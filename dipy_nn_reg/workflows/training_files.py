"""Files of a training: images and labels of options, or the pairs of a table."""

from dipy_nn_reg.cohort.inputs import is_table, read_pairs
from dipy_nn_reg.workflows.paths import find_inputs

# Columns of a table that a training reads.
_COLUMNS = ("moving", "static", "moving_labels", "static_labels")


def find_training_files(moving_files, optional):
    """Return the files of a training by the names of their options.

    Parameters
    ----------
    moving_files : path, pattern or list
        Images; or a table of pairs, as
        :func:`~dipy_nn_reg.cohort.inputs.read_pairs` reads it.
    optional : dict
        Paths of ``static``, of labels and of ``validation``, or None.

    Returns
    -------
    files : dict of list of Path

    Raises
    ------
    FileNotFoundError
        If there are no such files.
    ValueError
        If a table comes with other images, or with labels of some pairs alone.
    """
    files = find_inputs(moving_files)
    optional = {n: find_inputs(p) for n, p in optional.items() if p is not None}
    if not any(map(is_table, files)):
        return {"moving": files, **optional}
    if len(files) > 1 or set(optional) & set(_COLUMNS):
        others = sorted(set(optional) & set(_COLUMNS)) or f"{len(files)} files"
        raise ValueError(
            f"Expected a table of pairs alone, or images. Received {str(files[0])!r} "
            f"and {others}."
        )
    pairs = read_pairs(files[0])
    columns = [name for name in _COLUMNS if any(name in pair for pair in pairs)]
    for number, pair in enumerate(pairs, start=2):
        missing = [name for name in columns if name not in pair]
        if missing:
            raise ValueError(
                f"Expected labels of all pairs or of none. Received no {missing[0]} in "
                f"row {number} of {str(files[0])!r}."
            )
    found = {n: find_inputs([pair[n] for pair in pairs]) for n in columns}
    return {**found, **optional}
