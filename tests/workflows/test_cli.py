"""Commands: help, versions, errors and signals."""

from importlib.metadata import entry_points
import json
import os
from pathlib import Path
import signal
import subprocess
import sys

from dipy.utils.logging import logger
from dipy.workflows import flow_runner
import numpy as np
import pytest

from dipy_nn_reg import __version__
from dipy_nn_reg.io import signals
from dipy_nn_reg.workflows import cli

HEAVY = {"keras", "tensorflow", "torch", "jax", "matplotlib", "dipy.align"}
# Each command with one option, one after the other in one process.
ASKING = """
import contextlib, io, json, sys
from importlib.metadata import entry_points

def ask(name, option):
    sys.argv, said = ["/bin/" + name, option], io.StringIO()
    (script,) = entry_points(group="console_scripts", name=name)
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        script.load()()
    return said.getvalue(), sorted(set(sys.modules) & set(HEAVY))

print(json.dumps({n: [ask(n, o) for o in ("--help", "--version")] for n in NAMES}))
"""


@pytest.fixture(scope="module")
def answers():
    """Return what each command says of its help and version, and what it has loaded."""
    code = f"HEAVY, NAMES = {sorted(HEAVY)}, {list(cli.FLOWS)}\n{ASKING}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", cli.FLOWS)
def test_help_loads_no_framework(name, answers):
    said, loaded = answers[name][0]
    assert said.startswith(f"usage: {name} ")
    assert "--force" in said
    assert "--debug" in said
    assert loaded == []


@pytest.mark.parametrize("name", cli.FLOWS)
def test_version_is_that_of_the_package(name, answers):
    assert answers[name][1][0] == f"{name} {__version__}\n"
    assert Path(sys.executable).with_name(name).exists()


def test_there_is_a_command_for_each_flow():
    scripts = {s.name for s in entry_points(group="console_scripts")}
    assert {name for name in scripts if name.startswith("dipy_nn_reg")} == {*cli.FLOWS}


def test_a_command_says_its_version(run_command):
    done = run_command("dipy_nn_reg_apply", "--version")
    assert (done.returncode, done.stdout) == (0, f"dipy_nn_reg_apply {__version__}\n")


@pytest.mark.parametrize(
    ("level", "shown"), [("INFO", 2), ("WARNING", 1), ("ERROR", 0)]
)
def test_messages_below_the_level_are_not_shown(level, shown, monkeypatch, dipy_log):
    def flow(_, extra_args):
        logger.warning("Said.")
        logger.info("Said.")

    before, filters = logger.level, list(logger.filters)
    monkeypatch.setattr(flow_runner, "run_flow", flow)
    monkeypatch.setattr(sys, "argv", ["dipy_nn_reg_apply", "--log_level", level])
    try:
        cli.run()
    finally:
        logger.filters[:] = filters
    assert dipy_log.messages.count("Said.") == shown and logger.level == before


def test_a_level_that_is_none_is_refused(run_command):
    done = run_command("dipy_nn_reg_apply", "a", "b", "c", "--log_level", "LOUD")
    assert done.returncode == 1
    assert "--log_level to be one of CRITICAL," in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--debug"], []])
def test_error_is_one_line_without_debug(arguments, run_command, write):
    image = write("image.nii.gz", np.zeros((5, 5, 5), np.float32))
    done = run_command("dipy_nn_reg_apply", image, image, image, *arguments)
    assert done.returncode == 1
    assert ("Traceback" in done.stderr) == bool(arguments)
    if not arguments:
        assert len(done.stderr.strip().splitlines()) == 1
        assert done.stderr.startswith("dipy_nn_reg_apply: Expected")


def test_a_missing_backend_ends_a_command_with_one_line(
    brains, run_command, environment_without, tmp_path
):
    env = environment_without({"tensorflow", "jax", "torch"}, KERAS_BACKEND="jax")
    done = run_command("dipy_nn_reg_register", *brains[:2], cwd=tmp_path, env=env)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "Run pip install jax, or set" in done.stderr.splitlines()[-1]


def test_error_of_another_kind_is_named(monkeypatch, capsys):
    def run(*args, **options):
        raise KeyError("this")

    monkeypatch.setattr("dipy.workflows.flow_runner.run_flow", run)
    monkeypatch.setattr(sys, "argv", ["dipy_nn_reg_fit"])
    with pytest.raises(SystemExit, match=r"_fit: KeyError: 'this' \(--debug"):
        cli.run()


