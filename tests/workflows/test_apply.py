from dipy.io.streamline import load_tractogram
import nibabel as nib
from nibabel.streamlines import Tractogram
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.field_files import save_field
from dipy_nn_reg.workflows.apply import ApplyFlow
from dipy_nn_reg.workflows.inputs import read_points


@pytest.fixture
def setting(scene, write, tmp_path):
    """Return a scene in files: static, moving, field and prealignment."""
    scene = scene(3, True)
    scene.mapping = scene.make_mapping()
    scene.static_path = write(
        "static.nii.gz", np.zeros(scene.field.shape[:-1], np.uint8), scene.static_affine
    )
    scene.moving_path = write(
        "moving.nii.gz", scene.moving.astype(np.float32), scene.moving_affine
    )
    scene.field_path = tmp_path / "in" / "field.nii.gz"
    save_field(scene.field_path, scene.mapping)
    return scene


def apply(setting, moving, *transforms, static=None, out, **options):
    flow = ApplyFlow()
    transforms = [str(path) for path in transforms or [setting.field_path]]
    static = setting.static_path if static is None else static
    flow.run(str(static), str(moving), transforms, out_dir=str(out), **options)
    return flow.last_generated_outputs["out_file"]


def test_an_image_is_warped_as_by_its_map(setting, tmp_path):
    out = nib.load(apply(setting, setting.moving_path, out=tmp_path))
    npt.assert_allclose(
        out.get_fdata(), setting.mapping.transform(setting.moving), atol=1e-5
    )
    npt.assert_allclose(out.affine, setting.static_affine, atol=1e-5)
    assert out.get_data_dtype() == np.float32


def test_the_inverse_goes_the_other_way(setting, write, tmp_path):
    image = np.random.default_rng(0).random(setting.field.shape[:-1], np.float32)
    path = write("image.nii.gz", image, setting.static_affine)
    out = apply(setting, path, static=setting.moving_path, inverse=True, out=tmp_path)
    npt.assert_allclose(
        nib.load(out).get_fdata(), setting.mapping.transform_inverse(image), atol=1e-5
    )


def test_a_series_is_warped_volume_by_volume(setting, write, tmp_path):
    series = setting.moving[..., None] * np.arange(1, 4, dtype=np.float32)
    path = write("dwi.nii.gz", series.astype(np.float32), setting.moving_affine)
    out = nib.load(apply(setting, path, out=tmp_path)).get_fdata()
    assert out.shape == (*setting.field.shape[:-1], 3)
    for volume, image in zip(np.moveaxis(out, -1, 0), np.moveaxis(series, -1, 0)):
        npt.assert_allclose(volume, setting.mapping.transform(image), atol=3e-5)


def test_labels_keep_values_and_type(setting, write, tmp_path):
    labels = np.random.default_rng(0).choice([0, 3, 900], setting.moving.shape)
    path = write("labels.nii.gz", labels.astype(np.uint16), setting.moving_affine)
    out = nib.load(apply(setting, path, interpolation="nearest", out=tmp_path))
    assert out.get_data_dtype() == np.uint16
    assert set(np.unique(out.dataobj)) == {0, 3, 900}


def test_several_transforms_interpolate_once(setting, write, tmp_path):
    """A checkerboard would not survive a shift of half a voxel and back."""
    image = np.indices(setting.field.shape[:-1]).sum(0) % 2
    path = write("image.nii.gz", image.astype(np.float32), setting.static_affine)
    shift = np.eye(4)
    shift[:3, 3] = setting.static_affine[:3, 0] / 2
    paths = tmp_path / "there.txt", tmp_path / "back.txt"
    for name, affine in zip(paths, (shift, np.linalg.inv(shift))):
        np.savetxt(name, affine)
    out = apply(setting, path, *paths, out=tmp_path)
    npt.assert_allclose(nib.load(out).get_fdata(), image, atol=1e-5)


