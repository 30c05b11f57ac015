"""Calls of public functions, whose arguments have kinds, and cases made of calls."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple


class Argument(NamedTuple):
    """A valid value and its kind.

    Attributes
    ----------
    kind : str
        A kind of :mod:`fuzzing.dress` and :mod:`fuzzing.hostile`. A "fixed" value is
        not changed.
    value : object
    """

    kind: str
    value: object


def kind(name):
    """Return a function that makes arguments of a kind."""
    return lambda value: Argument(name, value)


affine, array_of_int, boolean, fixed, image, field_of = map(
    kind, ("affine", "labels", "bool", "fixed", "image", "field")
)
integer, mapping, name_of, number, options, path = map(
    kind, ("integer", "mapping", "name", "number", "dict", "path")
)
points, sequence, shape, tensor = map(kind, ("points", "sequence", "shape", "tensor"))
# A number of repetitions, and an object of one of our classes.
count, instance = kind("count"), kind("object")


def maybe(rng, probability=0.6, **arguments):
    """Return the arguments, each with a probability."""
    return {name: a for name, a in arguments.items() if rng.random() < probability}


class Call:
    """A valid call.

    Parameters
    ----------
    run : callable
        Takes the arguments by name.
    call_name : str, optional
        Name of the function in the table; by default that of ``run``.
    nan : {"never", "through", "documented"}, optional
        When a result that is not finite is right: never; if an argument is not finite,
        or too large to be squared in float32; or always.
    written : tuple of str, optional
        Names of the files that the call may write in the folder of its case.
    is_right : callable, optional
        Takes a result; returns False for one that cannot be right.
    changes : tuple of str, optional
        Names of the arguments that the call may change.
    **arguments : Argument
    """

    def __init__(
        self,
        run,
        *,
        call_name=None,
        nan="never",
        written=(),
        is_right=None,
        changes=(),
        **arguments,
    ):
        self.run, self.name = run, call_name or run.__name__
        self.nan, self.written, self.is_right = nan, written, is_right
        self.changes, self.arguments = changes, arguments


@dataclass
class Case:
    """A call to try, and its expected outcome.

    Attributes
    ----------
    area, function, mutation : str
        Area, function and change of its arguments, for the table.
    run : callable
        Takes ``arguments`` by name.
    arguments : dict
    plain : dict or None
        Arguments for which the result must be the same.
    must_work : bool
        Whether an error is wrong, however well it is worded.
    misspelt : bool
        Whether names of arguments are wrong, so that Python itself raises the error.
    read_equal : object
        The only right result of a reader that does not raise an error.
    is_command : bool
        Whether ``run`` is a command, whose error is one line.
    nan, written, is_right, changes
        As for :class:`Call`.
    """

    area: str
    function: str
    mutation: str
    run: Callable
    arguments: dict = field(default_factory=dict)
    plain: dict | None = None
    must_work: bool = False
    misspelt: bool = False
    read_equal: object = None
    is_command: bool = False
    nan: str = "never"
    written: tuple = ()
    is_right: Callable | None = None
    changes: tuple = ()
