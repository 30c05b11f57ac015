"""Cohorts are registered, gone on with, divided, and shown on a page."""

import csv
import errno
import json
from pathlib import Path
import re
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from dipy_nn_reg import DeformableRegistration, register_cohort
from dipy_nn_reg.cohort import bids, jobs, state
from dipy_nn_reg.cohort.plan import plan_jobs
from dipy_nn_reg.io.fields import load_mapping
from dipy_nn_reg.workflows.cohort import CohortFlow
from dipy_nn_reg.workflows.template import TemplateFlow

QUICK = {"prealign": None, "level_iters": [1, 1], "loss": "ncc"}


@pytest.fixture
def broken(brains):
    """Return the path of an image that is cut short."""
    path = brains[0].parent / "broken.nii"
    nib.save(nib.load(brains[1]), path)
    path.write_bytes(path.read_bytes()[:-500])
    return path


@pytest.fixture
def counted(monkeypatch):
    """Return the names of the pairs that are registered, as they are."""
    names, register = [], jobs._register

    def count(job, options):
        names.append(job.name)
        return register(job, options)

    monkeypatch.setattr(jobs, "_register", count)
    return names


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("field*")}


def test_a_cohort_goes_on_where_it_was_stopped(brains, broken, counted, tmp_path):
    out, moving = tmp_path / "out", [brains[1], broken, brains[2]]
    rows = register_cohort(moving[:2], out, static=brains[0], **QUICK)
    assert [row["status"] for row in rows] == ["done", "failed"]
    assert "cut short" in rows[1]["error"] and float(rows[0]["peak_mib"]) > 10
    assert rows[0]["verdict"] and float(rows[0]["ncc_after"]) > 0
    files = {path.name for path in (out / "brain_1").iterdir()}
    assert files == {"warped.nii.gz", "field.nii.gz", "overview.jpg"}
    before = contents(out)

    rows = register_cohort(moving, out, static=brains[0], **QUICK)
    assert counted == ["brain_1", "broken", "brain_2"]
    assert [row["id"] for row in rows] == ["brain_1", "broken", "brain_2"]
    assert before.items() <= contents(out).items()

    nib.save(nib.load(brains[1]), broken)
    rows = register_cohort(moving, out, static=brains[0], retry_failed=True, **QUICK)
    assert counted[3:] == ["broken"]
    assert {row["status"] for row in rows} == {"done"}
    with open(out / "cohort.tsv", newline="") as file:
        assert [row["id"] for row in csv.DictReader(file, delimiter="\t")] == [
            "brain_1",
            "broken",
            "brain_2",
        ]


def test_the_page_has_pictures_and_reasons(brains, broken, tmp_path):
    register_cohort([*brains[1:3], broken], tmp_path, static=brains[0], **QUICK)
    page = (tmp_path / "cohort.html").read_text()
    assert len(re.findall('<img src="./brain_.*?/overview.jpg"', page)) == 2
    assert "<li>broken: Expected a whole image" in page


def test_parts_are_gathered(brains, counted, tmp_path):
    moving = brains[1:4]
    for part in ((1, 2), (2, 2)):
        rows = register_cohort(moving, tmp_path, static=brains[0], part=part, **QUICK)
    assert len(rows) == 3 and not (tmp_path / "cohort.html").exists()
    assert counted == ["brain_1", "brain_3", "brain_2"]
    rows = register_cohort(moving, tmp_path, static=brains[0], **QUICK)
    assert len(counted) == len(rows) == 3
    assert (tmp_path / "cohort.html").exists()


def test_the_command_counts_the_pairs_of_its_part(brains, broken, tmp_path, dipy_log):
    moving = [str(path) for path in (broken, *brains[1:4])]
    options = {"prealign": "none", "level_iters": [1, 1], "loss": "ncc"}
    options |= {"static_file": str(brains[0]), "out_dir": str(tmp_path / "out")}
    with pytest.raises(ValueError, match="1 of 2 failed. broken"):
        CohortFlow().run(moving, part="1/2", **options)
    CohortFlow().run(moving, part="2/2", **options)
    assert "2 pairs are registered." in dipy_log.text