def test_points_go_against_the_image(setting, tmp_path):
    """From the moving to the static image, as anything that is moved."""
    points = setting.moving_affine[:3, 3] + np.random.default_rng(0).normal(size=(9, 3))
    np.savetxt(tmp_path / "points.csv", points, delimiter=",")
    out = apply(setting, tmp_path / "points.csv", out=tmp_path / "out")
    expected = setting.mapping.transform_points_inverse(points)
    npt.assert_allclose(read_points(out), expected, atol=1e-5)
    options = {"static": setting.moving_path, "inverse": True}
    out = apply(setting, tmp_path / "points.csv", **options, out=tmp_path / "inverse")
    expected = setting.mapping.transform_points(points)
    npt.assert_allclose(read_points(out), expected, atol=1e-5)


@pytest.mark.parametrize("ending", [".trk", ".trx", ".tck"])
def test_streamlines_end_where_the_map_says(ending, setting, tmp_path):
    """Streamlines of known voxels, in the space of the moving image."""
    rng = np.random.default_rng(0)
    voxels = [rng.uniform(6, 15, size=(n, 3)) for n in (5, 2, 8)]
    affine = setting.moving_affine
    lines = [points @ affine[:3, :3].T + affine[:3, 3] for points in voxels]
    path = tmp_path / f"lines{ending}"
    write_lines(path, lines, setting)
    out = apply(setting, path, out=tmp_path / "out")
    assert out.name == f"transformed{ending}"
    expected = [np.asarray(setting.mapping.transform_points_inverse(p)) for p in lines]

    reference = str(setting.static_path) if ending == ".tck" else "same"
    found = load_tractogram(str(out), reference, bbox_valid_check=False).streamlines
    assert len(found) == 3
    for one, other in zip(found, expected):
        npt.assert_allclose(one, other, atol=1e-3)
    if ending != ".trx":
        for one, other in zip(nib.streamlines.load(out).streamlines, expected):
            npt.assert_allclose(one, other, atol=1e-3)
    if ending == ".trk":
        header = nib.streamlines.load(out).header
        npt.assert_allclose(header["voxel_to_rasmm"], setting.static_affine, atol=1e-5)
        assert tuple(header["dimensions"]) == setting.field.shape[:-1]


def write_lines(path, lines, setting):
    from dipy.io.stateful_tractogram import Space, StatefulTractogram
    from dipy.io.streamline import save_tractogram

    if path.suffix == ".tck":  # by nibabel alone
        nib.streamlines.save(Tractogram(lines, affine_to_rasmm=np.eye(4)), path)
        return
    tractogram = StatefulTractogram(lines, str(setting.moving_path), Space.RASMM)
    save_tractogram(tractogram, str(path), bbox_valid_check=False)


def test_bvecs_turn_with_the_affine_part(setting, write, tmp_path):
    bvecs = np.eye(3)
    np.savetxt(tmp_path / "in.bvec", bvecs)
    series = np.repeat(setting.moving[..., None], 3, -1).astype(np.float32)
    path = write("dwi.nii.gz", series, setting.moving_affine)
    apply(setting, path, bvecs=str(tmp_path / "in.bvec"), out=tmp_path)
    rotated = np.loadtxt(tmp_path / "transformed.bvec").T

    def world(bvecs, affine):
        """Return the directions that FSL's b-vectors mean in the world."""
        axes = np.linalg.qr(affine[:3, :3])[0]
        axes *= np.sign(np.sum(axes * affine[:3, :3], axis=0))
        flip = -1 if np.linalg.det(affine[:3, :3]) > 0 else 1
        return (bvecs * [flip, 1, 1]) @ axes.T

    # Grids are all but orthogonal, and so is the affine: the angles are close.
    turn = np.linalg.svd(setting.prealign[:3, :3])
    turned = world(rotated, setting.static_affine) @ (turn[0] @ turn[2]).T
    cosines = np.sum(turned * world(bvecs, setting.moving_affine), axis=1)
    assert np.degrees(np.arccos(np.clip(cosines, -1, 1))).max() < 4

    np.savetxt(tmp_path / "few.bvec", bvecs[:2])
    with pytest.raises(ValueError, match="b-vector for each volume"):
        apply(setting, path, bvecs=str(tmp_path / "few.bvec"), out=tmp_path / "few")


