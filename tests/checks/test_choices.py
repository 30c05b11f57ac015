import json
import subprocess
import sys

import pytest

from dipy_nn_reg.checks import choices
from dipy_nn_reg.checks.choices import TABLES, check_choices, names_of
from dipy_nn_reg.losses.choices import LOSSES, PENALTIES
from dipy_nn_reg.networks import NETWORKS
from dipy_nn_reg.transform.kinds import TRANSFORMS


def test_names_are_those_of_the_tables():
    tables = {
        "network": NETWORKS,
        "transform": TRANSFORMS,
        "loss": LOSSES,
        "penalty": PENALTIES,
    }
    assert {n: tuple(t) for n, t in tables.items()} == {n: names_of(n) for n in TABLES}


def test_other_assignments_of_a_module_are_passed_over(tmp_path, monkeypatch):
    source = 'A, B = 1, 2\nx = object()\nx.y = {}\nLOSSES = {"a": A, "b": B}\n'
    (tmp_path / "table.py").write_text(source)
    monkeypatch.setattr(choices, "files", lambda package: tmp_path)
    monkeypatch.setitem(TABLES, "loss", ("table.py", "LOSSES"))
    assert names_of.__wrapped__("loss") == ("a", "b")


def test_a_wrong_choice_is_refused():
    with pytest.raises(ValueError, match="loss to be one of .*'lncc'.* Received 'x'"):
        check_choices(loss="x")


def test_right_choices():
    check_choices(loss=None, penalty="tv", network="unet")


WRONG = [
    "register --loss x",
    "register --transform tps",
    "register --penalty x",
    "register --smoothness -1",
    "register --smoothness 101",
    "register --transform displacement --penalty tv",
    "register --level_iters 3 -1",
    "register --moving_labels image.nii.gz",
    "fit --network x",
    "fit --loss x",
    "fit --smoothness -1",
]
# Commands with wrong options, one after the other in one process.
REFUSING = """
import json, os, sys
from dipy_nn_reg.workflows import cli

def refuse(line):
    command, *options = line.split()
    files = ["image.nii.gz"] * (2 if command == "register" else 1)
    sys.argv = ["dipy_nn_reg_" + command, *files, *options]
    try:
        cli.run()
    except SystemExit as error:  # a message leads to status 1
        return str(error), "keras" in sys.modules, os.listdir()

print(json.dumps({line: refuse(line) for line in WRONG}))
"""


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    """Return message, whether Keras was imported, and files, after each mistake."""
    folder = tmp_path_factory.mktemp("refusals")
    (folder / "image.nii.gz").write_bytes(b"not read")
    code = f"WRONG = {WRONG}\n{REFUSING}"
    options = {"capture_output": True, "text": True, "cwd": folder}
    done = subprocess.run([sys.executable, "-c", code], **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("line", WRONG)
def test_wrong_options_are_refused_before_keras_is_imported(line, refusals):
    message, is_imported, files = refusals[line]
    assert message.startswith(f"dipy_nn_reg_{line.split()[0]}: Expected")
    assert not is_imported
    assert files == ["image.nii.gz"]
