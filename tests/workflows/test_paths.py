from pathlib import Path

from dipy.workflows.workflow import Workflow
import pytest

from dipy_nn_reg.workflows.paths import find_inputs, pair_inputs, plan_outputs


@pytest.fixture
def folder(tmp_path):
    for name in ("a/t1.nii.gz", "b/t1.nii.gz", "b/t2.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_paths_patterns_folders_and_lists_name_files(folder):
    t1, t2 = folder / "b" / "t1.nii.gz", folder / "b" / "t2.nii.gz"
    assert find_inputs(str(t1)) == [t1]
    assert find_inputs(str(folder / "b" / "t*.gz")) == [t1, t2]
    assert find_inputs(folder / "b") == [t1, t2]
    assert find_inputs([str(t2), str(t1)]) == [t2, t1]
    with pytest.raises(OSError, match=r"not found.*t9\*"):
        find_inputs(str(folder / "t9*"))


def test_images_are_paired_one_by_one_or_all_with_all():
    assert pair_inputs(["s"], ["a", "b"]) == [["s", "s"], ["a", "b"]]
    assert pair_inputs(["s", "t"], ["a", "b"]) == [["s", "t"], ["a", "b"]]
    static, moving = pair_inputs(["s", "t"], ["a", "b"], all_pairs=True)
    assert list(zip(static, moving)) == [
        ("s", "a"),
        ("s", "b"),
        ("t", "a"),
        ("t", "b"),
    ]
    with pytest.raises(ValueError, match="2 static and 3 moving"):
        pair_inputs(["s", "t"], ["a", "b", "c"])


def test_outputs_are_distinct(folder, tmp_path):
    static, moving = pair_inputs(
        [folder / "a/t1.nii.gz", folder / "b/t1.nii.gz", folder / "b/t2.nii.gz"],
        [folder / "a/t1.nii.gz", folder / "b/t1.nii.gz", folder / "b/t2.nii.gz"],
        all_pairs=True,
    )
    sets = plan_outputs(
        Workflow(), [static, moving], tmp_path / "out", {"out": "x.nii"}
    )
    names = {one["out"].name for one in sets}
    assert len(names) == 9
    assert "a_t1_b_t2__x.nii" in names
    assert (tmp_path / "out").is_dir()


def test_a_single_set_has_the_names_as_given(folder, tmp_path):
    flow, inputs = Workflow(), [[folder / "a/t1.nii.gz"]]
    assert plan_outputs(flow, inputs, tmp_path, {"out": "x.nii"}) == [
        {"out": tmp_path / "x.nii"}
    ]
    flow = Workflow(mix_names=True, output_strategy="append")
    assert plan_outputs(flow, inputs, "sub", {"out": "x.nii"}) == [
        {"out": folder / "a" / "sub" / "t1__x.nii"}
    ]


def test_nothing_that_is_there_is_lost(folder, tmp_path):
    inputs = [[folder / "a/t1.nii.gz"]]
    (tmp_path / "x.nii").touch()
    with pytest.raises(FileExistsError, match=r"--force.*x\.nii"):
        plan_outputs(Workflow(), inputs, tmp_path, {"out": "x.nii"})
    assert plan_outputs(Workflow(force=True), inputs, tmp_path, {"out": "x.nii"})
    for kept in (inputs[0], [tmp_path / "x.nii"]):
        with pytest.raises(ValueError, match="another output than the input"):
            plan_outputs(
                Workflow(force=True),
                inputs,
                kept[0].parent,
                {"out": kept[0].name},
                kept=kept,
            )


def test_a_folder_that_cannot_be_written_to_is_refused(folder, tmp_path, monkeypatch):
    # The superuser can write anywhere.
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "locked")
    with pytest.raises(PermissionError, match="can be written to.*locked"):
        plan_outputs(
            Workflow(), [[folder / "a/t1.nii.gz"]], tmp_path / "locked", {"out": "x"}
        )