def test_several_files_have_names_of_their_own(setting, tmp_path):
    np.savetxt(tmp_path / "in" / "points.csv", np.zeros((2, 3)), delimiter=",")
    pattern = tmp_path / "in" / "[mp]o*"
    apply(setting, pattern, out=tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "moving__transformed.nii.gz",
        "points__transformed.csv",
    }


def test_a_field_of_two_axes_serves_slices(scene, write, tmp_path):
    flat = scene(2, False)
    flat.static_affine = flat.moving_affine = np.diag([2.0, 1.5, 1])
    mapping = flat.make_mapping()
    save_field(tmp_path / "field.nii.gz", mapping)
    affine = np.diag([2.0, 1.5, 1, 1])
    static = write("static.nii", np.zeros(flat.field.shape[:-1], np.uint8), affine)
    moving = write("moving.nii", flat.moving.astype(np.float32), affine)
    flow = ApplyFlow()
    fields = [str(tmp_path / "field.nii.gz")]
    flow.run(str(static), str(moving), fields, out_dir=str(tmp_path / "out"))
    out = nib.load(flow.last_generated_outputs["out_file"]).get_fdata()
    npt.assert_allclose(out[..., 0], mapping.transform(flat.moving), atol=1e-5)


def test_a_field_of_another_image_is_refused(setting, write, tmp_path):
    other = write("other.nii.gz", np.zeros((30, 30, 30), np.float32))
    with pytest.raises(ValueError, match=r"27 x 24 x 21 voxels.*30 x 30 x 30"):
        apply(setting, other, out=tmp_path / "out")
    with pytest.raises(ValueError, match=r"22 x 25 x 19 voxels.*30 x 30 x 30"):
        apply(setting, setting.moving_path, static=other, out=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    assert apply(setting, other, any_grid=True, out=tmp_path / "out").is_file()


def test_another_resolution_of_the_same_box_is_not_another_image(
    setting, write, tmp_path
):
    fine = np.repeat(np.repeat(np.repeat(setting.moving, 2, 0), 2, 1), 2, 2)
    affine = setting.moving_affine @ np.diag([0.5, 0.5, 0.5, 1])
    affine[:3, 3] = setting.moving_affine[:3, 3] - affine[:3, :3] @ [0.5, 0.5, 0.5]
    path = write("fine.nii.gz", fine.astype(np.float32), affine)
    out = nib.load(apply(setting, path, out=tmp_path)).get_fdata()
    expected = setting.mapping.transform(setting.moving)
    assert np.corrcoef(out.ravel(), expected.ravel())[0, 1] > 0.98


def test_what_is_no_field_is_refused(setting, tmp_path):
    with pytest.raises(ValueError, match="Expected a field of format"):
        apply(setting, setting.moving_path, setting.static_path, out=tmp_path / "out")


@pytest.mark.parametrize("what", ["image", "streamlines"])
def test_an_interruption_leaves_no_half_file(what, setting, tmp_path, monkeypatch):
    def interrupt(_, path, *args, **kwargs):
        with open(path, "wb") as file:
            file.write(b"half a file")
        raise KeyboardInterrupt

    moving = setting.moving_path
    if what == "streamlines":
        moving = tmp_path / "lines.trk"
        write_lines(moving, [np.zeros((2, 3))], setting)
        monkeypatch.setattr("dipy.io.streamline.save_tractogram", interrupt)
    else:
        monkeypatch.setattr("nibabel.save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        apply(setting, moving, out=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
