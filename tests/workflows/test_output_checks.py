import os
from pathlib import Path

from dipy.workflows.workflow import Workflow
import pytest

from dipy_nn_reg.workflows import output_checks
from dipy_nn_reg.workflows.output_checks import check_outputs


def check(outputs, inputs=(), **options):
    check_outputs(Workflow(force=True), [outputs], inputs, **options)


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("out_warped", "w.jpg"),
        ("out_field", "f.txt"),
        ("out_inverse", "i.nii.zip"),
        ("out_metrics", "m.nii.gz"),
        ("out_prealign", "p.csv"),
        ("out_report", "page.txt"),
        ("out_cohort", "page"),
        ("out_model", "m.h5"),
        ("out_history", "h.keras"),
    ],
)
def test_wrong_endings_are_refused(option, name, tmp_path):
    with pytest.raises(ValueError, match=rf"Expected {option} to end with.*{name}"):
        check({option: tmp_path / "out" / name})
    assert not (tmp_path / "out").exists()


def test_accepted_endings_can_be_changed(tmp_path):
    options = {"endings": {"out_history": (".png",)}}
    check({"out_history": tmp_path / "h.png"}, **options)
    with pytest.raises(ValueError, match=r"'\.png'.*h\.csv"):
        check({"out_history": tmp_path / "h.csv"}, **options)


def test_folders_and_pipes_are_not_replaced(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "file").touch()
    for name, message in (
        ("folder.csv", "which is a folder"),
        ("pipe.csv", "which is no file"),
        ("file/m.csv", "file', which is no folder"),
        ("file/deep/m.csv", "file', which is no folder"),
        ("m" * 252 + ".csv", "255 bytes at most"),
        ("é" * 126 + ".csv", "255 bytes at most"),
    ):
        with pytest.raises(ValueError, match=message):
            check({"out_metrics": tmp_path / name})
    check({"out_metrics": tmp_path / ("m" * 251 + ".csv")})


def test_inputs_are_never_replaced(tmp_path, monkeypatch):
    points = tmp_path / "points.csv"
    points.touch()
    (tmp_path / "link.csv").symlink_to("points.csv")
    (tmp_path / "here").symlink_to(".")
    os.link(points, tmp_path / "second.csv")
    names = ("points.csv", "link.csv", "here/points.csv", "second.csv", "a/../link.csv")
    monkeypatch.chdir(tmp_path)
    for name in names:
        for source in (points, tmp_path / "link.csv"):
            with pytest.raises(ValueError, match="another output than the input"):
                check({"out_metrics": tmp_path / name}, [source])
    with pytest.raises(ValueError, match="another output than the input"):
        check({"out_metrics": Path("points.csv")}, [points])
    assert not (tmp_path / "a").exists()


def test_outputs_of_the_same_name_are_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to("out")
    for other in ("out/r.nii.gz", "link/r.nii.gz", "out/deep/../r.nii.gz"):
        outputs = {"out_warped": tmp_path / "out/r.nii.gz"}
        outputs["out_field"] = tmp_path / other
        with pytest.raises(ValueError, match="out_warped and out_field"):
            check(outputs)
    sets = [{"out_report": tmp_path / "a.html"}, {"out_cohort": tmp_path / "a.html"}]
    with pytest.raises(ValueError, match="out_report and out_cohort"):
        check_outputs(Workflow(), sets)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("blind", [True, False])
def test_upper_and_lower_case_differ_unless_the_system_ignores_case(
    blind, tmp_path, monkeypatch
):
    monkeypatch.setattr(output_checks, "_ignores_case", lambda folder: blind)
    outputs = {"out_warped": tmp_path / "R.nii", "out_field": tmp_path / "r.nii"}
    if blind:
        with pytest.raises(ValueError, match="out_warped and out_field"):
            check(outputs)
    else:
        check(outputs)


def test_folders_are_made_and_left_empty(tmp_path):
    check({"out_metrics": tmp_path / "a" / "b" / "m.csv"})
    assert list((tmp_path / "a" / "b").iterdir()) == []
    assert not output_checks._ignores_case(tmp_path)  # on Linux


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="asks for Linux")
def test_errors_of_unwritable_folders_contain_the_path():
    with pytest.raises(OSError, match="/proc"):
        check({"out_metrics": Path("/proc/m.csv")})