@pytest.mark.slow
def test_a_full_disk_ends_the_cohort_and_keeps_its_rows(brains, tmp_path, monkeypatch):
    register = jobs._register

    def fail(job, options):
        if job.name == "brain_2":
            raise OSError(errno.ENOSPC, "No space left on device", "field.nii.gz")
        return register(job, options)

    monkeypatch.setattr(jobs, "_register", fail)
    with pytest.raises(OSError, match="No space left"):
        register_cohort(brains[1:4], tmp_path, static=brains[0], **QUICK)
    monkeypatch.undo()
    rows = register_cohort(brains[1:4], tmp_path, static=brains[0], **QUICK)
    assert [row["status"] for row in rows] == ["done"] * 3


@pytest.mark.slow
def test_masks_of_a_table_are_used(brains, write, tmp_path):
    shape = nib.load(brains[1]).shape
    mask = np.zeros(shape, np.uint8)
    mask[: shape[0] // 2] = 1
    write("mask.nii", mask)
    table = brains[0].parent / "pairs.tsv"
    lines = ["moving\tmoving_mask\tid", f"{brains[1].name}\tmask.nii\tmasked"]
    table.write_text("\n".join([*lines, f"{brains[1].name}\t\twhole"]))
    rows = register_cohort(table, tmp_path / "out", static=brains[0], **QUICK)
    assert [row["status"] for row in rows] == ["done", "done"]
    assert rows[0]["loss_after"] != rows[1]["loss_after"]


@pytest.mark.slow
def test_further_images_of_a_table_are_registered(brains, tmp_path):
    table = brains[0].parent / "pairs.csv"
    names = [path.name for path in brains]
    lines = ["moving,moving_2,static_2,id", f"{names[1]},{names[2]},{names[3]},two"]
    table.write_text("\n".join([*lines, f"{names[1]},,,one"]))
    options = {"static": brains[0], "channel_weights": [1, 3], **QUICK}
    rows = register_cohort(table, tmp_path / "out", **options)
    assert [row["status"] for row in rows] == ["done", "failed"]
    assert "channel_weights for each of 1 channels" in rows[1]["error"]
    alone = register_cohort(
        [{"moving": brains[1]}], tmp_path / "alone", static=brains[0], **QUICK
    )
    assert rows[0]["loss_after"] != alone[0]["loss_after"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"los": "mi"}, "an option to be one of .*Received 'los'"),
        ({"loss": "no"}, "loss to be one of"),
        ({"field_format": "no"}, "field_format to be one of"),
        ({"part": (3, 2)}, "part"),
        ({"part": (1,)}, "two integers, such as .*Received part=.1,"),
        ({"part": (1, 2, 3)}, "two integers"),
        ({"part": 3}, "two integers.*Received part=3"),
        ({"part": ("1", 2)}, "part to be an integer"),
        ({"retry_failed": "x"}, "retry_failed"),
        ({"inverse": "x"}, "inverse"),
        ({"reports": 2}, "reports"),
        ({"n_jobs": 0}, "n_jobs"),
        ({"level_iters": [-1]}, "level_iters"),
        ({"fill": np.inf}, "fill"),
        ({"smoothness": -1.0}, "smoothness"),
        ({"voxel_size": 0.0}, "voxel_size"),
        ({"transform": "no"}, "transform to be one of"),
    ],
)
def test_invalid_options_are_refused_before_anything_is_written(
    options, message, brains, tmp_path
):
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=message):
        register_cohort(brains[1:], out, **{"static": brains[0], **QUICK, **options})
    assert not out.exists()


@pytest.mark.parametrize("place", ["file", "file/within"])
def test_results_need_a_folder(place, brains, tmp_path):
    (tmp_path / "file").touch()
    place = tmp_path / place
    with pytest.raises(ValueError, match="out_dir to be a folder. .*file' is none"):
        register_cohort(brains[1:], place, static=brains[0], **QUICK)


def test_other_options_of_an_earlier_run_are_refused(brains, tmp_path):
    register_cohort(brains[1:2], tmp_path, static=brains[0], **QUICK)
    with pytest.raises(ValueError, match="loss='mse'; the earlier run had 'ncc'"):
        register_cohort(
            brains[1:2], tmp_path, static=brains[0], **{**QUICK, "loss": "mse"}
        )
    with pytest.raises(ValueError, match="the images of the earlier run for 'brain_1'"):
        register_cohort(brains[1:2], tmp_path, static=brains[2], **QUICK)


