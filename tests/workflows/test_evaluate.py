import csv

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg import metrics
from dipy_nn_reg.intensities import estimate_background
from dipy_nn_reg.io.fields import save_mapping
from dipy_nn_reg.io.point_tables import write_points
from dipy_nn_reg.workflows.evaluate import EvaluateFlow


@pytest.fixture
def setting(scene, write, tmp_path):
    """Return paths of two images, their labels and points, and a field."""
    scene = scene(3, False)
    scene.mapping = scene.make_mapping()
    outside = np.float32(estimate_background(scene.moving))
    # The static image is the warped one, also outside of the moving image.
    static = scene.mapping.transform(scene.moving - outside) + outside
    labels = np.digitize(scene.moving, [0.4, 0.6]).astype(np.int32)
    voxels = np.moveaxis(np.indices(scene.field.shape[:-1]), 0, -1) + scene.field
    total = np.linalg.inv(scene.moving_affine) @ scene.static_affine
    positions = np.moveaxis(voxels @ total[:3, :3].T + total[:3, 3], -1, 0)
    warped = map_coordinates(labels, positions, order=0, mode="grid-constant")
    grids = scene.static_affine, scene.moving_affine
    scene.paths = {
        "static": write("static.nii.gz", static.astype(np.float32), grids[0]),
        "moving": write("moving.nii.gz", scene.moving.astype(np.float32), grids[1]),
        "static_labels": write("sl.nii.gz", np.uint8(warped), grids[0]),
        "moving_labels": write("ml.nii.gz", labels.astype(np.uint8), grids[1]),
        "elsewhere": write("far.nii.gz", np.uint8(warped), _moved(grids[0])),
        "field": tmp_path / "in" / "field.nii.gz",
        "static_points": tmp_path / "in" / "static.csv",
        "moving_points": tmp_path / "in" / "moving.csv",
    }
    save_mapping(scene.paths["field"], scene.mapping)
    points = np.random.default_rng(0).normal(size=(8, 3)) * 3
    write_points(scene.paths["static_points"], points)
    moved = np.asarray(scene.mapping.transform_points(points))
    write_points(scene.paths["moving_points"], moved + [0, 0.3, 0.4])
    scene.paths = {name: str(path) for name, path in scene.paths.items()}
    return scene


def _moved(affine):
    moved = affine.copy()
    moved[:3, 3] += 1000
    return moved


def evaluate(setting, out, **options):
    static, moving = (setting.paths[name] for name in ("static", "moving"))
    EvaluateFlow().run(static, [moving], out_dir=str(out), **options)
    with open(out / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_further_images_are_measured_as_the_first_ones(setting, tmp_path):
    """A static one in negative, and in another order of axes."""
    static = nib.load(setting.paths["static"])
    dark = nib.Nifti1Image(-static.get_fdata(dtype=np.float32), static.affine)
    turned = tmp_path / "in" / "turned.nii.gz"
    nib.save(dark.as_reoriented([[2, 1], [0, -1], [1, 1]]), turned)
    row, mean = evaluate(
        setting,
        tmp_path,
        field_files=[setting.paths["field"]],
        static_channels=[str(turned)],
        moving_channels=[setting.paths["moving"]],
    )
    assert float(row["ncc"]) == pytest.approx(1, abs=1e-6)
    assert float(row["ncc_2"]) == pytest.approx(-1, abs=1e-6)
    assert mean["ncc_2"] == row["ncc_2"]
    with pytest.raises(ValueError, match="Received static_channels alone"):
        evaluate(setting, tmp_path, static_channels=[str(turned)])


def test_all_measures_of_a_known_map(setting, tmp_path):
    named = ("static_labels", "moving_labels", "static_points", "moving_points")
    row, mean = evaluate(
        setting,
        tmp_path,
        field_files=[setting.paths["field"]],
        **{name: [setting.paths[name]] for name in named},
    )
    numbers = {name: float(value) for name, value in mean.items() if value != "mean"}
    assert row["moving"] == "moving.nii.gz"
    assert numbers["ncc"] == pytest.approx(1, abs=1e-6)
    # A voxel that lies halfway between two may be rounded either way.
    assert numbers["dice_label_1"] == pytest.approx(1, abs=1e-3)
    assert numbers["dice_label_2"] == pytest.approx(1, abs=1e-3)
    assert numbers["hd95_mm"] == 0
    assert numbers["tre_mm"] == pytest.approx(0.5, abs=1e-3)
    assert numbers["folding"] == metrics.folding(setting.field)
    expected = metrics.sd_log_jacobian(setting.field)
    assert numbers["sd_log_jacobian"] == pytest.approx(expected, rel=1e-3)
    points = np.moveaxis(np.indices(setting.field.shape[:-1]), 0, -1).reshape(-1, 3)
    affine = setting.static_affine
    points = points @ affine[:3, :3].T + affine[:3, 3]
    moved = setting.mapping.transform_points(points)
    back = setting.mapping.transform_points_inverse(moved)
    expected = np.linalg.norm(back - points, axis=1).mean()
    assert numbers["inverse_error_mm"] == pytest.approx(expected, rel=1e-3)


def test_without_a_field_images_are_compared_by_their_headers(setting, tmp_path):
    row, _ = evaluate(setting, tmp_path)
    assert float(row["ncc"]) < 0.9
    assert set(row) == {"static", "moving", "ncc"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"static_labels": ["static_labels"]}, "labels of static and of moving"),
        (
            {"static_labels": ["elsewhere"], "moving_labels": ["moving_labels"]},
            "Expected labels other than 0 where .*static.nii.gz",
        ),
        ({"field_files": ["field", "field"]}, "field_files for each of the 1 pairs"),
        ({"field_files": ["static"]}, "Expected a field of format"),
        (
            {"static_labels": ["static"], "moving_labels": ["moving"]},
            "Expected a label map.*fractions",
        ),
    ],
)
def test_invalid_files_are_refused(options, message, setting, tmp_path):
    options = {n: [setting.paths[p] for p in names] for n, names in options.items()}
    with pytest.raises(ValueError, match=message):
        evaluate(setting, tmp_path / "out", **options)
    assert not list((tmp_path / "out").glob("*"))


