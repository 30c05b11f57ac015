"""Checks of planned outputs, before anything is computed."""

from collections import defaultdict
import os

import nibabel as nib
import numpy as np

from dipy_nn_reg.io.field_formats import FIELD_ENDINGS
from dipy_nn_reg.io.temporaries import discard, temporary_path
from dipy_nn_reg.io.warped import ENDINGS as WARPED

# Endings of output names that the writers, or later readers, of the files accept.
ENDINGS = {
    "out_cohort": (".html",),
    "out_field": FIELD_ENDINGS,
    "out_history": (".csv",),
    "out_inverse": FIELD_ENDINGS,
    "out_metrics": (".csv",),
    "out_model": (".keras",),
    "out_prealign": (".txt",),
    "out_report": (".html",),
    "out_warped": WARPED,
}
# Largest number of bytes in the name of a file.
_MAX_NAME_BYTES = 255
# Largest difference of the affines of one grid, in mm or without unit.
_SAME_GRID = 1e-3


def check_outputs(flow, sets, inputs=(), *, endings=ENDINGS):
    """Make the folders of the outputs, and raise an error if one cannot be written.

    Parameters
    ----------
    flow : dipy.workflows.workflow.Workflow
        Its options say whether earlier results are replaced.
    sets : list of dict of Path
        Outputs, by the names of their options.
    inputs : list of Path, optional
        All files that are read, which no output may replace.
    endings : dict of tuple of str, optional
        Accepted endings by the names of options. Any ending is accepted for an option
        without an entry.

    Raises
    ------
    FileExistsError
        If an output exists and may not be replaced.
    ValueError
        If two outputs have the same name, if one would replace an input or something
        that is not a file, or if a name is too long or has another ending.
    PermissionError
        If a folder cannot be written to.
    """
    outputs = [path for one in sets for path in one.values()]
    flow.flat_outputs = outputs
    flow.last_generated_outputs = sets[-1]
    for one in sets:
        for option, path in one.items():
            _check_name(option, path, endings.get(option, ("",)))
    _check_inputs(outputs, inputs)
    _check_distinct(sets, same_case=False)
    if not flow.manage_output_overwrite():
        earlier = next(path for path in outputs if path.is_file())
        raise FileExistsError(
            f"Expected no earlier results, or --force. Found {str(earlier)!r}."
        )
    folders = dict.fromkeys(path.parent for path in outputs)
    for folder in folders:
        _check_writable(_nearest_existing(folder))
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        _check_writable(folder)
    if any(map(_ignores_case, folders)):
        _check_distinct(sets, same_case=True)


def check_none_remain(output, names, kept=()):
    """Raise FileExistsError if data of earlier results would remain beside new ones.

    Images on another grid than an earlier output belong to something else.

    Parameters
    ----------
    output : Path
        An output that the others belong to.
    names : iterable of str
        Names of outputs, relative to its folder, that are not written this time.
    kept : list of Path, optional
        Files that are read, which belong to something else.
    """
    if not output.exists():
        return
    for path in (output.parent / name for name in names):
        is_read = path.is_file() and any(map(path.samefile, kept))
        if path.is_file() and not is_read and _is_on_grid_of(path, output):
            raise FileExistsError(
                f"Expected no file of earlier results that would remain beside a new "
                f"{output.name}: remove it, or choose another folder. Found "
                f"{str(path)!r}."
            )


def _is_on_grid_of(path, other):
    """Return False for two images on different grids."""
    try:
        one, two = nib.load(path), nib.load(other)
    except (OSError, nib.filebasedimages.ImageFileError):
        return True
    is_same = one.shape[:3] == two.shape[:3]
    return is_same and np.allclose(one.affine, two.affine, atol=_SAME_GRID)


def check_no_force(flow):
    """Raise ValueError for --force where the same command goes on by itself.

    Parameters
    ----------
    flow : dipy.workflows.workflow.Workflow
    """
    if flow._force_overwrite:
        raise ValueError(
            "Expected no --force: the same command again does what is missing, and "
            "other options need another --out_dir. Received --force."
        )


def _check_name(option, path, endings):
    if not path.name.endswith(endings):
        expected = " or ".join(map(repr, endings))
        raise ValueError(
            f"Expected {option} to end with {expected}. Received {path.name!r}."
        )
    if len(os.fsencode(path.name)) > _MAX_NAME_BYTES:
        raise ValueError(
            f"Expected names of {_MAX_NAME_BYTES} bytes at most. Received "
            f"{option}={path.name!r}."
        )
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "no file"
        raise ValueError(
            f"Expected the name of a file. Received {option}={str(path)!r}, which is "
            f"{kind}."
        )
    folder = _nearest_existing(path.parent)
    if not folder.is_dir():
        raise ValueError(
            f"Expected a folder. Received {option}={str(path)!r}, within "
            f"{str(folder)!r}, which is no folder."
        )


def _check_inputs(outputs, inputs):
    real_paths = {os.path.realpath(path) for path in inputs}
    # One file may have several names, by links or by upper and lower case.
    identities = {_identity(path) for path in inputs} - {None}
    for path in outputs:
        if os.path.realpath(path) in real_paths or _identity(path) in identities:
            raise ValueError(f"Expected another output than the input {str(path)!r}.")


def _identity(path):
    """Return the numbers by which the system identifies a file; None without one."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _check_distinct(sets, *, same_case):
    """Raise ValueError if outputs share a name, optionally in any case."""
    options = defaultdict(list)
    for one in sets:
        for option, path in one.items():
            place = os.path.join(os.path.realpath(path.parent), path.name)
            options[place.casefold() if same_case else place].append((option, path))
    for (first, path), *others in options.values():
        if others:
            raise ValueError(
                f"Expected outputs of different names. Received {str(path)!r} for "
                f"{first} and {others[0][0]}."
            )


def _check_writable(folder):
    if not os.access(folder, os.W_OK):
        raise PermissionError(
            f"Expected a folder that can be written to. "
            f"Received {str(folder.absolute())!r}."
        )


def _nearest_existing(folder):
    """Return a folder, or the nearest of its parents that exists."""
    return next(p for p in (folder, *folder.absolute().parents) if os.path.lexists(p))


def _ignores_case(folder):
    """Write to a folder, and return whether it ignores upper and lower case."""
    partial = temporary_path(folder / "case")
    try:
        partial.touch()
        return partial.with_name(partial.name.upper()).exists()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
    finally:
        discard([partial])