@pytest.mark.parametrize("part", [None, (1, 2)])
def test_options_with_which_all_pairs_failed_can_be_corrected(part, brains, tmp_path):
    pair = {"pairs": brains[1:2], "out_dir": tmp_path, "static": brains[0], **QUICK}
    (row,) = register_cohort(**pair, voxel_size=30, part=part)
    assert "a voxel_size that leaves 5 voxels or more" in row["error"]
    assert "Received voxel_size=30" in row["error"]
    (row,) = register_cohort(**pair, voxel_size=3, part=part)
    assert row["status"] == "done"
    with pytest.raises(ValueError, match="voxel_size=None; the earlier run had 3"):
        register_cohort(**pair, part=part)


def test_options_of_a_run_without_a_row_can_be_corrected(brains, monkeypatch, tmp_path):
    pair = {"pairs": brains[1:2], "out_dir": tmp_path, "static": brains[0], **QUICK}

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dipy_nn_reg.cohort.jobs.attempt", interrupt)
        with pytest.raises(KeyboardInterrupt):
            register_cohort(**pair, voxel_size=30)
    (row,) = register_cohort(**pair)
    assert row["status"] == "done"


def test_another_run_with_other_options_keeps_its_results_apart(
    brains, monkeypatch, tmp_path
):
    """Also if it began while the first one had no row."""
    pair = {"pairs": brains[1:2], "out_dir": tmp_path, "static": brains[0], **QUICK}
    attempt = jobs.attempt

    def begin_another(*arguments):
        monkeypatch.setattr(jobs, "attempt", attempt)
        register_cohort(**{**pair, "loss": "mse"})
        return attempt(*arguments)

    monkeypatch.setattr(jobs, "attempt", begin_another)
    with pytest.raises(ValueError, match="loss='ncc'; the earlier run had 'mse'"):
        register_cohort(**pair)
    assert json.loads((tmp_path / "cohort.json").read_text())["loss"] == "mse"
    (row,) = state.read_rows(tmp_path).values()
    assert row["loss"] == "mse"


def test_defaults_may_be_named(brains, counted, tmp_path):
    pair = {"pairs": brains[1:2], "out_dir": tmp_path, "static": brains[0]}
    quick = {"level_iters": [1, 1], "loss": "ncc"}
    register_cohort(**pair, **quick)
    register_cohort(**pair, **quick, prealign="auto", symmetric=False)
    files = {"static_file": str(brains[0]), "out_dir": str(tmp_path)}
    CohortFlow().run([str(brains[1])], **files, **quick)
    assert counted == ["brain_1"]
    # Without an alignment is something else, although it is None in Python.
    with pytest.raises(ValueError, match="prealign=None; the earlier run had 'auto'"):
        register_cohort(**pair, **quick, prealign=None)


SCRIPT = """
from dipy_nn_reg import register_cohort
{before}
    register_cohort({pairs}, {out!r}, static={static!r}, n_jobs=2, level_iters=[1],
                    loss="ncc", prealign=None)
"""


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_what_it_lacks(brains, tmp_path):
    out, script = tmp_path / "out", tmp_path / "script.py"
    paths = {"pairs": [str(brains[1])], "static": str(brains[0]), "out": str(out)}

    def run(before):
        script.write_text(SCRIPT.format(before=before, **paths))
        command = [sys.executable, str(script)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    done = run("if True:")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("RuntimeError:") and 'if __name__ == "__main__":' in last
    assert "memory" not in done.stderr
    assert not state.read_rows(out)
    done = run('if __name__ == "__main__":')
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in state.read_rows(out).values()] == ["done"]


def test_no_input_is_replaced(brains, tmp_path):
    folder = tmp_path / "brain_1"
    folder.mkdir()
    nib.save(nib.load(brains[0]), folder / "warped.nii.gz")
    with pytest.raises(ValueError, match="another output than the input"):
        register_cohort(brains[1:2], tmp_path, static=folder / "warped.nii.gz", **QUICK)


@pytest.fixture
def dataset(brains, tmp_path):
    root = tmp_path / "bids"
    for person, path in zip("12", brains[1:]):
        folder = root / f"sub-0{person}" / "anat"
        folder.mkdir(parents=True)
        nib.save(nib.load(path), folder / f"sub-0{person}_T1w.nii.gz")
    (root / bids.DESCRIPTION).write_text(
        json.dumps({"Name": "a", "BIDSVersion": "1.8.0"})
    )
    return root


