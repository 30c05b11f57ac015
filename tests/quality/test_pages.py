from importlib.metadata import version

import numpy as np
import pytest

from dipy_nn_reg.quality.pages import ROWS, check_page, format_number, write_page

COHORT = {
    "title": "A <title>",
    "counts": {"Good": 1},
    "levels": {"Good": "good"},
    "names": {"ncc_after": "NCC"},
    "subjects": [{"name": "one", "page": "1.html", "verdict": "Good", "cells": ["1"]}],
    "failed": (),
}


def test_a_page_may_replace_a_page(tmp_path):
    check_page(tmp_path / "page.html")
    (tmp_path / "page.html").touch()
    check_page(str(tmp_path / "page.html"))


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("page.txt", ValueError, "ends with .html. Received path='.*page.txt'"),
        ("folder.html", ValueError, "the path of a file.*folder"),
        ("none/page.html", FileNotFoundError, "in a folder that exists"),
    ],
)
def test_paths_without_room_for_a_page_are_refused(name, error, message, tmp_path):
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(error, match=f"Expected .*{message}"):
        check_page(tmp_path / name)


@pytest.mark.parametrize("path", [None, 3, b"page.html", "a\0.html"])
def test_invalid_paths_are_refused(path):
    with pytest.raises(ValueError, match="Expected path to be a path"):
        check_page(path)


def test_a_page_ends_with_details_time_and_versions(tmp_path):
    details = {"Command": "do --it", "Static": tmp_path / "a<b"}
    write_page(tmp_path / "a.html", "cohort.html", details=details, **COHORT)
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<h1>A &lt;title&gt;</h1>" in page  # nothing passes as markup
    assert "<dt>Command</dt><dd>do --it</dd>" in page and "a&lt;b</dd>" in page
    assert f"dipy {version('dipy')}, numpy {version('numpy')}, Python" in page
    assert page.index("Command") < page.index("Made") < page.index("Versions")


def test_a_missing_value_leaves_no_page(tmp_path):
    values = {name: value for name, value in COHORT.items() if name != "names"}
    with pytest.raises(Exception, match="'names' is undefined"):
        write_page(tmp_path / "a.html", "cohort.html", **values)
    with pytest.raises(ValueError, match="details to be a dict. Received details="):
        write_page(tmp_path / "a.html", "cohort.html", details=["one"], **COHORT)
    assert not list(tmp_path.iterdir())


def test_numbers_have_the_decimals_of_their_measure():
    assert format_number(0.123456, "ncc") == "0.123"
    assert format_number(0.123456, "folding") == "0.12346"
    assert format_number(3.0, "lost_labels") == "3"
    assert all(format_number(None, key) == "" for key in ROWS)
    for value in (np.nan, np.inf, -np.inf):
        assert format_number(value, "ncc") == "not a number"
