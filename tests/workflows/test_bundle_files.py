"""Tests of bundles in files, by the commands that measure them."""

import csv
import re
from types import SimpleNamespace

from dipy.io.stateful_tractogram import Space, StatefulTractogram
from dipy.io.streamline import save_tractogram
import nibabel as nib
from nibabel.affines import apply_affine
from nibabel.streamlines import Tractogram
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dipy_nn_reg.io.fields import save_mapping
from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.workflows.evaluate import EvaluateFlow
from dipy_nn_reg.workflows.report import ReportFlow

SHAPE = (16, 18, 14)
# Shift of the moving image, in voxels of the static grid.
SHIFT = np.array([2, -1, 1])


def grids():
    """Return an oblique, flipped, anisotropic affine, and one of other voxels."""
    static = np.eye(4)
    turn = Rotation.from_euler("xyz", [15, -30, 50], degrees=True).as_matrix()
    static[:3, :3] = turn * [-1.5, 2, 2.5]
    static[:3, 3] = [40, -10, 25]
    moving = static @ np.diag([1, -1, 1, 1])
    moving[:3, 3] = apply_affine(static, [0, SHAPE[1] - 1, 0])
    return static, moving


def save_lines(path, lines, reference):
    if path.suffix == ".tck":
        nib.streamlines.save(Tractogram(lines, affine_to_rasmm=np.eye(4)), str(path))
    else:
        tractogram = StatefulTractogram(lines, str(reference), Space.RASMM)
        save_tractogram(tractogram, str(path), bbox_valid_check=False)
    return str(path)


@pytest.fixture
def shifted(write, rng, tmp_path):
    """Return files of two images, one bundle in each, and the shift between them."""
    static, moving = grids()
    paths = {
        "static": write("static.nii.gz", rng.random(SHAPE, np.float32), static),
        "moving": write("moving.nii.gz", rng.random(SHAPE, np.float32), moving),
        "field": tmp_path / "in" / "field.nii.gz",
    }
    field = np.broadcast_to(SHIFT.astype(np.float32), (*SHAPE, 3)).copy()
    mapping = displacement_to_mapping(
        field,
        inverse=-field,
        static_affine=static,
        moving_affine=moving,
        moving_shape=SHAPE,
    )
    save_mapping(paths["field"], mapping)
    # Rows of voxels from 4 to 10 along the second axis, in the static grid.
    rows = [np.array([[x, 4.0, z], [x, 10, z]]) for x in (6, 7) for z in (5, 6, 7)]
    lines = [apply_affine(static, row) for row in rows]
    millimetres = static[:3, :3] @ SHIFT
    moved = [line + millimetres for line in lines]

    def save(name, lines, ending=".trk"):
        path = tmp_path / "in" / f"{name}{ending}"
        return save_lines(path, lines, paths[name])

    # The nearest row may be nearer than the one that was shifted.
    apart = [[np.linalg.norm((a - b).mean(0)) for b in moved] for a in lines]
    return SimpleNamespace(
        paths={name: str(path) for name, path in paths.items()},
        rows=rows,
        lines=lines,
        moved=moved,
        distance=(np.min(apart, 0).mean() + np.min(apart, 1).mean()) / 2,
        save=save,
    )


def evaluate(shifted, out, static, moving, **options):
    bundles = {"static_bundles": [static], "moving_bundles": [moving]}
    images = shifted.paths["static"], [shifted.paths["moving"]]
    EvaluateFlow().run(*images, out_dir=str(out), **bundles, **options)
    with open(out / "metrics.csv", newline="") as file:
        row = next(csv.DictReader(file))
    return {n: float(value) for n, value in row.items() if n.startswith("bundle")}


@pytest.mark.parametrize("ending", [".trk", ".tck", ".trx"])
def test_a_known_shift_is_undone(ending, shifted, tmp_path):
    static = shifted.save("static", shifted.lines, ending)
    moving = shifted.save("moving", [line[::-1] for line in shifted.moved], ending)
    out, field = tmp_path / "out", [shifted.paths["field"]]
    row = evaluate(shifted, out, static, moving, field_files=field)
    assert row["bundle_dice"] == row["bundle_weighted_dice"] == 1
    assert row["bundle_distance_mm"] == pytest.approx(0, abs=1e-4)


def test_without_a_field_bundles_are_compared_as_they_lie(shifted, tmp_path):
    bundles = {"static": shifted.lines, "moving": shifted.moved}
    files = [shifted.save(name, lines) for name, lines in bundles.items()]
    row = evaluate(shifted, tmp_path / "out", *files)
    voxels = []
    for shift in (0, SHIFT):
        rows = np.concatenate([np.linspace(*row, 7) + shift for row in shifted.rows])
        voxels.append({tuple(voxel) for voxel in rows.astype(int)})
    expected = 2 * len(voxels[0] & voxels[1]) / sum(map(len, voxels))
    assert row["bundle_dice"] == pytest.approx(expected)
    # Each voxel of these rows belongs to one streamline.
    assert row["bundle_weighted_dice"] == pytest.approx(expected)
    assert row["bundle_distance_mm"] == pytest.approx(shifted.distance, rel=1e-4)


