"""Training on MNIST, and comparison with SyN, from the command line."""

import csv
import os
from pathlib import Path
import signal
import subprocess
import sys

from matplotlib.figure import Figure
import numpy as np
import pytest

from dipy_nn_reg import DeformableRegistration
from dipy_nn_reg.data import mnist
from dipy_nn_reg.workflows import cli
from dipy_nn_reg.workflows.mnist import MnistFlow

builtin_open = open
COMMAND = Path(sys.executable).with_name("dipy_nn_reg_mnist")
OUTPUTS = {"model.keras", "metrics.csv", "registration.png", "history.png"}


@pytest.fixture(scope="module")
def write_parts(write_idx):
    """Return a writer of the four files of MNIST."""

    def write(folder, train, test):
        for part, (images, labels) in (("train", train), ("t10k", test)):
            write_idx(folder / f"{part}-images-idx3-ubyte", images)
            write_idx(folder / f"{part}-labels-idx1-ubyte", labels)

    return write


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_parts):
    """Return a folder of IDX files with a few digits, made of the bundled ones."""
    folder = tmp_path_factory.mktemp("mnist")
    write_parts(folder, *mnist._from_bundle(reason="a test"))
    return folder


def run_command(*arguments, folder=None):
    environment = dict(os.environ)
    environment.pop(mnist.MNIST_VARIABLE, None)
    if folder:
        environment[mnist.MNIST_VARIABLE] = str(folder)
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )


OPTIONS = ("--digit", 3, "--epochs", 2, "--syn_pairs", 2)


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    """Return what a command printed, and the folder of its results."""
    out = tmp_path_factory.mktemp("results") / "new"
    done = run_command(*OPTIONS, "--out_dir", out, folder=folder)
    assert done.returncode == 0, done.stderr
    return done, out


def test_command_trains_compares_and_writes_its_results(finished):
    done, out = finished
    assert {path.name for path in out.iterdir()} == OUTPUTS
    with open(out / "metrics.csv", newline="") as file:
        table = {row["method"]: row for row in csv.DictReader(file)}
    for name in ("before", "dipy_nn_reg", "SyN (SSD)", "SyN (CC)"):
        assert 0 < float(table[name]["ncc"]) < 1
        assert name in done.stdout
    assert float(table["dipy_nn_reg"]["ncc"]) > float(table["before"]["ncc"])
    assert DeformableRegistration.load(out / "model.keras")
    for name in ("registration.png", "history.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_results_are_overwritten_only_with_force(finished, folder):
    _, out = finished
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    again = run_command(*OPTIONS, "--out_dir", out, folder=folder)
    assert again.returncode == 1
    assert "--force" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


@pytest.mark.slow
def test_force_overwrites(folder, tmp_path):
    (tmp_path / "metrics.csv").write_text("old")
    options = ("--epochs", 1, "--syn_pairs", 1, "--out_dir", tmp_path, "--force")
    done = run_command("--digit", 1, "--folder", folder, *options)
    assert done.returncode == 0, done.stderr
    assert "SyN" in (tmp_path / "metrics.csv").read_text()


@pytest.mark.slow
def test_interruption_of_the_training_leaves_nothing(folder, tmp_path):
    process = subprocess.Popen(
        [COMMAND, "--epochs", "100000", "--folder", folder, "--out_dir", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        # Where the tests run in the background, the signal is ignored, and Python
        # leaves it so in what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while "Epoch 2" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["table", "last figure"])
def test_interruption_while_writing_leaves_nothing(
    broken, folder, tmp_path, monkeypatch
):
    """The results appear together, or not at all."""
    figures = []

    def save_figure(self, path, **options):
        figures.append(path)
        if broken == "last figure" and len(figures) == 2:
            Path(path).write_bytes(b"half a file")
            raise KeyboardInterrupt
        return save(self, path, **options)

    def open_file(path, *args, **kwargs):
        if broken == "table" and str(path).endswith(".csv"):
            Path(path).write_bytes(b"half a file")
            raise KeyboardInterrupt
        return builtin_open(path, *args, **kwargs)

    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", save_figure)
    monkeypatch.setattr("builtins.open", open_file)
    flow = MnistFlow()
    with pytest.raises(KeyboardInterrupt):
        flow.run(epochs=1, syn_pairs=1, folder=str(folder), out_dir=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--digit", 12), "digit to be an integer >= 0 and <= 9. Received 12."),
        (("--epochs", 0), "epochs to be an integer >= 1. Received 0."),
        (("--syn_pairs", 0), "syn_pairs to be an integer >= 1. Received 0."),
        (("--folder", "/nowhere"), "'/nowhere', which has none of them."),
        (
            ("--out_model", "m.h5"),
            "out_model to end with '.keras'. Received 'm.h5'.",
        ),
        (("--out_figure", "a.xyz"), "or '.svg'. Received 'a.xyz'."),
    ],
)
def test_mistake_is_reported_in_one_line(
    arguments, message, folder, tmp_path, monkeypatch, capfd
):
    out = tmp_path / "results"
    command = [COMMAND, *arguments, "--out_dir", out]
    monkeypatch.setattr(sys, "argv", list(map(str, command)))
    monkeypatch.setenv(mnist.MNIST_VARIABLE, str(folder))
    with pytest.raises(SystemExit) as error:
        cli.run()
    (line,) = error.value.code.splitlines()  # Python adds it to standard error
    assert line.startswith("dipy_nn_reg_mnist: Expected")
    assert line.endswith(message)
    assert capfd.readouterr().err == ""
    assert not out.exists()


def test_too_few_images_are_refused(tmp_path, write_parts):
    few = np.zeros((39, 28, 28)), np.full(39, 7)
    write_parts(tmp_path, few, few)
    with pytest.raises(ValueError, match="40 training images.*Received 39 and 39"):
        MnistFlow().run(folder=str(tmp_path), out_dir=str(tmp_path / "results"))
    assert not (tmp_path / "results").exists()
