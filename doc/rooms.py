"""List of the rooms of the package and their modules, from their docstrings."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1] / "dipy_nn_reg"
# From what a user meets down to what everything rests on.
ORDER = [
    "model",
    "registration",
    "workflows",
    "cohort",
    "quality",
    "pairwise",
    "diffusion",
    "training",
    "losses",
    "networks",
    "viz",
    "io",
    "mapping",
    "metrics",
    "transform",
    "data",
]


def write(path):
    """Write the list as reStructuredText.

    Parameters
    ----------
    path : Path
    """
    rooms = [ROOT / name for name in ORDER]
    rest = sorted(p.with_suffix("") for p in ROOT.glob("*.py") if p.stem != "__init__")
    rooms += [room for room in rest if room not in rooms]
    lines = []
    for room in rooms:
        if room.is_dir():
            lines += [f"``{room.name}/``", f"    {_summary(room / '__init__.py')}", ""]
            modules = sorted(p for p in room.glob("*.py") if p.stem != "__init__")
            lines += [f"    - ``{m.name}``: {_summary(m)}" for m in modules]
            lines += [""]
        else:
            file = room.with_suffix(".py")
            lines += [f"``{file.name}``", f"    {_summary(file)}", ""]
    path.write_text("\n".join(lines))


def _summary(path):
    """Return the first line of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return text.partition("\n")[0]
