import csv
import os
import re
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from dipy_nn_reg.cohort.pages import apply_to_images, write_report
from dipy_nn_reg.io.field_formats import FORMATS, WRITABLE_FORMATS
from dipy_nn_reg.io.fields import save_mapping
from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.workflows.evaluate import EvaluateFlow
from dipy_nn_reg.workflows.predict import PredictFlow
from dipy_nn_reg.workflows.report import ReportFlow


@pytest.fixture
def pairs(brains, write, tmp_path):
    """Return options for two pairs: one of equal images and one misaligned."""
    static = nib.load(brains[0])
    labels = write("labels.nii.gz", (static.get_fdata() > 0.4).astype(np.uint8))
    equal = write("equal.nii.gz", static.get_fdata().astype(np.float32), static.affine)
    still = np.zeros((*static.shape, 3), np.float32)
    away = still + [4, 0, 0]
    fields = []
    for name, field in (("away", away), ("still", still)):
        fields.append(str(tmp_path / f"{name}.nii.gz"))
        grids = {"static_affine": static.affine, "moving_affine": static.affine}
        save_mapping(
            fields[-1], displacement_to_mapping(field, inverse=-field, **grids)
        )
    return {
        "static_files": str(brains[0]),
        "moving_files": [str(brains[0]), str(equal)],
        "field_files": fields,
        "static_labels": [str(labels)],
        "moving_labels": [str(labels)],
    }


def test_pages_of_several_pairs_are_linked_worst_first(pairs, tmp_path):
    out = tmp_path / "out"
    # The static image is also one of the moving images.
    ReportFlow().run(**pairs, out_dir=str(out))
    names = sorted(path.name for path in out.iterdir())
    assert len(names) == 3 and "cohort.html" in names
    cohort = (out / "cohort.html").read_text()
    linked = re.findall(r'href="\./([^"]*\.html)"', cohort)
    assert sorted(linked) == [name for name in names if name != "cohort.html"]
    assert "equal" in linked[1]  # the worse one comes first
    pages = [(out / name).read_text() for name in linked]
    verdicts = [re.search(r'id="verdict">.*?</span>([\w ]+)<', p)[1] for p in pages]
    assert verdicts[0] in ("Failed", "Misaligned") and verdicts[1] == "Good"
    assert all("Overlap of labels" in page for page in pages)
    assert pairs["static_files"] in pages[0] and pairs["moving_files"][1] in pages[1]


@pytest.mark.slow
@pytest.mark.parametrize("format", WRITABLE_FORMATS)
def test_fields_of_all_formats_are_reported(format, pairs, tmp_path, brains):
    static = nib.load(brains[0])
    field = np.zeros((*static.shape, 3), np.float32)
    field[..., 1] = 0.5
    grids = {"static_affine": static.affine, "moving_affine": static.affine}
    path = tmp_path / f"{format}{FORMATS[format].endings[-1]}"
    save_mapping(path, displacement_to_mapping(field, **grids), format=format)
    options = {n: pairs[n] for n in ("static_files", "moving_files")}
    options["moving_files"] = options["moving_files"][:1]
    ReportFlow().run(**options, field_files=[str(path)], out_dir=str(tmp_path / "out"))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["report.html"]


