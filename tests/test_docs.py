"""Pages and README: their commands can be parsed, and their numbers are in tables."""

import csv
from importlib import import_module
from pathlib import Path
import re
import shlex

from dipy.workflows.base import IntrospectiveArgumentParser
import pytest

from dipy_nn_reg.workflows.cli import FLOWS

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "doc").glob("*.[rm][sd]*")),
    *sorted((ROOT / "doc" / "examples").glob("*.py")),
]
# Options that DIPY and the entry point add to those of a flow.
FLAGS = {"--force", "--mix_names", "--version", "--debug", "--quiet", "--help"}
# A command in a line of its own, and the name of one with options in the text.
BEFORE = r".*&& |.*--wrap '| *\.\. program-output:: | +"
LINE = re.compile(rf"^(?:{BEFORE})?(dipy_nn_reg_\w+ .*)$", re.MULTILINE)
IN_TEXT = re.compile(r"`(dipy_nn_reg_[a-z]+ [^`]*)`")


def parser_of(name):
    """Return the parser of a command, without the flags that all commands have."""
    module, flow = FLOWS[name]
    parser = IntrospectiveArgumentParser()
    parser.add_workflow(getattr(import_module(module), flow)())
    return parser


def commands_of(path):
    """Return the commands that stand in lines of their own on a page."""
    text = re.sub("^# ", "", path.read_text(), flags=re.MULTILINE)
    text = re.sub(r" *\\\n *", " ", text)
    return [shlex.split(line.rstrip("'"), comments=True) for line in LINE.findall(text)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_can_be_parsed(path, capsys):
    for name, *arguments in commands_of(path):
        arguments = [argument for argument in arguments if argument not in FLAGS]
        if not arguments:  # For its help or its version.
            continue
        try:
            parser_of(name).parse_args(arguments)
        except SystemExit:
            said = capsys.readouterr().err
            pytest.fail(f"{name} {shlex.join(arguments)}: {said}")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_options_named_in_the_text_exist(path):
    text = " ".join(path.read_text().split())
    for name, *words in map(str.split, IN_TEXT.findall(text)):
        known = FLAGS | set(parser_of(name)._option_string_actions)
        unknown = {word for word in words if word.startswith("--")} - known
        assert not unknown, f"{name} {unknown}"


def test_commands_are_found():
    assert len(commands_of(ROOT / "README.md")) > 8
    assert len(commands_of(ROOT / "doc" / "coming_from.rst")) > 8


def rows_of(name):
    """Return the rows of a table of the documentation."""
    with open(ROOT / "doc" / name, newline="") as file:
        return list(csv.DictReader(file))


def readme_table(header):
    """Return the cells of a table of the README, by those of the first column."""
    text = (ROOT / "README.md").read_text().partition(f"\n| | {header} |\n")[2]
    lines = text.partition("\n\n")[0].splitlines()[1:]
    rows = [line.replace("*", "").strip("| ").split("|") for line in lines]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


def assert_rounded(text, value):
    """Check that a text is a number, rounded to the digits that it shows."""
    digits = len(text.partition(".")[2])
    assert abs(float(text) - float(value)) <= 0.5001 * 10**-digits, (text, value)


def test_the_table_of_brains_in_the_readme_is_that_of_the_pages():
    rows = [row for row in rows_of("brains.csv") if row["set"] == "2 mm"]
    brains = {row["method"]: row for row in rows}
    zero_shot = rows_of("zero_shot.csv")[0]
    shown = readme_table("Dice | s")
    assert len(shown) == 9
    for name, (dice, *seconds) in shown.items():
        if "pretrained" in name:
            expected = zero_shot["pretrained"], zero_shot["pretrained, s"]
        else:
            words = {"labels": "trained with labels", "trained": "trained model"}
            method = next((m for word, m in words.items() if word in name), name)
            row = brains[method.removeprefix("dipy_nn_reg, ").strip("`")]
            expected = row["Dice"], row["s"]
        assert_rounded(dice, expected[0])
        for text in filter(None, seconds):
            assert_rounded(text, expected[1])


def test_the_table_of_digits_in_the_readme_is_that_of_the_pages():
    rows = rows_of("accuracy_mnist.csv")
    for name, (ncc, dice, *_) in readme_table("NCC | Dice | ms a pair").items():
        method = (
            "ours" if name == "dipy_nn_reg" else re.sub("DIPY|[()]", "", name).strip()
        )
        for text, column in ((ncc, f"ncc {method}"), (dice, f"dice {method}")):
            assert_rounded(text, sum(float(row[column]) for row in rows) / len(rows))


def test_the_software_is_cited_with_its_version_and_authors():
    page = (ROOT / "doc" / "citing.rst").read_text()
    file = (ROOT / "CITATION.cff").read_text()
    version = re.search(r"^version: (.*)$", file, re.MULTILINE)[1]
    author = re.search(r"^authors:\n  - name: (.*)$", file, re.MULTILINE)[1]
    assert f"version = {{{version}}}" in page
    assert f"{{{{{author}}}}}" in page


def test_papers_of_the_citation_file_are_in_the_bibliography():
    file = (ROOT / "CITATION.cff").read_text()
    titles = re.findall(r'^    title: "(.*)"$', file, re.MULTILINE)
    known = re.sub(r"[{}]", "", (ROOT / "doc" / "references.bib").read_text()).lower()
    assert len(titles) > 5
    assert [title for title in titles if title.lower() not in known] == []
