import csv

import pytest

from dipy_nn_reg.io.tables import format_rows, read_csv, write_csv

FORMULAS = ["=cmd|'calc'!A0.nii.gz", "+1+cmd", "-2+3", "@SUM(1)", "\t=1", "\r=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_guarded_and_read_again(text, tmp_path):
    path = tmp_path / "a.csv"
    write_csv([{"name": text, "quoted": f"'{text}"}], path)
    with open(path, newline="", encoding="utf-8") as file:
        _, (cell, quoted) = csv.reader(file)
    assert (cell, quoted) == (f"'{text}", f"''{text}")
    assert read_csv(path) == [{"name": text, "quoted": f"'{text}"}]


def test_numbers_and_ordinary_names_are_unchanged(tmp_path):
    path = tmp_path / "a.csv"
    rows = [{"loss": -0.5, "name": "sub-01 'a', é\n.nii.gz", "rate": "'t"}]
    write_csv(rows, path)
    read = read_csv(path)
    assert read == [{**rows[0], "loss": "-0.5"}]
    write_csv(read, path)  # like a history that is continued
    assert path.read_text(encoding="utf-8").splitlines()[1].startswith("-0.5,")
    assert read_csv(path) == read


def test_names_that_are_not_utf8_are_kept(tmp_path):
    name = b"\xe9.nii.gz".decode("utf-8", "surrogateescape")
    write_csv([{"name": name}], tmp_path / "a.csv")
    assert b"\xe9.nii.gz" in (tmp_path / "a.csv").read_bytes()
    assert read_csv(tmp_path / "a.csv") == [{"name": name}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"epoch,loss\n1,0.5\n2,0.4,9\n", "rows of 2 cells.*with 3 in row 3"),
        (b"epoch,loss\n1\n", "rows of 2 cells.*with 1 in row 2"),
        (b"epoch,epoch\n1,2\n", "columns of different names"),
        (b"epoch\tloss\n1\t2\n", "separated by commas, or.*'.tsv'.*with tabs"),
        (b"\x89PNG\x00\x01\x02\n\x00", "no text|cells|Expected a table"),
    ],
)
def test_invalid_tables_are_refused(content, message, tmp_path):
    (tmp_path / "history.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_csv(tmp_path / "history.csv")


def test_an_empty_file_has_no_rows(tmp_path):
    (tmp_path / "a.csv").touch()
    assert read_csv(tmp_path / "a.csv") == []


def test_each_row_is_one_line_for_any_name():
    rows = [{"name": "a\n\x1b[2J", "n": 0.5}, {"name": "b"}]
    lines = format_rows(rows, ["name", "n"]).splitlines()
    assert len(lines) == 3
    assert lines[1].split() == [r"a\n\x1b[2J", "0.5000"]


def test_the_mark_that_spreadsheets_write_is_no_part_of_a_name(tmp_path):
    (tmp_path / "t.csv").write_text('moving,"static"\na,b\n', encoding="utf-8-sig")
    assert read_csv(tmp_path / "t.csv") == [{"moving": "a", "static": "b"}]