@pytest.mark.slow
def test_images_are_compared_within_masks(brains, write, rng, tmp_path):
    """Two images that are equal in one half alone."""
    static = nib.load(brains[0])
    half = np.zeros(static.shape, np.uint8)
    half[: static.shape[0] // 2] = 1
    broken = np.where(half, static.get_fdata(), rng.random(static.shape))
    options = {
        "static_files": str(brains[0]),
        "moving_files": [str(write("broken.nii.gz", broken, static.affine))],
    }
    mask = str(write("mask.nii.gz", half, static.affine))
    verdicts = []
    for masks in ({}, {"mask_files": [mask]}, {"moving_mask_files": [mask]}):
        out = tmp_path / f"out{len(verdicts)}"
        ReportFlow().run(**options, **masks, out_dir=str(out))
        page = (out / "report.html").read_text()
        verdicts.append(re.search(r'id="verdict">.*?</span>([\w ]+)<', page)[1])
        assert ("inside of the masks" in page) == bool(masks)
    assert verdicts[0] != "Good" and verdicts[1:] == ["Good", "Good"]


def test_without_a_field_nothing_is_displaced(pairs, tmp_path):
    options = {n: pairs[n] for n in ("static_files", "moving_files")}
    ReportFlow().run(**options, out_dir=str(tmp_path / "out"))
    cohort = (tmp_path / "out" / "cohort.html").read_text()
    assert "2 Good" in cohort


@pytest.mark.slow
def test_earlier_pages_are_not_replaced(pairs, tmp_path):
    out = tmp_path / "out"
    ReportFlow().run(**pairs, out_dir=str(out))
    with pytest.raises(FileExistsError, match="--force"):
        ReportFlow().run(**pairs, out_dir=str(out))
    with pytest.raises(ValueError, match="one of field_files for each"):
        ReportFlow().run(**pairs | {"field_files": pairs["field_files"] * 2})


@pytest.mark.slow
def test_predict_writes_pages(brains, models, tmp_path):
    out = tmp_path / "out"
    static, moving = str(brains[0]), [str(path) for path in brains[1:3]]
    PredictFlow().run(static, moving, str(models[3]), out_dir=str(out))
    pages = sorted(path.name for path in out.glob("*.html"))
    assert len(pages) == 3 and pages.count("cohort.html") == 1
    with pytest.raises(FileExistsError):
        PredictFlow().run(static, moving, str(models[3]), out_dir=str(out))


def test_help_and_quiet_command(run_command, pairs, tmp_path):
    help_text = run_command("dipy_nn_reg_report", "--help").stdout
    assert "--quiet" in help_text and "out_cohort" in help_text
    options = [pairs["static_files"], pairs["moving_files"][0]]
    options += ["--field_files", pairs["field_files"][1], "--quiet"]
    done = run_command("dipy_nn_reg_report", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").exists()
    command = re.search(
        "<dd>(dipy_nn_reg_report[^<]*)</dd>", (tmp_path / "report.html").read_text()
    )
    assert pairs["static_files"] in command[1]


def measures_of(path):
    """Return the name and the last number of each row of the table in a page."""
    page = path.read_text(encoding="utf-8")
    return re.findall(
        r'<tr><td>([^<]*)</td>.*?<td class="number">([^<]*)</td></tr>', page
    )


def test_the_storage_order_of_images_does_not_matter(pairs, brains, tmp_path):
    """A moving image stored in another order is the same image."""
    inputs = {"static_files": str(brains[0]), "field_files": pairs["field_files"][:1]}
    image = nib.load(brains[1])
    flipped = nib.orientations.axcodes2ornt("LAS")
    other = image.as_reoriented(
        nib.orientations.ornt_transform(nib.io_orientation(image.affine), flipped)
    )
    nib.save(other, tmp_path / "las.nii.gz")
    pages = []
    for name, moving in (("a", brains[1]), ("b", tmp_path / "las.nii.gz")):
        ReportFlow().run(
            moving_files=[str(moving)], out_dir=str(tmp_path / name), **inputs
        )
        pages.append(measures_of(tmp_path / name / "report.html"))
    # Samples of the search for other starts are drawn in the order of storage.
    drawn = ("Information of the affine", "Information of another alignment")
    pages = [[row for row in page if not row[0].startswith(drawn)] for page in pages]
    assert len(pages[0]) > 5 and pages[0] == pages[1]
    EvaluateFlow().run(
        str(brains[0]),
        [str(tmp_path / "las.nii.gz")],
        field_files=pairs["field_files"][:1],
        out_dir=str(tmp_path / "c"),
    )
    with open(tmp_path / "c" / "metrics.csv", newline="") as file:
        ncc = float(next(csv.DictReader(file))["ncc"])
    assert dict(pages[1])["Correlation of the images (NCC)"] == f"{ncc:.3f}"


@pytest.mark.slow
def test_names_with_accents_in_a_locale_that_is_not_utf8(
    run_command, pairs, brains, tmp_path
):
    image = nib.load(brains[0])
    path = tmp_path / "in" / "café.nii.gz"
    nib.save(image, path)
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run_command("dipy_nn_reg_report", brains[0], path, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert "<h1>café" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_page_names_the_image_with_a_skull(brains, tmp_path):
    images = dict(zip(("static", "moving"), map(read_image, brains)))
    grids = {f"{name}_affine": image.affine for name, image in images.items()}
    still = np.zeros((*images["static"].data.shape, 3), np.float32)
    mapping = displacement_to_mapping(still, inverse=still, **grids)
    names = {"static": "one", "moving": "other"}
    outcome = SimpleNamespace(alignment=None, loss="lncc", skull="moving")
    pair = apply_to_images(mapping, images)
    write_report(tmp_path / "page.html", pair, images, names, outcome=outcome)
    page = (tmp_path / "page.html").read_text()
    assert "in the moving image alone; the images were compared in the brain" in page
