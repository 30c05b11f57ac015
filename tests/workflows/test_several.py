"""Several inputs of one command: failures, equal names and earlier results."""

import csv
import errno
import os
import re
from urllib.parse import unquote_to_bytes

import nibabel as nib
import numpy as np
import pytest

from dipy_nn_reg.cohort import outputs, pages, pair
from dipy_nn_reg.workflows.apply import ApplyFlow
from dipy_nn_reg.workflows.evaluate import EvaluateFlow
from dipy_nn_reg.workflows.fit import FitFlow
from dipy_nn_reg.workflows.predict import PredictFlow
from dipy_nn_reg.workflows.register import RegisterFlow
from dipy_nn_reg.workflows.report import ReportFlow

QUICK = {"prealign": "none", "level_iters": [1, 1]}


def register(static, moving, out, *, force=False, **options):
    static = [str(path) for path in np.atleast_1d(static)]
    moving = [str(path) for path in moving]
    options = QUICK | {"no_report": True} | options
    RegisterFlow(force=force).run(static, moving, out_dir=str(out), **options)


def read_rows(path):
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def broken(brains):
    """Return the path of an image that is cut short."""
    path = brains[0].parent / "broken.nii"
    image = nib.load(brains[1])
    nib.save(image, path)
    path.write_bytes(path.read_bytes()[:-500])
    return path


@pytest.mark.slow
def test_a_failed_pair_is_a_row_and_the_others_are_registered(brains, broken, tmp_path):
    out = tmp_path / "out"
    moving = [brains[1], broken, brains[2]]
    with pytest.raises(ValueError, match=r"1 of 3 failed. broken to brain_0: .*short"):
        register(brains[0], moving, out, no_report=False)
    (row,) = read_rows(out / "brain_0_broken__metrics.csv")
    assert (row["static"], row["moving"]) == ("brain_0.nii.gz", "broken.nii")
    assert "cut short" in row["error"]
    assert [p.name for p in out.glob("*warped*")] and len(
        list(out.glob("*warped*"))
    ) == 2
    assert len(list(out.glob("brain_0_broken__*"))) == 1
    cohort = (out / "cohort.html").read_text()
    assert len(re.findall('href="./', cohort)) == 2
    assert re.search("<li>broken to brain_0: Expected a whole image", cohort)


