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


@pytest.mark.parametrize(
    "command, wrong",
    [
        ("register", "--loss x"),
        ("register", "--transform tps"),
        ("register", "--penalty x"),
        ("register", "--smoothness -1"),
        ("register", "--smoothness 101"),
        ("register", "--transform displacement --penalty tv"),
        ("register", "--level_iters 3 -1"),
        ("register", "--moving_labels {image}"),
        ("fit", "--network x"),
        ("fit", "--loss x"),
        ("fit", "--smoothness -1"),
    ],
)
def test_wrong_options_are_refused_before_keras_is_imported(tmp_path, command, wrong):
    image = tmp_path / "image.nii.gz"
    image.write_bytes(b"not read")
    files = [str(image)] * (2 if command == "register" else 1)
    arguments = wrong.format(image=image).split()
    code = (
        "import sys; from dipy_nn_reg.workflows import cli\n"
        f"sys.argv = ['dipy_nn_reg_{command}', *{files + arguments}]\n"
        "try:\n    cli.run()\nfinally:\n    print('keras' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stdout.split()[-1] == "False", done.stderr
    assert "Expected" in done.stderr
    assert list(tmp_path.iterdir()) == [image]
