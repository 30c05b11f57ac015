"""Choices of the options of commands, checked before Keras is imported."""

import ast
from functools import cache
from importlib.resources import files

from dipy_nn_reg.checks import check_name

# Tables of the names of each option. Their modules import Keras, which takes seconds,
# so the names are read from the source.
TABLES = {
    "network": ("networks/__init__.py", "NETWORKS"),
    "transform": ("transform/kinds.py", "TRANSFORMS"),
    "loss": ("losses/choices.py", "LOSSES"),
    "penalty": ("losses/choices.py", "PENALTIES"),
}


@cache
def names_of(option):
    """Return the names among which an option of a command is chosen.

    Parameters
    ----------
    option : str
        A key of ``TABLES``.

    Returns
    -------
    names : tuple of str
    """
    module, table = TABLES[option]
    source = files("dipy_nn_reg").joinpath(module).read_text(encoding="utf-8")
    rows = next(
        statement.value
        for statement in ast.parse(source).body
        if isinstance(statement, ast.Assign)
        and ast.unparse(statement.targets[0]) == table  # others may be tuples
    )
    return tuple(name.value for name in rows.keys)


def check_choices(**chosen):
    """Raise ValueError unless options of a command have one of their values.

    Parameters
    ----------
    **chosen
        Names by option, as in ``TABLES``; None for the default.
    """
    for option, name in chosen.items():
        if name is not None:
            check_name(option, name, names_of(option))
