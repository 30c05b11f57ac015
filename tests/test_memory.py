import pytest

from dipy_nn_reg import memory
from dipy_nn_reg.memory import check_memory

GIB = 2**30


def test_needs_are_logged_and_too_large_ones_refused(monkeypatch, dipy_log):
    monkeypatch.setattr(memory, "memory_there", lambda: 3 * GIB)
    check_memory(2 * GIB, what="This", advice="")
    check_memory(0.5 * GIB, what="That", advice="")
    levels = [(record.levelname, record.message) for record in dipy_log.records]
    assert levels[0] == ("INFO", "This needs about 2.0 GiB of memory.")
    assert levels[1] == ("DEBUG", "That needs about 0.5 GiB of memory.")
    with pytest.raises(MemoryError, match=r"This .* 4\.0 GiB .* 3\.0 GiB\. Do less\."):
        check_memory(4 * GIB, what="This", advice="Do less.")
    monkeypatch.setattr("dipy_nn_reg.backend.has_gpu", lambda: True)
    check_memory(4 * GIB, what="This", advice="")


def test_the_limit_of_a_container_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    machine = memory.memory_there()
    assert machine > 0
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 50\n")
    assert memory.memory_there() == 350
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.memory_there() > 350


def test_the_fractions_of_labels_are_held_five_times():
    """Both maps, the warped map, and two gradients, in float32."""
    assert memory.size_of_labels((2, 10, 12, 1), 7) == 5 * 4 * 7 * 2 * 10 * 12
