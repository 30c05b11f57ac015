import os

import pytest

from dipy_nn_reg.text import describe, printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sub-01 é.nii.gz", "sub-01 é.nii.gz"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("two\nlines", r"two\nlines"),
        ("right \u202e to left", r"right \u202e to left"),
        (os.fsdecode(b"\xe9"), r"\udce9"),
    ],
)
def test_unprintable_characters_are_escaped(text, expected):
    assert printable(text) == expected
    assert printable(text).encode()


def test_errors_are_one_line():
    assert describe(ValueError("Expected\n a.\x07")) == "Expected a.\\x07"
    assert describe(KeyError("this")) == "KeyError: 'this'"
    assert describe(MemoryError()) == "MemoryError: "
