"""Files of a training are found from options and from tables."""

import pytest

from dipy_nn_reg.workflows.training_files import find_training_files


@pytest.fixture
def files(tmp_path):
    """Return a folder with four empty files."""
    for name in ("a.nii", "b.nii", "la.nii", "lb.nii"):
        (tmp_path / name).touch()
    return tmp_path


def table(folder, *lines):
    path = folder / "pairs.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_images_are_named_by_their_options(files):
    found = find_training_files(
        [files / "a.nii"], {"static": files / "b.nii", "moving_labels": None}
    )
    assert found == {"moving": [files / "a.nii"], "static": [files / "b.nii"]}


def test_a_table_names_pairs_and_their_labels(files):
    path = table(
        files,
        "static,moving,static_labels,moving_labels",
        "a.nii,b.nii,la.nii,lb.nii",
        "b.nii,a.nii,lb.nii,la.nii",
    )
    found = find_training_files(str(path), {"validation": files / "b.nii"})
    assert {n: [p.name for p in paths] for n, paths in found.items()} == {
        "moving": ["b.nii", "a.nii"],
        "static": ["a.nii", "b.nii"],
        "moving_labels": ["lb.nii", "la.nii"],
        "static_labels": ["la.nii", "lb.nii"],
        "validation": ["b.nii"],
    }


def test_tables_that_do_not_fit_are_refused(files):
    lines = "static,moving,static_labels", "a.nii,b.nii,la.nii", "b.nii,a.nii,"
    path = table(files, *lines)
    with pytest.raises(ValueError, match="no static_labels in row 3"):
        find_training_files(path, {})
    with pytest.raises(ValueError, match="a table of pairs alone.*and .'static'"):
        find_training_files(path, {"static": files / "a.nii"})
    with pytest.raises(ValueError, match="a table of pairs alone.*and 2 files"):
        find_training_files([path, files / "a.nii"], {})
    with pytest.raises(FileNotFoundError, match="no.nii"):
        find_training_files(table(files, "static,moving", "no.nii,a.nii"), {})