@pytest.mark.slow
def test_earlier_results_of_a_failed_pair_are_kept(brains, broken, tmp_path):
    out = tmp_path / "out"
    names = {"out_warped": "w.nii.gz"}
    register(brains[0], brains[1:3], out, **names)
    before = contents(out)
    brains[2].write_bytes(broken.read_bytes())
    with pytest.raises(ValueError, match="1 of 2 failed"):
        register(brains[0], brains[1:3], out, force=True, **names)
    after = contents(out)
    assert after.keys() == before.keys()
    for name in before:
        if name.startswith("brain_0_brain_2"):
            assert after[name] == before[name]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(KeyboardInterrupt(), marks=pytest.mark.slow),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_earlier_results_of_an_interrupted_pair_are_kept(
    error, brains, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    register(brains[0], brains[1:3], out)
    before = contents(out)

    def fail(*args, **options):
        raise error

    monkeypatch.setattr(outputs, "write_map", fail)
    with pytest.raises(type(error)):
        register(brains[1], brains[1:3], out, force=True)
    assert contents(out) == before


@pytest.mark.slow
def test_the_error_of_a_full_disk_names_the_output(brains, tmp_path, monkeypatch):
    def full(image, path):
        with open(path, "wb") as file:
            file.write(b"half a file")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("dipy_nn_reg.io.nifti_writing._save", full)
    with pytest.raises(OSError, match="No space left on device: .*out/warped.nii.gz'"):
        register(brains[0], brains[1:2], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture
def subjects(write, crops):
    """Return images of the same name in folders of several subjects."""
    return [
        write(f"sub-0{i}/T1w.nii.gz", np.asarray(image))
        for i, image in enumerate(crops)
    ]


def test_inputs_of_the_same_name_are_distinguished_by_folders(
    subjects, brains, tmp_path
):
    out = tmp_path / "out"
    EvaluateFlow().run(str(subjects[0]), list(map(str, subjects)), out_dir=str(out))
    rows = read_rows(out / "metrics.csv")
    assert [row["moving"] for row in rows[:2]] == [
        "sub-00/T1w.nii.gz",
        "sub-01/T1w.nii.gz",
    ]
    assert rows[0]["static"] == "sub-00/T1w.nii.gz"
    ReportFlow().run(str(subjects[0]), list(map(str, subjects[1:3])), out_dir=str(out))
    cohort = (out / "cohort.html").read_text()
    names = re.findall('<a href="[^"]*">([^<]*)</a>', cohort)
    assert sorted(names) == [f"sub-0{i}/T1w to sub-00/T1w" for i in (1, 2)]


def test_links_to_the_same_file_keep_their_names(subjects, write, tmp_path):
    """Equal images of two subjects are a single object of git-annex."""
    (tmp_path / "annex").mkdir()
    target = tmp_path / "annex" / "MD5E-s1--bbb.nii.gz"
    subjects[1].rename(target)
    for path in subjects[1:3]:
        path.unlink(missing_ok=True)
        path.symlink_to(target)
    affine = tmp_path / "affine.txt"
    np.savetxt(affine, np.eye(4))
    out = tmp_path / "out"
    ApplyFlow().run(
        str(subjects[0]), list(map(str, subjects[1:3])), [str(affine)], out_dir=str(out)
    )
    assert set(contents(out)) == {
        "sub-01_T1w__transformed.nii.gz",
        "sub-02_T1w__transformed.nii.gz",
    }


@pytest.mark.parametrize("names", [["y.nii.gz", "y.nii"], ["y.nii", "y.nii"]])
def test_inputs_of_similar_names_have_separate_results(
    names, brains, write, crops, tmp_path
):
    paths = [str(write(name, crops[0])) for name in names]
    np.savetxt(tmp_path / "a.txt", np.eye(4))
    out, affine = tmp_path / "out", [str(tmp_path / "a.txt")]
    ApplyFlow().run(paths[0], paths, affine, out_dir=str(out))
    assert len(contents(out)) == 2


def test_after_a_failed_file_the_others_are_transformed(brains, broken, tmp_path):
    np.savetxt(tmp_path / "a.txt", np.eye(4))
    (tmp_path / "empty.csv").write_text("x,y,z\n1,2\n")
    moving = [str(path) for path in (broken, tmp_path / "empty.csv", brains[1])]
    affine = [str(tmp_path / "a.txt")]
    with pytest.raises(ValueError, match="2 of 3 failed"):
        ApplyFlow().run(str(brains[0]), moving, affine, out_dir=str(tmp_path / "out"))
    assert set(contents(tmp_path / "out")) == {"brain_1__transformed.nii.gz"}


def test_a_failed_pair_is_a_row_of_the_measures(brains, broken, tmp_path):
    moving = [str(path) for path in (brains[1], broken, brains[2])]
    with pytest.raises(ValueError, match=r"1 of 3 failed\. broken to brain_0"):
        EvaluateFlow().run(str(brains[0]), moving, out_dir=str(tmp_path))
    one, failed, other, mean = read_rows(tmp_path / "metrics.csv")
    assert failed["moving"] == "broken.nii"
    assert "cut short" in failed["error"] and failed["ncc"] == ""
    expected = (float(one["ncc"]) + float(other["ncc"])) / 2
    assert float(mean["ncc"]) == pytest.approx(expected)
    assert mean["error"] == ""


def test_failed_pages_are_listed(brains, broken, tmp_path):
    moving = [str(path) for path in (brains[1], broken)]
    with pytest.raises(ValueError, match="1 of 2 failed"):
        ReportFlow().run(str(brains[0]), moving, out_dir=str(tmp_path / "out"))
    assert len(contents(tmp_path / "out")) == 2
    assert "<li>broken to brain_0" in (tmp_path / "out" / "cohort.html").read_text()


HOSTILE = [
    "javascript:alert(document.domain);x.nii.gz",
    "a#1?x=%41.nii.gz",
    "a b é.nii.gz",
    "50%41.nii.gz",
    "'\"&<b>.nii.gz",
    os.fsdecode(b"\xe9\x1b.nii.gz"),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_links_to_pages_of_any_name(name, brains, write, crops, tmp_path):
    out = tmp_path / "out"
    static = write(name, np.asarray(crops[0]))
    moving = [str(path) for path in brains[1:3]]
    ReportFlow().run(str(static), moving, out_dir=str(out))
    links = re.findall('href="(.*?)"', (out / "cohort.html").read_text())[1:]
    pages = {os.fsencode(path.name) for path in out.glob("*report.html")}
    assert len(links) == len(pages) == 2
    for link in links:
        # To a browser, it is a path without scheme, query or fragment.
        assert link.startswith("./") and not re.search("[#?:]|%(?![0-9A-F]{2})", link)
    assert {unquote_to_bytes(link[2:]) for link in links} == pages


def test_links_escape_bytes_that_are_not_utf8(tmp_path):
    page = tmp_path / "deeper" / os.fsdecode(b"\xe9.html")
    assert pages._address(page, tmp_path) == "./deeper/%E9.html"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out_warped": "r.nii.gz", "out_field": "r.nii.gz"}, "different names.*r.nii"),
        ({"out_report": "page.txt", "no_report": False}, "out_report to end with"),
        ({"out_metrics": "folder.csv"}, "which is a folder"),
        ({"prealign": "out/prealign.txt"}, "another output than the input"),
        ({"moving_labels": "in/*", "static_labels": "in/*"}, "one file for moving_lab"),
    ],
)
def test_outputs_are_checked_before_anything_is_read(
    options, message, brains, tmp_path, monkeypatch
):
    def never(*args, **kwargs):
        raise AssertionError

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pair, "read_image", never)
    (tmp_path / "out" / "folder.csv").mkdir(parents=True)
    np.savetxt(tmp_path / "out" / "prealign.txt", np.eye(4))
    with pytest.raises(ValueError, match=message):
        register(brains[0], brains[1:2], "out", force=True, **options)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "folder.csv",
        "prealign.txt",
    }


