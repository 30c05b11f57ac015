import gc
import os
import subprocess
import sys
import weakref

import pytest

from dipy_nn_reg import quiet


def test_output_of_libraries_is_hidden_and_errors_are_raised(capfd):
    with quiet.silent_standard_error():
        subprocess.run([sys.executable, "-c", "import os; os.write(2, b'noise')"])
    with pytest.raises(ImportError, match="no such"):
        with quiet.silent_standard_error():
            raise ImportError("no such")
    subprocess.run([sys.executable, "-c", "import os; os.write(2, b'said')"])
    assert capfd.readouterr().err == "said"


@pytest.mark.parametrize(("level", "is_silent"), [(None, True), ("0", False)])
def test_a_program_of_the_user_is_silent_unless_it_asks(level, is_silent, monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    if level is not None:
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
    code = """
import os
from dipy_nn_reg import register
import keras
os.write(1, keras.backend.backend().encode())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if is_silent or done.stdout == "tensorflow":  # the others say nothing anyway
        assert (done.stderr == "") == is_silent


def test_keras_is_imported():
    quiet.import_keras()
    assert "keras" in sys.modules


class Node:
    """An object that is garbage only as a part of a cycle."""

    def __init__(self):
        self.itself = self


@pytest.mark.parametrize("is_enabled", [True, False])
def test_garbage_is_not_looked_for_during_the_import(is_enabled):
    """The collector is as it was afterwards; what was garbage before is freed."""
    collected = []
    gc.callbacks.append(lambda phase, info: collected.append(phase))
    was_enabled = gc.isenabled()
    (gc.enable if is_enabled else gc.disable)()
    before = weakref.ref(Node())
    try:
        with quiet._uncollected():
            assert before() is None
            collected.clear()
            made = [Node() for _ in range(10_000)]
        assert collected == []
        assert gc.get_freeze_count() >= len(made)
        assert gc.isenabled() == is_enabled
    finally:
        gc.callbacks.pop()
        gc.unfreeze()
        (gc.enable if was_enabled else gc.disable)()


@pytest.fixture
def not_needed(tmp_path, monkeypatch):
    """As far as DIPY and Keras know, these packages are installed."""
    for name in ("pandas", "pytest", "sklearn"):
        (tmp_path / f"{name}.py").write_text("value = 1")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)


@pytest.mark.usefixtures("not_needed")
def test_packages_that_no_command_needs_are_not_imported_with_keras():
    code = """
import sys
from dipy_nn_reg import quiet
quiet.import_keras()
print("pandas" in sys.modules, "sklearn" in sys.modules)
import pandas, sklearn
print(pandas.value, sklearn.value)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "False False\n1 1\n"


@pytest.mark.usefixtures("not_needed")
def test_packages_that_no_command_needs_are_not_imported_with_dipy():
    code = """
import sys
from dipy_nn_reg.workflows import cli
sys.argv = ["dipy_nn_reg_apply", "--help"]
try:
    cli.run()
except SystemExit:
    print("pandas" in sys.modules, "pytest" in sys.modules)
import pandas, pytest
print(pandas.value, pytest.value)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "usage: dipy_nn_reg_apply" in done.stdout
    assert done.stdout.endswith("False False\n1 1\n")


def test_import_in_a_thread_is_silent_and_others_are_heard():
    code = """
import os, sys, time
from dipy_nn_reg import quiet
from dipy_nn_reg.workflows import streams
streams.open_streams()
def work():
    with quiet.silent_standard_error():
        os.write(2, b"noise"); time.sleep(0.3); os.write(2, b"noise")
quiet._import = work
quiet.start_import_of_keras()
time.sleep(0.15)
print("heard", file=sys.stderr)
quiet.import_keras()
os.write(2, b"said")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "heard\nsaid"


def test_error_of_the_import_reaches_the_caller(monkeypatch):
    def fail():
        raise ImportError("no such")

    monkeypatch.setattr(quiet, "_import", fail)
    quiet.start_import_of_keras.cache_clear()
    try:
        quiet.start_import_of_keras()
        with pytest.raises(ImportError, match="no such"):
            quiet.import_keras()
    finally:
        quiet.start_import_of_keras.cache_clear()


def test_an_import_that_waits_forever_does_not_hold_up_the_end():
    code = """
import atexit, time
from dipy_nn_reg import quiet
quiet._import = lambda: time.sleep(60)
quiet.start_import_of_keras()
atexit.register(print, "cleaned", flush=True)
print("said")
quiet.leave(3)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (3, "said\ncleaned\n")
