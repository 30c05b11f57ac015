import errno
import os
import signal

import pytest

from dipy_nn_reg.io import atomic
from dipy_nn_reg.io.atomic import whole_file, whole_files


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_complete_file_gets_its_final_name(tmp_path):
    path = tmp_path / "a.weights.h5"
    path.write_text("old")
    with whole_file(path) as partial:
        assert partial.name.endswith(".weights.h5")
        assert partial.name.startswith(".")
        partial.write_text("new")
        assert path.read_text() == "old"
    assert contents(tmp_path) == {"a.weights.h5": "new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interruption_keeps_the_old_file(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), whole_file(path) as partial:
        partial.write_text("ne")
        raise error
    assert contents(tmp_path) == {"a.txt": "old"}


def test_a_name_of_255_bytes_can_be_written(tmp_path):
    path = tmp_path / ("é" * 124 + ".nii.gz")  # 255 bytes
    with whole_file(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"


def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with whole_file(tmp_path / "a.txt") as partial:
            partial.touch()
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_two_writers_of_one_name_use_separate_temporary_files(tmp_path):
    """For example two processes of the same number in two containers."""
    with whole_file(tmp_path / "a.txt") as one:
        one.write_text("a long text")
        with whole_file(tmp_path / "a.txt") as other:
            other.write_text("short")
        assert (tmp_path / "a.txt").read_text() == "short"
    assert contents(tmp_path) == {"a.txt": "a long text"}


@pytest.fixture
def earlier(tmp_path):
    """Return paths of three existing files."""
    paths = {name: tmp_path / f"{name}.txt" for name in "abc"}
    for path in paths.values():
        path.write_text("old")
    return paths


def test_several_files_get_their_final_names_together(tmp_path, earlier):
    with whole_files(earlier, optional=("c",)) as partials:
        for name in "ab":
            partials[name].write_text("new")
            assert earlier[name].read_text() == "old"
    assert contents(tmp_path) == {"a.txt": "new", "b.txt": "new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interruption_keeps_all_old_files(tmp_path, earlier, error):
    with pytest.raises(error), whole_files(earlier, optional=("c",)) as partials:
        partials["a"].write_text("new")
        raise error
    assert contents(tmp_path) == dict.fromkeys(("a.txt", "b.txt", "c.txt"), "old")


def test_an_unwritten_file_is_an_error(tmp_path, earlier):
    with pytest.raises(FileNotFoundError), whole_files(earlier) as partials:
        for name in "ab":
            partials[name].write_text("new")
    assert contents(tmp_path) == dict.fromkeys(("a.txt", "b.txt", "c.txt"), "old")


@pytest.mark.parametrize("existing", [True, False])
def test_a_failed_move_undoes_earlier_moves(tmp_path, earlier, existing, monkeypatch):
    """For example when another program holds a file open on Windows."""
    if not existing:
        for path in earlier.values():
            path.unlink()
    replace = os.replace

    def fail(source, target):
        if target == earlier["b"] and source.read_text() == "new":
            raise PermissionError(errno.EACCES, "in use", str(source))
        replace(source, target)

    monkeypatch.setattr(atomic.os, "replace", fail)
    with pytest.raises(PermissionError, match=r"in use.*/b\.txt"):
        with whole_files(earlier) as partials:
            for partial in partials.values():
                partial.write_text("new")
    names = ("a.txt", "b.txt", "c.txt") if existing else ()
    assert contents(tmp_path) == dict.fromkeys(names, "old")


def test_a_signal_is_held_back_until_all_files_are_moved(
    tmp_path, earlier, monkeypatch
):
    replace = os.replace

    def interrupted(source, target):
        if target == earlier["b"]:
            signal.raise_signal(signal.SIGINT)
        replace(source, target)

    monkeypatch.setattr(atomic.os, "replace", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), whole_files(earlier) as partials:
            for partial in partials.values():
                partial.write_text("new")
    finally:
        signal.signal(signal.SIGINT, before)
    assert contents(tmp_path) == dict.fromkeys(("a.txt", "b.txt", "c.txt"), "new")


@pytest.mark.parametrize("on_opening", [True, False])
def test_errors_of_a_full_disk_contain_the_final_name(tmp_path, on_opening):
    """On opening the file, and on writing to it."""
    with pytest.raises(OSError, match=r"No space left on device: '.*/a\.txt'"):
        with whole_file(tmp_path / "a.txt") as partial:
            names = [str(partial)] if on_opening else []
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *names)
    with pytest.raises(OSError, match=r"/a\.txt' cannot be written: by the library"):
        with whole_file(tmp_path / "a.txt"):
            raise OSError("by the library")
    with pytest.raises(OSError, match=r"/b\.txt"):
        paths = {"a": tmp_path / "a.txt", "b": tmp_path / "b.txt"}
        with whole_files(paths) as partials, whole_file(partials["b"]):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_link_is_replaced_and_its_target_kept(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    with whole_file(tmp_path / "link") as partial:
        partial.write_text("new")
    assert contents(tmp_path) == {"target": "old", "link": "new"}


def test_a_file_in_place_of_a_folder_is_an_error_with_the_final_name(tmp_path):
    (tmp_path / "plain.txt").write_text("text")
    path = tmp_path / "plain.txt" / "new.txt"
    with pytest.raises(NotADirectoryError, match="new.txt") as error:
        with whole_file(path) as partial:
            partial.write_text("text")
    assert error.value.filename == str(path)