@pytest.mark.parametrize("prealigned", [False, True])
def test_a_bundle_follows_any_map(prealigned, scene, write, tmp_path):
    """Streamlines through the static image, mapped to the moving one by DIPY."""
    scene = scene(3, prealigned)
    mapping, rng = scene.make_mapping(), np.random.default_rng(0)
    shape, grid = scene.field.shape[:-1], scene.static_affine
    ends = rng.uniform(0.3, 0.7, size=(20, 2, 3)) * shape
    lines = [apply_affine(grid, np.linspace(*pair, 30)) for pair in ends]
    moved = [np.asarray(mapping.transform_points(line)) for line in lines]
    images = {"static": (rng.random(shape), grid)}
    images["moving"] = (scene.moving, scene.moving_affine)
    paths = {n: str(write(f"{n}.nii.gz", *image)) for n, image in images.items()}
    bundles = zip(images, (lines, moved))
    files = [save_lines(tmp_path / f"{n}.trk", one, paths[n]) for n, one in bundles]
    save_mapping(tmp_path / "field.nii.gz", mapping)
    row = evaluate(
        SimpleNamespace(paths=paths),
        tmp_path / "out",
        *files,
        field_files=[str(tmp_path / "field.nii.gz")],
    )
    assert row["bundle_dice"] > 0.95 and row["bundle_weighted_dice"] > 0.95
    assert row["bundle_distance_mm"] < 0.1


def test_bundles_that_cannot_be_compared_are_refused(shifted, tmp_path):
    static = shifted.save("static", shifted.lines)
    moving = shifted.save("moving", shifted.moved)
    far = shifted.save("static", [line + 500 for line in shifted.lines], ".tck")
    empty = shifted.save("moving", [], ".tck")
    out = tmp_path / "out"
    for files, message in [
        ((static, shifted.paths["moving"]), r"end with \.tck, \.trk, \.trx\. Received"),
        ((static, empty), "Expected streamlines. There are none in .*moving.tck"),
        ((far, moving), "within the image .*static.nii.gz.*static.tck', which lies"),
        ((static, far), "within the image .*moving.nii.gz.*static.tck', which lies"),
    ]:
        with pytest.raises(ValueError, match=message):
            evaluate(shifted, out, *files)
    images = shifted.paths["static"], [shifted.paths["moving"]]
    for flow in (EvaluateFlow, ReportFlow):
        with pytest.raises(ValueError, match="bundles of static and of moving images"):
            flow().run(*images, static_bundles=[static], out_dir=str(out))
        with pytest.raises(FileNotFoundError, match="no.trk"):
            bundles = {"static_bundles": static, "moving_bundles": "no.trk"}
            flow().run(*images, **bundles, out_dir=str(out))
    assert not list(out.glob("*"))


def test_a_pair_without_a_bundle_is_a_row_with_the_reason(shifted, tmp_path):
    static = shifted.save("static", shifted.lines)
    moving = [shifted.save("moving", shifted.moved)]
    moving.append(shifted.save("moving", [], ".tck"))
    images = [shifted.paths["moving"], shifted.paths["static"]]
    bundles = {"static_bundles": static, "moving_bundles": moving}
    with pytest.raises(ValueError, match="1 of 2 failed.*There are none in"):
        EvaluateFlow().run(
            shifted.paths["static"], images, **bundles, out_dir=str(tmp_path)
        )
    with open(tmp_path / "metrics.csv", newline="") as file:
        good, bad, mean = csv.DictReader(file)
    assert float(good["bundle_distance_mm"]) > 0 and not good["error"]
    assert "There are none" in bad["error"] and not bad["bundle_dice"]
    assert mean["bundle_dice"] == good["bundle_dice"]


def test_bundles_are_not_replaced_by_outputs(shifted, tmp_path):
    static = shifted.save("static", shifted.lines)
    moving = shifted.save("moving", shifted.moved)
    for flow, name in ((EvaluateFlow, "out_metrics"), (ReportFlow, "out_report")):
        with pytest.raises(ValueError, match="static.trk"):
            flow(force=True).run(
                shifted.paths["static"],
                [shifted.paths["moving"]],
                static_bundles=[static],
                moving_bundles=[moving],
                **{name: static},
            )


def test_the_page_shows_bundles_before_and_after(shifted, tmp_path):
    static = shifted.save("static", shifted.lines)
    moving = shifted.save("moving", shifted.moved)
    ReportFlow().run(
        shifted.paths["static"],
        [shifted.paths["moving"]],
        field_files=[shifted.paths["field"]],
        static_bundles=[static],
        moving_bundles=[moving],
        out_dir=str(tmp_path),
    )
    page = (tmp_path / "report.html").read_text()
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    row = next(row for row in rows if "closest one, mm" in row)
    numbers = re.findall(r">(\d+\.\d+)<", row)
    assert numbers == [f"{shifted.distance:.2f}", "0.00"]
    row = next(row for row in rows if "Dice of their voxels" in row)
    assert re.findall(r">(\d+\.\d+)<", row)[1] == "1.000"
    assert "contours of bundles" in page
