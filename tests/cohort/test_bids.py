"""Datasets in BIDS are found, and derivatives named as fMRIPrep names them."""

import json
from pathlib import Path

import pytest

from dipy_nn_reg.cohort import bids


@pytest.fixture
def dataset(tmp_path):
    """Return a folder in BIDS with empty files."""
    root = tmp_path / "bids"
    root.mkdir()
    (root / bids.DESCRIPTION).write_text('{"Name": "a", "BIDSVersion": "1.8.0"}')
    for person, session in (("01", "a"), ("01", "b"), ("02", None)):
        between = f"_ses-{session}" if session else ""
        folder = root / f"sub-{person}" / (f"ses-{session}" if session else "") / "anat"
        folder.mkdir(parents=True)
        for suffix in ("T1w.nii.gz", "T1w.json", "T2w.nii"):
            (folder / f"sub-{person}{between}_{suffix}").touch()
    return root


def test_images_of_a_suffix_are_found(dataset):
    pytest.importorskip("bids2table")
    assert bids.is_dataset(dataset) and not bids.is_dataset(dataset.parent)
    found = bids.find_images(dataset, suffix="T1w")
    assert [path.name for path in found] == [
        "sub-01_ses-a_T1w.nii.gz",
        "sub-01_ses-b_T1w.nii.gz",
        "sub-02_T1w.nii.gz",
    ]
    assert all(path.is_file() for path in found)
    (one,) = bids.find_images(dataset, suffix="T2w", participants=["sub-02"])
    assert one.name == "sub-02_T2w.nii"


def test_missing_images_and_people_are_named(dataset):
    pytest.importorskip("bids2table")
    with pytest.raises(ValueError, match="the suffix 'FLAIR'. Received"):
        bids.find_images(dataset, suffix="FLAIR")
    with pytest.raises(ValueError, match="'T1w' of 07. Received"):
        bids.find_images(dataset, suffix="T1w", participants=["02", "07"])


@pytest.mark.parametrize(
    ("name", "space"),
    [
        ("tpl-MNI152NLin2009cAsym_res-01_T1w.nii.gz", "MNI152NLin2009cAsym"),
        ("sub-01_space-MNIPediatricAsym_T1w.nii.gz", "MNIPediatricAsym"),
        ("my_template-2.nii.gz", "mytemplate2"),
    ],
)
def test_the_space_is_taken_from_the_name_of_the_static_image(name, space):
    assert bids.space_of(Path(name)) == space
    bids.check_space(space)


@pytest.mark.parametrize("space", ["", "a_b", "a-b", "a b"])
def test_a_space_is_of_letters_and_digits(space):
    with pytest.raises(ValueError, match="letters and digits"):
        bids.check_space(space)


def test_derivatives_have_the_names_of_fmriprep(tmp_path):
    image = tmp_path / "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz"
    out = tmp_path / "out"
    paths = bids.outputs_of(image, tmp_path, out, space="MNI", ending=".h5")
    names = {key: path.relative_to(out).as_posix() for key, path in paths.items()}
    anat = "sub-01/ses-a/anat/sub-01_ses-a"
    assert names["out_field"] == f"{anat}_from-T1w_to-MNI_mode-image_xfm.h5"
    assert names["out_inverse"] == f"{anat}_from-MNI_to-T1w_mode-image_xfm.h5"
    assert names["out_warped"] == f"{anat}_space-MNI_desc-preproc_T1w.nii.gz"
    assert names["out_report"].startswith("sub-01/figures/sub-01_ses-a_space-MNI")


def test_the_description_names_the_program_and_is_written_once(tmp_path):
    bids.describe(tmp_path)
    path = tmp_path / bids.DESCRIPTION
    described = json.loads(path.read_text())
    assert described["DatasetType"] == "derivative"
    assert described["GeneratedBy"][0]["Name"] == "dipy_nn_reg"
    path.write_text("mine")
    bids.describe(tmp_path)
    assert path.read_text() == "mine"
