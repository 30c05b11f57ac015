import os
from pathlib import Path
import subprocess
import sys
import tempfile
import time

import pytest

from dipy_nn_reg import processes
from dipy_nn_reg.io import temporaries
from dipy_nn_reg.io.atomic import whole_file
from dipy_nn_reg.io.temporaries import temporary_folder


@pytest.fixture(autouse=True)
def new_process(monkeypatch):
    """Let this process see each folder for the first time."""
    monkeypatch.setattr(temporaries, "_cleaned", set())


def left_by(process, folder, *, ending=".nii.gz"):
    path = folder / f".dipy_nn_reg-{process}-0123456789abcdef{ending}"
    path.write_text("half")
    return path


def write(folder):
    with whole_file(folder / "a.txt") as partial:
        partial.write_text("new")
    return {path.name for path in folder.iterdir()} - {"a.txt"}


def test_files_of_a_killed_process_are_removed(tmp_path, ended_process):
    for ending in (".nii.gz", ".keras", ""):
        left_by(ended_process, tmp_path, ending=ending)
    (tmp_path / f".dipy_nn_reg-{ended_process}-abc").mkdir()
    assert write(tmp_path) == set()


def test_files_of_other_processes_are_kept(tmp_path):
    others = {
        left_by(processes.name_of(os.getppid()), tmp_path),  # process that is alive
        left_by("00000000-1", tmp_path),  # possibly alive on another host
        tmp_path / ".dipy_nn_reg-notes",
        tmp_path / ".hidden.nii.gz",
    }
    for path in others:
        path.touch()
    assert write(tmp_path) == {path.name for path in others}


def test_old_files_of_another_host_are_removed(tmp_path):
    path = left_by("00000000-1", tmp_path)
    days_ago = time.time() - 2 * 24 * 3600
    os.utime(path, (days_ago, days_ago))
    assert write(tmp_path) == set()


def test_files_of_an_earlier_process_of_this_number_are_removed(tmp_path):
    """In containers, a command often has the same number."""
    left_by(processes.own_name(), tmp_path)
    with whole_file(tmp_path / "b.txt") as partial:
        partial.write_text("b")
        temporaries._cleaned.clear()
        assert write(tmp_path) == {partial.name}
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "b.txt"}


def test_temporary_folders_are_removed_with_their_content(
    tmp_path, monkeypatch, ended_process
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / f".dipy_nn_reg-{ended_process}-abc"
    left.mkdir()
    (left / "moving.npy").touch()
    with temporary_folder() as folder:
        Path(folder, "images.npy").touch()
        assert [p.name for p in tmp_path.iterdir()] == [Path(folder).name]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ["pass", "raise KeyboardInterrupt", "exit(3)"])
def test_files_of_libraries_are_removed_after_their_own_cleaning(ending, tmp_path):
    """Matplotlib removes its own folder at exit if there is no home folder."""
    code = f"""
import atexit, shutil, tempfile
from dipy_nn_reg.io.temporaries import temporary_files_within
try:
    with temporary_files_within():
        atexit.register(shutil.rmtree, tempfile.mkdtemp())
        tempfile.mkdtemp()
        {ending}
except KeyboardInterrupt:
    pass
assert tempfile.tempdir is None
"""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []
