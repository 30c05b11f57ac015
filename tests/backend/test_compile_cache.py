"""Compiled programs on disk, in processes of their own and without TensorFlow."""

from hashlib import sha256
import os
from pathlib import Path
import subprocess
import sys
import time

import pytest

from dipy_nn_reg import processes
from dipy_nn_reg.backend import compile_cache

PROGRAM = """
import numpy as np
from dipy_nn_reg.backend import compiled
from keras import ops
result = compiled(lambda x: ops.sin(x) + ops.cos(x))(np.ones((3, 4), np.float32))
print(np.asarray(result).tobytes().hex())
"""


def run(folder, program=PROGRAM, **variables):
    """Return the output of a new process whose programs are kept in a folder."""
    environment = {**os.environ, compile_cache.VARIABLE: str(folder), **variables}
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process):
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "machine features" not in errors
    return said


def programs(folder):
    return {p for p in Path(folder).glob("*/*") if p.is_file()}


def links(monkeypatch, folder, flags=""):
    """Start the cache without TensorFlow; return the folder of this process."""
    monkeypatch.setenv(compile_cache.VARIABLE, str(folder))
    monkeypatch.setenv("TF_XLA_FLAGS", flags)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.setattr(compile_cache.atexit, "register", lambda *_: None)
    compile_cache.start("tensorflow", "1")
    flags = os.environ["TF_XLA_FLAGS"]
    return Path(flags.split("'")[1]) if "'" in flags else None


def store(folder, name, content, *, age=0):
    """Write a program as the cache stores it, and return its path."""
    path = folder / f"{name}.pb.{sha256(content).hexdigest()}"
    path.write_bytes(content)
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.fixture
def common(monkeypatch, tmp_path):
    """Common folder of the programs of TensorFlow 1 in ``tmp_path``."""
    return links(monkeypatch, tmp_path).parent


def test_whole_programs_are_linked_and_damaged_ones_removed(
    monkeypatch, tmp_path, common
):
    whole = store(common, "whole", b"program")
    damaged = [store(common, name, b"program") for name in ("cut", "other", "empty")]
    for path, content in zip(damaged, (b"prog", b"PROGRAM", b"")):
        path.write_bytes(content)
    (common / "no_checksum").write_bytes(b"program")
    own = links(monkeypatch, tmp_path)
    assert [p.name for p in own.iterdir()] == ["whole.pb"]
    assert (own / "whole.pb").read_bytes() == b"program"
    assert programs(tmp_path) == {whole}


def test_oldest_programs_are_removed(monkeypatch, tmp_path, common):
    monkeypatch.setattr(compile_cache, "MAX_BYTES", 25)
    kept = {store(common, f"p{age}", b"0123456789", age=age) for age in (10, 20)}
    store(common, "p30", b"0123456789", age=30)
    links(monkeypatch, tmp_path)
    assert programs(tmp_path) == kept


def test_folders_left_behind_are_removed(monkeypatch, tmp_path, common, ended_process):
    """A killed process leaves its folder, with all its programs."""
    here, far = processes.name_of(os.getppid()), "00000000-1"
    kept = [common / f"dipy_nn_reg_run_{name}_a" for name in (here, far)]
    left = [common / f"dipy_nn_reg_run_{name}_b" for name in (ended_process, far)]
    for path in [*kept, *left]:
        path.mkdir()
        (path / "program.pb").touch()
    os.utime(left[1], (time.time() - 2 * 24 * 3600,) * 2)
    links(monkeypatch, tmp_path)
    assert [path.exists() for path in [*kept, *left]] == [True, True, False, False]


def test_new_programs_are_published_whole(tmp_path, monkeypatch, common):
    own = links(monkeypatch, tmp_path)
    (own / "known.pb").write_bytes(b"known")
    (own / "new.pb").write_bytes(b"new")
    (own / "new.pb1.tmp").write_bytes(b"half")
    compile_cache._publish(own, common, {"known.pb"}, os.getpid() + 1)
    assert own.exists()  # the end of a fork
    compile_cache._publish(own, common, {"known.pb"}, os.getpid())
    assert not own.exists()
    (path,) = programs(tmp_path)
    assert path.name == f"new.pb.{sha256(b'new').hexdigest()}"