WRONG_IN_BOTH = [
    ({"voxel_size": -1.0}, "voxel_size"),
    ({"field_format": "elastix"}, "field_format"),
    ({"fill": float("nan")}, "fill"),
]
WRONG_IN_REGISTER = [
    ({"loss": "dice"}, "loss.*'dice'"),
    ({"penalty": "ridge"}, "penalty.*'ridge'"),
    ({"smoothness": -1.0}, "smoothness"),
    ({"level_iters": [-1]}, "level_iters"),
    ({"transform": "tps"}, "transform.*'tps'"),
    ({"transform": "displacement", "penalty": "tv"}, "penalty=None.*'tv'"),
    ({"smoothness": 1e6}, "smoothness .*<= 100. Received 1000000.0"),
]


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        *[("register", *case) for case in WRONG_IN_BOTH + WRONG_IN_REGISTER],
        *[("predict", *case) for case in WRONG_IN_BOTH],
    ],
)
def test_a_wrong_option_fails_once_before_any_image_is_read(
    command, options, message, brains, models, tmp_path, monkeypatch
):

    def never(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr(pair, "read_image", never)
    static, moving = str(brains[0]), [str(path) for path in brains[1:3]]
    with pytest.raises(ValueError, match=f"^Expected .*{message}"):
        if command == "register":
            register(static, moving, tmp_path / "out", **options)
        else:
            out_dir = str(tmp_path / "out")
            PredictFlow().run(static, moving, models[3], out_dir=out_dir, **options)
    assert not list((tmp_path / "out").glob("*"))


def test_no_input_of_any_command_is_replaced(brains, write, crops, tmp_path):
    """Outputs with --force and the names of inputs other than images."""
    (tmp_path / "p.csv").write_text("x,y,z\n1,2,3\n")
    (tmp_path / "dwi.bvec").write_text("1 0\n0 1\n0 0\n")
    (tmp_path / "p.html").write_text("a field")
    np.savetxt(tmp_path / "a.txt", np.eye(4))
    series = write("dwi.nii.gz", np.stack([crops[0]] * 2, axis=-1))
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    image, out = str(brains[0]), {"out_dir": str(tmp_path)}
    points = [str(tmp_path / "p.csv")]
    calls = [
        lambda: EvaluateFlow(force=True).run(
            image,
            [image],
            static_points=points,
            moving_points=points,
            out_metrics="p.csv",
            **out,
        ),
        lambda: ApplyFlow(force=True).run(
            image,
            str(series),
            [str(tmp_path / "a.txt")],
            bvecs=str(tmp_path / "dwi.bvec"),
            out_bvecs="dwi.bvec",
            **out,
        ),
        lambda: FitFlow(force=True).run(
            [image], mask_file=str(tmp_path / "p.csv"), out_history="p.csv", **out
        ),
        lambda: RegisterFlow(force=True).run(
            image, [image], mask_file=points[0], out_metrics="p.csv", **out
        ),
        lambda: ReportFlow(force=True).run(
            image,
            [image, image],
            field_files=[str(tmp_path / "p.html")],
            out_cohort="p.html",
            **out,
        ),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="another output than the input"):
            call()
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