def test_pattern_without_files_is_an_error(run_command, tmp_path):
    (tmp_path / "x.keras").touch()
    done = run_command(
        "dipy_nn_reg_predict", "s*.nii", "m*.nii", "x.keras", cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "dipy_nn_reg_predict: File not found: s*.nii"


def test_control_characters_of_file_names_are_escaped(run_command, tmp_path):
    done = run_command("dipy_nn_reg_fit", "no\x1b[2J\nsuch", cwd=tmp_path)
    assert done.stderr == "dipy_nn_reg_fit: File not found: no\\x1b[2J such\n"


@pytest.fixture
def start(tmp_path):
    """Return a starter of a command that runs for a while."""

    def start(name, *options, ignored=()):
        command = [Path(sys.executable).with_name(name), *map(str, options)]
        # Where the tests run in the background, SIGINT is ignored in what they start.
        numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

        def reset():
            for number in numbers:
                handler = signal.SIG_IGN if number in ignored else signal.SIG_DFL
                signal.signal(number, handler)

        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
            preexec_fn=reset,
        )
        started.append(process)
        return process

    started = []
    (tmp_path / "tmp").mkdir()
    yield start
    for process in started:  # One that still runs would disturb other tests.
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("number", "status", "told"),
    [
        (signal.SIGINT, 1, "dipy_nn_reg_fit: interrupted\n"),
        pytest.param(
            signal.SIGTERM, 143, "dipy_nn_reg_fit: terminated\n", marks=pytest.mark.slow
        ),
    ],
)
def test_signals_leave_whole_files_and_one_line(
    number, status, told, start, brains, tmp_path
):
    options = ["--epochs", 10000, "--out_dir", "out", "--network", "voxelmorph1"]
    process = start("dipy_nn_reg_fit", *brains, *options)
    while "Epoch 3" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (status, told)
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {"model.keras", "history.csv"}
    assert list((tmp_path / "tmp").iterdir()) == []


CLEANING = """
import atexit, sys, time
from dipy.workflows import flow_runner
from dipy_nn_reg.workflows import cli

def run(*args, **options):
    try:
        print("working", flush=True)
        time.sleep(60)
    finally:
        {in_flow}

def clean():
    print("cleaning", flush=True)
    time.sleep(60)

atexit.register({at_exit})
flow_runner.run_flow = run
sys.argv = ["dipy_nn_reg_fit"]
cli.run()
"""


@pytest.mark.parametrize(
    ("first", "second", "status", "told"),
    [
        (signal.SIGINT, signal.SIGINT, 1, "dipy_nn_reg_fit: interrupted\n"),
        (signal.SIGTERM, signal.SIGINT, 143, "dipy_nn_reg_fit: terminated\n"),
    ],
)
@pytest.mark.parametrize("where", ["in_flow", "at_exit"])
def test_a_second_signal_ends_cleaning_up_quietly(
    where, first, second, status, told, start
):
    calls = {"in_flow": "pass", "at_exit": "print"}
    calls[where] = "clean()" if where == "in_flow" else "clean"
    process = start("python", "-c", CLEANING.format(**calls))
    for number, line in ((first, "working"), (second, "cleaning")):
        while process.stdout.readline() != f"{line}\n":
            assert process.poll() is None
        process.send_signal(number)
    _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (status, told)


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.3, 1.8])
def test_signal_during_imports_is_an_interruption(delay, start, brains, tmp_path):
    """TensorFlow sometimes raises another exception then."""
    process = start("dipy_nn_reg_register", *brains[:2], "--out_dir", "out")
    folder = tmp_path / "out"
    while not folder.exists():  # The command then begins its imports.
        assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(delay)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (1, "dipy_nn_reg_register: interrupted\n")
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_hangup_is_ignored_under_nohup(start, brains, tmp_path):
    options = [*brains[:2], "--out_dir", "out", "--no_report", "--level_iters", 1]
    ignored = [signal.SIGHUP]
    process = start("dipy_nn_reg_register", *options, ignored=ignored)
    while not (tmp_path / "out").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGHUP)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 0, error


@pytest.fixture
def handlers():
    """Restore the handlers of signals, which a command that ends replaces."""
    before = {number: signal.getsignal(number) for number in signals.ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_error_after_a_signal_is_an_interruption(monkeypatch, handlers):
    def run(*args, **options):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise AttributeError("'TensorSpec' object has no attribute") from None

    monkeypatch.setattr("dipy.workflows.flow_runner.run_flow", run)
    monkeypatch.setattr(sys, "argv", ["dipy_nn_reg_fit"])
    with pytest.raises(SystemExit) as caught:
        cli.run()
    assert caught.value.code == 143
    assert signals.first() == signal.SIGTERM
