"""Calls of public functions with arguments of known kinds, and cases made of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple


class Argument(NamedTuple):
    """A valid value, and what kind of value it is.

    Attributes
    ----------
    kind : str
        One of those that :mod:`fuzzing.dress` and :mod:`fuzzing.hostile` know.
        "fixed" stays as it is.
    value : object
    """

    kind: str
    value: object


def kind(name):
    """Return a maker of arguments of a kind."""
    return lambda value: Argument(name, value)


affine, array_of_int, boolean, fixed, image, field_of = map(
    kind, ("affine", "labels", "bool", "fixed", "image", "field")
)
integer, mapping, name_of, number, options, path = map(
    kind, ("integer", "mapping", "name", "number", "dict", "path")
)
points, sequence, shape, tensor = map(kind, ("points", "sequence", "shape", "tensor"))
# A number of rounds; and an object of a class of ours.
count, instance = kind("count"), kind("object")


def maybe(rng, share=0.6, **arguments):
    """Keep each of the arguments or leave it out."""
    return {name: a for name, a in arguments.items() if rng.random() < share}


class Call:
    """A valid call.

    Parameters
    ----------
    run : callable
        Takes the arguments by name.
    name : str, optional
        Of the function, for the table; by default that of ``run``.
    nan : {"never", "through", "documented"}, optional
        Whether a result that is not finite is right: never; where an argument is not
        finite, or beyond what float32 can square; or always.
    written : tuple of str, optional
        Names of the files that the call may write in the folder of its case.
    is_right : callable, optional
        Takes a result; returns False for one that cannot be right.
    changes : tuple of str, optional
        Names of arguments that the call is there to change.
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
    """What is tried, and what is known of its outcome beforehand.

    Attributes
    ----------
    area, function, mutation : str
        For the table: where, what is called, and what was done to its arguments.
    run : callable
        Takes ``arguments`` by name.
    arguments : dict
    plain : dict or None
        Arguments whose result has to be the same.
    must_work : bool
        Whether an error is wrong, however well it is worded.
    misspelt : bool
        Whether the names of the arguments are wrong, of which Python tells.
    read_equal : object
        What a reader has to find, if it finds anything.
    is_command : bool
        Whether ``run`` is a command, which ends with one line.
    nan, written, is_right, changes
        As of :class:`Call`.
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