def test_a_dataset_in_bids_gives_derivatives(dataset, brains, tmp_path):
    pytest.importorskip("bids2table")
    out = tmp_path / "derivatives"
    rows = register_cohort(
        dataset, out, static=brains[0], space="Mine", inverse=True, **QUICK
    )
    assert [row["id"] for row in rows] == ["sub-01_T1w", "sub-02_T1w"]
    assert json.loads((out / bids.DESCRIPTION).read_text())["GeneratedBy"]
    anat = out / "sub-02" / "anat"
    mapping = load_mapping(anat / "sub-02_from-T1w_to-Mine_mode-image_xfm.h5")
    warped = mapping.transform(nib.load(brains[2]).get_fdata())
    expected = nib.load(anat / "sub-02_space-Mine_desc-preproc_T1w.nii.gz").get_fdata()
    inner = (slice(3, -3),) * 3
    assert np.abs(warped - expected)[inner].max() < 1e-3
    assert (anat / "sub-02_from-Mine_to-T1w_mode-image_xfm.h5").exists()
    assert (out / "sub-02/figures/sub-02_space-Mine_desc-reg_T1w.jpg").exists()


@pytest.mark.parametrize("name", ["bids", "./bids", "../{name}/bids", "link"])
def test_a_dataset_is_found_by_any_path(name, dataset, brains, tmp_path, monkeypatch):
    pytest.importorskip("bids2table")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(dataset, target_is_directory=True)
    jobs, _ = plan_jobs(
        Path(name.format(name=tmp_path.name)),
        tmp_path / "out",
        static=brains[0],
        of_dataset={"suffix": "T1w", "participants": (), "space": None},
    )
    assert [job.files["moving"].exists() for job in jobs] == [True, True]
    folders = [job.outputs["out_field"].parent for job in jobs]
    assert folders == [tmp_path / "out" / f"sub-0{i}" / "anat" for i in (1, 2)]


@pytest.mark.parametrize(
    "option", [{"suffix": "FLAIR"}, {"participants": ["01"]}, {"space": "Mine"}]
)
def test_options_of_datasets_are_not_for_other_pairs(option, brains, tmp_path):
    ((name, value),) = option.items()
    value = re.escape(repr(value))
    with pytest.raises(ValueError, match=f"a folder in BIDS with.*{name}={value} with"):
        register_cohort(brains[1:2], tmp_path / "out", static=brains[0], **option)
    assert not (tmp_path / "out").exists()


def test_folders_have_to_be_in_bids(brains, tmp_path):
    with pytest.raises(ValueError, match="a folder in BIDS, with dataset_description"):
        register_cohort(brains[0].parent, tmp_path / "out", static=brains[0])


def test_the_command_says_what_failed(brains, broken, tmp_path):
    options = {"prealign": "none", "level_iters": [1, 1], "loss": "ncc"}
    run = CohortFlow().run
    moving = [str(path) for path in (*brains[1:3], broken)]
    with pytest.raises(ValueError, match="1 of 3 failed. broken: Expected a whole"):
        run(moving, static_file=str(brains[0]), out_dir=str(tmp_path / "o"), **options)
    table = tmp_path / "pairs.csv"
    table.write_text(f"static,moving\n{brains[0]},{brains[1]}\n")
    run([str(table)], part="1/1", out_dir=str(tmp_path / "p"), **options)
    assert (tmp_path / "p" / "cohort_part-1-of-1.tsv").exists()


@pytest.mark.parametrize("flow", [CohortFlow, TemplateFlow])
def test_results_are_not_replaced_by_force(flow, brains, tmp_path):
    with pytest.raises(ValueError, match="Expected no --force: the same command again"):
        flow(force=True).run([str(brains[1])], out_dir=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", ["3", "3/2", "0/2", "a/b", "1/2/3"])
def test_parts_of_the_command_are_checked(part, brains, tmp_path):
    with pytest.raises(
        ValueError, match=f"a part such as 3/20. Received part='{part}'"
    ):
        CohortFlow().run(
            [str(brains[1])],
            static_file=str(brains[0]),
            part=part,
            out_dir=str(tmp_path / "o"),
        )


def test_a_table_comes_alone(brains, tmp_path):
    table = tmp_path / "pairs.csv"
    table.write_text("moving\n")
    with pytest.raises(ValueError, match="one table, or images. Received 2 files"):
        CohortFlow().run([str(table), str(brains[1])], out_dir=str(tmp_path / "o"))


@pytest.mark.slow
def test_results_are_the_same_bit_for_bit_whichever_engine(brains, tmp_path):
    distributed = pytest.importorskip("distributed")
    folders = [tmp_path / name for name in ("here", "processes", "dask")]
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=":0"
    ) as cluster:
        engines = ({}, {"n_jobs": 2}, {"scheduler": cluster.scheduler_address})
        for folder, engine in zip(folders, engines):
            options = {**engine, "static": brains[0], "level_iters": [3, 3]}
            rows = register_cohort(brains[1:], folder, **options)
            assert {row["status"] for row in rows} == {"done"}
    first, *others = map(contents, folders)
    assert len(first) == 3 and all(other == first for other in others)


