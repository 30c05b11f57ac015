import pytest

from dipy_nn_reg.files import whole_file


def test_a_complete_file_takes_its_name(tmp_path):
    path = tmp_path / "a.weights.h5"
    path.write_text("old")
    with whole_file(path) as partial:
        assert partial.name.endswith(".weights.h5")
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interruption_leaves_the_old_file_alone(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), whole_file(path) as partial:
        partial.write_text("ne")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
