import subprocess
import sys

import numpy as np
import pytest

from dipy_nn_reg.workflows import cli

HEAVY = {"keras", "tensorflow", "torch", "jax", "matplotlib", "dipy.align"}


@pytest.mark.parametrize("name", cli.FLOWS)
def test_help_loads_no_framework(name):
    code = (
        f"import sys; sys.argv = ['{name}', '--help']\n"
        "from dipy_nn_reg.workflows import cli\n"
        "try: cli.run()\n"
        "except SystemExit: pass\n"
        f"print('loaded', {HEAVY} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "--force" in done.stdout
    assert "--debug" in done.stdout
    assert done.stdout.strip().endswith("loaded set()")


@pytest.mark.parametrize("name", cli.FLOWS)
def test_the_version_is_ours(name, run_command):
    done = run_command(name, "--version")
    assert done.stdout.startswith(name)
    assert done.returncode == 0


@pytest.mark.parametrize("arguments", [["--debug"], []])
def test_an_error_is_one_line_unless_asked_for_more(arguments, run_command, write):
    image = write("image.nii.gz", np.zeros((5, 5, 5), np.float32))
    done = run_command("dipy_nn_reg_apply", image, image, image, *arguments)
    assert done.returncode == 1
    assert ("Traceback" in done.stderr) == bool(arguments)
    if not arguments:
        assert len(done.stderr.strip().splitlines()) == 1
        assert done.stderr.startswith("dipy_nn_reg_apply: Expected")


def test_an_error_of_another_kind_says_its_name(monkeypatch, capsys):
    def run(*args, **options):
        raise KeyError("this")

    monkeypatch.setattr(cli, "run_flow", run)
    monkeypatch.setattr(sys, "argv", ["dipy_nn_reg_fit"])
    with pytest.raises(SystemExit, match=r"_fit: KeyError: 'this' \(--debug"):
        cli.run()


def test_commands_that_find_nothing_fail(run_command, tmp_path):
    done = run_command(
        "dipy_nn_reg_predict", "s*.nii", "m*.nii", "x.keras", cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "dipy_nn_reg_predict: File not found: s*.nii"
