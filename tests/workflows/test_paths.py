from pathlib import Path

from dipy.workflows.workflow import Workflow
import pytest

from dipy_nn_reg.workflows.paths import (
    find_fields,
    find_input,
    find_inputs,
    find_model,
    pair_inputs,
    plan_outputs,
)


@pytest.fixture
def folder(tmp_path):
    for name in ("a/t1.nii.gz", "b/t1.nii.gz", "b/t2.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_inputs_may_be_paths_patterns_folders_and_lists(folder):
    t1, t2 = folder / "b" / "t1.nii.gz", folder / "b" / "t2.nii.gz"
    assert find_inputs(str(t1)) == [t1]
    assert find_inputs(str(folder / "b" / "t*.gz")) == [t1, t2]
    assert find_inputs(folder / "b") == [t1, t2]
    assert find_inputs([str(t2), str(t1)]) == [t2, t1]
    with pytest.raises(OSError, match=r"File not found.*t9\*"):
        find_inputs(str(folder / "t9*"))


@pytest.mark.parametrize(
    "name",
    ["scan[1].nii.gz", "what?.nii.gz", "a*.nii.gz", "a b é.nii.gz", "[!x]/a.nii"],
)
def test_existing_paths_are_not_read_as_patterns(name, tmp_path):
    others = ("scan1.nii.gz", "whata.nii.gz", "ab.nii.gz", "b/a.nii", "a1 b é.nii.gz")
    for other in (name, *others):
        (tmp_path / other).parent.mkdir(exist_ok=True)
        (tmp_path / other).touch()
    assert find_inputs(str(tmp_path / name)) == [tmp_path / name]
    assert find_input("mask_file", tmp_path / name) == tmp_path / name


def test_existing_folders_are_not_read_as_patterns(tmp_path, monkeypatch):
    for folder in ("data[1]", "data1"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "s1.nii").touch()
    expected = Path("data[1]", "s1.nii")
    assert find_inputs(tmp_path / "data[1]" / "s*") == [tmp_path / expected]
    monkeypatch.chdir(tmp_path)
    assert find_inputs("data[1]/s?.nii") == [expected]
    assert find_inputs("d*[1]/s?.nii") == [Path("data1", "s1.nii")]


def test_hidden_files_are_found_only_by_their_path(folder):
    hidden = folder / "b" / ".dipy_nn_reg-0-1-2.nii.gz"
    hidden.touch()
    (folder / "b" / "deeper").mkdir()
    visible = [folder / "b" / "t1.nii.gz", folder / "b" / "t2.nii.gz"]
    assert find_inputs(folder / "b") == visible
    assert find_inputs(folder / "b" / "*") == visible
    assert find_inputs(hidden) == [hidden]
    with pytest.raises(FileNotFoundError):
        find_inputs(folder / "b" / ".*")


def test_broken_links_are_an_error(tmp_path):
    (tmp_path / "a.nii.gz").symlink_to("annex")
    with pytest.raises(FileNotFoundError, match="a link that leads nowhere"):
        find_inputs(tmp_path / "a.nii.gz")


def test_several_files_for_one_option_are_refused(folder):
    assert find_input("mask_file", folder / "a" / "*") == folder / "a" / "t1.nii.gz"
    with pytest.raises(ValueError, match=r"one file for mask_file.*which names 2"):
        find_input("mask_file", folder / "b" / "*")


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


def test_no_fields_are_not_absolute(folder):
    assert find_fields(None, 2, absolute=False) == [None, None]
    path = folder / "b" / "t1.nii.gz"
    assert find_fields(path, 1, absolute=True) == [path]
    with pytest.raises(ValueError, match="field_files with absolute"):
        find_fields(None, 1, absolute=True)


def test_outputs_of_all_pairs_are_distinct(folder, tmp_path):
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


def test_a_single_set_has_no_prefix(folder, tmp_path):
    flow, inputs = Workflow(), [[folder / "a/t1.nii.gz"]]
    assert plan_outputs(flow, inputs, tmp_path, {"out": "x.nii"}) == [
        {"out": tmp_path / "x.nii"}
    ]
    flow = Workflow(mix_names=True, output_strategy="append")
    assert plan_outputs(flow, inputs, "sub", {"out": "x.nii"}) == [
        {"out": folder / "a" / "sub" / "t1__x.nii"}
    ]


def test_earlier_results_and_inputs_are_not_replaced(folder, tmp_path):
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


def test_unwritable_folders_are_refused(folder, tmp_path, monkeypatch):
    # The superuser can write anywhere.
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "locked")
    with pytest.raises(PermissionError, match="can be written to.*locked"):
        plan_outputs(
            Workflow(), [[folder / "a/t1.nii.gz"]], tmp_path / "locked", {"out": "x"}
        )


def test_prefixes_are_put_before_file_names(folder, tmp_path):
    inputs = [[folder / "b/t1.nii.gz", folder / "b/t2.nii.gz"]]
    names = {"out": "deep/x.nii", "other": str(tmp_path / "far" / "y.nii")}
    first, _ = plan_outputs(Workflow(), inputs, tmp_path / "out", names)
    assert first == {
        "out": tmp_path / "out" / "deep" / "t1__x.nii",
        "other": tmp_path / "far" / "t1__y.nii",
    }


def test_an_empty_folder_is_an_error(tmp_path):
    (tmp_path / ".hidden").write_text("")
    with pytest.raises(FileNotFoundError, match=f"No files in the folder: {tmp_path}"):
        find_inputs(tmp_path)


def test_a_model_is_a_file_or_the_pretrained_one(folder):
    assert find_model("pretrained") == "pretrained"
    path = folder / "a" / "t1.nii.gz"
    assert find_model(str(path)) == path
    with pytest.raises(OSError, match="File not found.*trained"):
        find_model(folder / "trained")
