"""The outcome of a case: a right result, an error that helps, or a fault."""

import gc
import os
from pathlib import Path
import re
import traceback

from fuzzing.state import (
    snapshot_of_arguments,
    snapshot_of_folder,
    snapshot_of_process,
    what_changed,
)
from fuzzing.values import all_finite, differs, is_extreme

GOOD = ("result", "expected error")
# Errors in the words of another library: faults in a strict area, and tolerated up to a
# fraction in the others.
FOREIGN = ("other library's words", "wrong kind")
OUTCOMES = (
    *GOOD,
    *FOREIGN,
    "refused",
    "not finite",
    "wrong result",
    "changed input",
    "left files behind",
    "changed global state",
    "foreign code",
    "memory",
    "hang",
    "crash",
)
# Name of a file that only foreign code, hidden in an input, would write.
MARKER = "marker-of-foreign-code"
# Pattern of our error messages.
_OURS = re.compile(
    r"^Expected |\bReceived |^There is no file|^File not found: "
    r"|needs about .* GiB of memory"
    r"|^interrupted$"
)
# Pattern of the error message of argparse.
_USAGE = re.compile(r"^usage: .*error: ", re.DOTALL)
_PYTHONS_OWN = re.compile(
    r"unexpected keyword argument|missing \d+ required|positional argument"
)


def judge(case, folder):
    """Run a case and return its outcome with a note.

    Parameters
    ----------
    case : Case
    folder : Path
        Folder of the case, which is the working folder.

    Returns
    -------
    outcome : str
        One of :data:`OUTCOMES`.
    note : str
    trace : str
        Traceback of an error.
    """
    arguments = snapshot_of_arguments(case.arguments)
    files, process = snapshot_of_folder(folder), snapshot_of_process()
    outcome, note, trace = _run(case)
    side_effect = _side_effect(case, folder, arguments, files, process, outcome)
    return (*side_effect, trace) if side_effect else (outcome, note, trace)


def _run(case):
    try:
        result = case.run(**case.arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit of commands included
        outcome, note = _of_error(case, error)
        return outcome, note, traceback.format_exc()
    finally:
        gc.collect(0)
    outcome, note = _of_result(case, result)
    return outcome, note, ""


def _of_error(case, error):
    if isinstance(error, SystemExit):
        return _of_exit(case, error)
    note = f"{type(error).__name__}: {_line(error)}"
    if case.misspelt and isinstance(error, TypeError):
        if _PYTHONS_OWN.search(str(error)):
            return "expected error", note
    is_usual = isinstance(error, (ValueError, OSError, MemoryError))
    if is_usual and (_OURS.search(str(error)) or _names_the_file(error, case)):
        return ("refused" if case.must_work else "expected error"), note
    if is_usual or isinstance(error, TypeError):
        return "other library's words", note
    return "wrong kind", note


def _names_the_file(error, case):
    """Return whether an error of the system names a file of the arguments."""
    if not isinstance(error, OSError) or not error.errno or not error.filename:
        return False
    named = Path(os.fsdecode(error.filename))
    return any(Path(path) in (named, *named.parents) for path in _paths_of(case))


def _paths_of(case):
    values = case.arguments.get("line", case.arguments.values())
    return [str(value) for value in values if isinstance(value, (str, Path))]


def _of_exit(case, error):
    """Return the outcome of a command, which may end with one line of our own."""
    said = case.said() if case.is_command else ""
    code = error.code
    if code in (None, 0):
        return _of_result(case, None)
    if code == 2 and "error:" in said and "Traceback" not in said:
        return ("refused" if case.must_work else "expected error"), _line(said)
    if not isinstance(code, str):
        return "wrong kind", f"status {code}: {_line(said)}"
    text = code.partition(": ")[2]
    if "\n" in code or "Traceback" in said:
        return "wrong kind", f"several lines: {_line(code)}"
    if text.endswith("(--debug shows where)"):
        return "wrong kind", _line(code)
    named = text.startswith("[Errno") and any(repr(p) in text for p in _paths_of(case))
    if _OURS.search(text) or named:
        return ("refused" if case.must_work else "expected error"), _line(code)
    return "other library's words", _line(code)


def _of_result(case, result):
    if case.is_command and "Traceback" in case.said():
        return "wrong kind", f"a traceback, and success: {_line(case.said())}"
    if not all_finite(result):
        if case.nan == "never" or (
            case.nan == "through" and not is_extreme(case.arguments)
        ):
            return "not finite", _line(repr(result))
    if case.is_right is not None:
        try:
            right = case.is_right(result)
        except Exception as error:
            right = f"{type(error).__name__}: {_line(error)}"
        if right is not True:
            return "wrong result", f"{right}: {_line(repr(result))}"
    if case.read_equal is not None:
        difference = differs(result, case.read_equal)
        if difference:
            return "wrong result", f"read otherwise: {difference}"
    if case.plain is not None:
        return _beside_plain(case, result)
    return "result", ""


def _beside_plain(case, result):
    try:
        expected = case.run(**case.plain)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return "wrong result", f"the plain arrays are refused: {_line(error)}"
    difference = differs(result, expected)
    if difference:
        return "wrong result", f"other than of plain arrays: {difference}"
    return "result", ""


def _side_effect(case, folder, arguments, files, process, outcome):
    """Return what a case has left behind, or None."""
    if (folder / MARKER).exists():
        return "foreign code", "code from a file was run"
    after = snapshot_of_arguments(case.arguments)
    changed = [
        n for n in arguments if after[n] != arguments[n] and n not in case.changes
    ]
    if changed:
        return "changed input", ", ".join(sorted(changed))
    files_after = snapshot_of_folder(folder)
    changed = [n for n, d in files.items() if files_after.get(n, "gone") != d]
    if set(changed) - set(case.written):
        return "changed input", f"files: {', '.join(sorted(changed))}"
    allowed = set(case.written) if outcome == "result" or case.is_command else set()
    new = [n for n in files_after if n not in files]
    left = [n for n in new if not _is_allowed(n, allowed)]
    if left:
        return "left files behind", ", ".join(sorted(left))[:200]
    changed = what_changed(process, snapshot_of_process())
    if case.is_command:  # which has the process to itself
        changed = [c for c in changed if c not in _OF_A_COMMAND]
    if changed:
        return "changed global state", ", ".join(changed)
    return None


# Changes of the global state that a command may make.
_OF_A_COMMAND = ("the level of the dipy logger", "the filters of warnings")


def _is_allowed(name, allowed):
    """Return whether a case may leave a file. Hidden files are leftovers."""
    *folders, last = name.split(os.sep)
    return not last.startswith(".") and (last in allowed or "*" in allowed)


def _line(text):
    """Return the beginning of a text, in one line."""
    try:
        return " ".join(str(text).split())[:300]
    except Exception as error:
        return f"<{type(error).__name__} in str>"