def measure_labels(write, tmp_path, static, moving, affine):
    """Measure two label maps, which are also used as images."""
    paths = [
        str(write(f"{name}.nii.gz", labels.astype(np.uint8), affine))
        for name, labels in (("static", static), ("moving", moving))
    ]
    EvaluateFlow().run(
        paths[0],
        paths[1:],
        static_labels=paths[:1],
        moving_labels=paths[1:],
        out_dir=str(tmp_path / "out"),
    )
    with open(tmp_path / "out" / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_hausdorff_distance_in_slices_along_any_axis(axis, write, tmp_path):
    """A disc of radius 15 is shifted by 4: the distance is 4 mm, by SciPy in 2D."""
    x, y = np.indices((48, 44)) - 22
    discs = [
        np.expand_dims((x - by) ** 2 + y**2 < 15**2, axis).astype(int) for by in (0, 4)
    ]
    row, _ = measure_labels(write, tmp_path, *discs, np.eye(4))
    assert float(row["hd95_mm"]) == 4


def test_a_lost_label_does_not_improve_the_mean(write, tmp_path):
    static = np.zeros((20, 21, 22), int)
    static[4:9, 4:9, 4:9], static[12:15, 12:15, 12:15] = 1, 2
    affine = np.diag([2.0, 2, 3, 1])
    lost = np.where(static == 2, 0, static)
    row, mean = measure_labels(write, tmp_path, static, lost, affine)
    assert row["lost_labels"] == "1" and float(row["dice"]) == 0.5
    assert row["hd95_mm_label_2"] == mean["hd95_mm_label_2"] == "nan"
    diagonal = np.linalg.norm(np.multiply(static.shape, [2, 2, 3]))
    assert float(row["hd95_mm"]) == pytest.approx(diagonal / 2)


def test_label_maps_of_zeros_are_refused(write, tmp_path):
    labels = np.zeros((9, 9, 9))
    labels[3:5, 3:5, 3:5] = 1
    with pytest.raises(ValueError, match=r"labels other than 0\. Received '.*static"):
        measure_labels(write, tmp_path, 0 * labels, labels, np.eye(4))
    assert not (tmp_path / "out" / "metrics.csv").exists()


def test_the_storage_order_of_labels_does_not_matter(setting, tmp_path):
    named = ("static_labels", "moving_labels")
    options = {name: [setting.paths[name]] for name in named}
    field = {"field_files": [setting.paths["field"]]}
    expected = evaluate(setting, tmp_path / "a", **options, **field)
    for name in named:
        image = nib.load(setting.paths[name])
        turned = nib.as_closest_canonical(image).as_reoriented(
            [[2, 1], [0, -1], [1, 1]]
        )
        nib.save(turned, tmp_path / f"{name}.nii.gz")
        options[name] = [str(tmp_path / f"{name}.nii.gz")]
    assert evaluate(setting, tmp_path / "b", **options, **field) == expected


@pytest.mark.parametrize("label", [3_000_000_001, 2**53 + 1, -5])
def test_large_labels_keep_their_values(label, setting, write, tmp_path):
    options = {}
    for name, affine in zip(
        ("static_labels", "moving_labels"),
        (setting.static_affine, setting.moving_affine),
    ):
        labels = np.int64(nib.load(setting.paths[name]).dataobj) * label
        path = tmp_path / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(labels, affine, dtype=np.int64), path)
        options[name] = [str(path)]
    row, _ = evaluate(setting, tmp_path, **options)
    assert f"dice_label_{label}" in row


def test_fields_of_another_grid_or_format_are_refused(setting, tmp_path):
    """A grid of the same size elsewhere; a field of this package with absolute=True."""
    field = nib.load(setting.paths["field"])
    affine = np.linalg.inv(field.affine)
    affine[:3, 3] += 30
    header = field.header.copy()
    image = nib.Nifti1Image(np.array(field.dataobj), np.linalg.inv(affine), header)
    image.set_sform(image.affine, 2)
    nib.save(image, tmp_path / "far.nii.gz")
    with pytest.raises(ValueError, match="on the grid of the static image"):
        evaluate(setting, tmp_path, field_files=[str(tmp_path / "far.nii.gz")])
    with pytest.raises(ValueError, match="a warp of FSL with absolute=True"):
        evaluate(setting, tmp_path, field_files=[setting.paths["field"]], absolute=True)