def test_rows_of_pairs_that_another_call_has_registered_stay(brains, counted, tmp_path):
    out = tmp_path / "out"
    options = {**QUICK, "static": brains[0]}
    register_cohort(brains[1:2], out, **options)
    rows = register_cohort(brains[2:3], out, **options)
    assert [row["id"] for row in rows] == ["brain_2"]
    rows = register_cohort(brains[1:3], out, **options)
    assert [row["id"] for row in rows] == ["brain_1", "brain_2"] == counted


def test_one_more_pair_does_not_repeat_those_of_parts(brains, counted, tmp_path):
    out, options = tmp_path / "out", {**QUICK, "static": brains[0]}
    for n in (1, 2):
        register_cohort(brains[2:4], out, part=(n, 2), **options)
    assert sorted(counted) == ["brain_2", "brain_3"]
    for n in (1, 2):  # in front: each pair is now of another part
        register_cohort(brains[1:4], out, part=(n, 2), **options)
    assert sorted(counted) == ["brain_1", "brain_2", "brain_3"]
    rows = register_cohort(brains[1:4], out, **options)
    assert [row["id"] for row in rows] == ["brain_1", "brain_2", "brain_3"]
    assert len(counted) == 3


def test_a_corrected_path_is_tried_again(brains, tmp_path):
    out, pair = tmp_path / "out", {"id": "a", "static": brains[0]}
    typo = {**pair, "moving": brains[1].parent / "no_such_file.nii.gz"}
    (row,) = register_cohort([typo], out, **QUICK)
    assert row["status"] == "failed"
    mended = {**pair, "moving": brains[1]}
    with pytest.raises(ValueError, match="Expected the images of the earlier run"):
        register_cohort([mended], out, **QUICK)
    (row,) = register_cohort([mended], out, retry_failed=True, **QUICK)
    assert row["status"] == "done"


def test_a_mask_of_a_pair_comes_before_that_of_all(brains, write, tmp_path):
    """The static image is that of all pairs, and so is its mask."""
    image = nib.load(brains[0])
    masks = [np.zeros(image.shape, np.uint8) for _ in range(2)]
    masks[0][:, :12], masks[1][:, 12:] = 1, 1
    files = [write(f"mask_{i}.nii.gz", m, image.affine) for i, m in enumerate(masks)]
    pair = {"static": brains[0], "moving": brains[1]}
    pairs = [{**pair, "id": "own", "mask": files[1]}, {**pair, "id": "all"}]
    rows = register_cohort(pairs, tmp_path / "out", mask=str(files[0]), **QUICK)
    alone = [
        register_cohort([pair], tmp_path / f"alone_{i}", mask=file, **QUICK)[0]
        for i, file in enumerate(files)
    ]
    assert rows[0]["loss_after"] == alone[1]["loss_after"]
    assert rows[1]["loss_after"] == alone[0]["loss_after"] != rows[0]["loss_after"]


def test_a_home_folder_is_found(brains, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(brains[0].parent))
    monkeypatch.setenv("USERPROFILE", str(brains[0].parent))
    names = [f"~/{path.name}" for path in brains[:2]]
    rows = register_cohort(names[1:], tmp_path / "out", static=names[0], **QUICK)
    assert rows[0]["status"] == "done"
    table = brains[0].parent / "pairs.csv"
    table.write_text(f"moving,static\n{brains[1].name},{brains[0].name}\n")
    rows = register_cohort("~/pairs.csv", tmp_path / "table", **QUICK)
    assert rows[0]["status"] == "done"


def test_a_model_file_that_was_replaced_is_read_again(tmp_path):
    path = tmp_path / "model.keras"
    models = []
    for seed in (0, 1):
        DeformableRegistration(input_shape=(16, 16), seed=seed).save(path)
        status = path.stat()
        models.append(jobs._load(path, status.st_mtime_ns, status.st_size))
    first, second = (model.model.get_weights()[0] for model in models)
    assert np.any(first != second)