@pytest.mark.parametrize("flags", ["", "--tf_xla_auto_jit=1"])
def test_flags_of_a_user_are_extended(monkeypatch, tmp_path, flags):
    own = links(monkeypatch, tmp_path / "with space", flags)
    assert own.is_dir() and own.is_relative_to(tmp_path / "with space")
    assert os.environ["TF_XLA_FLAGS"].startswith(flags)
    # A process that this one starts has a folder of its own; a forked one has none.
    inherited = os.environ["TF_XLA_FLAGS"]
    other = links(monkeypatch, tmp_path / "with space", inherited)
    assert other != own and os.environ["TF_XLA_FLAGS"].count("directory") == 1
    compile_cache._forget()
    assert os.environ["TF_XLA_FLAGS"] == flags


def test_cache_of_a_user_is_respected(monkeypatch, tmp_path):
    flags = "--tf_xla_persistent_cache_directory=/somewhere"
    links(monkeypatch, tmp_path, flags)
    assert os.environ["TF_XLA_FLAGS"] == flags


def no_folder(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    return tmp_path / "file"


def quote_in_name(monkeypatch, tmp_path):
    return tmp_path / "it's"


def no_room(monkeypatch, tmp_path):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compile_cache.os, "posix_fallocate", refuse, raising=False)
    return tmp_path


def others_write(monkeypatch, tmp_path):
    for folder in (tmp_path, *tmp_path.glob("tensorflow_*")):
        folder.chmod(0o777)
    return tmp_path


@pytest.mark.parametrize("fault", [no_folder, quote_in_name, no_room, others_write])
def test_no_cache_where_none_is_possible(
    monkeypatch, tmp_path, common, fault, dipy_log
):
    before = set(common.iterdir())
    assert links(monkeypatch, fault(monkeypatch, tmp_path)) is None
    assert "are not kept" in dipy_log.text
    assert set(common.iterdir()) == before


def test_cache_is_off(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert links(monkeypatch, "off") is None
    assert list(tmp_path.iterdir()) == []


def test_users_folder_by_default(monkeypatch, tmp_path):
    monkeypatch.setattr(compile_cache, "user_cache_path", lambda name: tmp_path / name)
    own = links(monkeypatch, "")
    assert own.is_relative_to(tmp_path / "dipy_nn_reg")


@pytest.mark.parametrize("name", ["XLA_FLAGS", "cpu_count"])
def test_programs_of_other_machines_are_not_used(monkeypatch, tmp_path, common, name):
    if name == "cpu_count":
        monkeypatch.setattr(os, "cpu_count", lambda: 99)
    else:
        monkeypatch.setenv(name, "--xla_other=1")
    assert links(monkeypatch, tmp_path).parent != common


@pytest.mark.slow
def test_jax_keeps_its_programs(tmp_path):
    pytest.importorskip("jax")
    pytest.importorskip("filelock")
    program = PROGRAM.replace("compiled", "as_one_graph")
    output(run(tmp_path, program, KERAS_BACKEND="jax"))
    assert programs(tmp_path)


@pytest.mark.slow
def test_second_process_compiles_nothing_and_damage_is_mended(tmp_path):
    folder = tmp_path / "with space"
    first = output(run(folder))
    (path,) = programs(folder)
    stored, content = path.stat().st_mtime_ns, path.read_bytes()
    assert output(run(folder)) == first
    assert [p.stat().st_mtime_ns for p in programs(folder)] == [stored]
    middle = len(content) // 2
    flipped = content[:middle] + bytes(b ^ 255 for b in content[middle:])
    for damage in (content[:middle], flipped, b""):
        path.write_bytes(damage)
        assert output(run(folder)) == first
        (path,) = programs(folder)
        assert sha256(path.read_bytes()).hexdigest() == path.suffix[1:]


@pytest.mark.slow
def test_processes_at_once(tmp_path):
    processes = [run(tmp_path) for _ in range(3)]
    (result,) = {output(process) for process in processes}
    assert programs(tmp_path)
    assert not list(tmp_path.glob("*/dipy_nn_reg_run_*"))
    assert output(run(tmp_path)) == result


@pytest.mark.slow
@pytest.mark.parametrize("level, kept", [("1", 0), ("3", 1)])
def test_programs_are_kept_only_if_messages_are_silent(tmp_path, level, kept):
    output(run(tmp_path, TF_CPP_MIN_LOG_LEVEL=level))
    assert len(programs(tmp_path)) == kept


@pytest.mark.slow
@pytest.mark.tensorflow
def test_no_cache_if_tensorflow_was_imported_before(tmp_path, monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    output(run(tmp_path, "import tensorflow\n" + PROGRAM))
    assert not programs(tmp_path)
