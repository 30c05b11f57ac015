from functools import partial

import ants
from dipy.io.streamline import load_tractogram
import nibabel as nib
from nibabel.affines import apply_affine
from nibabel.streamlines import Tractogram
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from dipy_nn_reg.io.field_formats import FORMATS, WRITABLE_FORMATS
from dipy_nn_reg.io.fields import save_mapping
from dipy_nn_reg.io.point_tables import read_points, write_points
from dipy_nn_reg.mapping.affines import grid_points
from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.workflows.apply import ApplyFlow


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
    save_mapping(scene.field_path, scene.mapping)
    return scene


def apply(setting, moving, *transforms, static=None, out, force=False, **options):
    flow = ApplyFlow(force=force)
    transforms = [str(path) for path in transforms or [setting.field_path]]
    static = setting.static_path if static is None else static
    options = {"fill": 0.0, **options}  # as DIPY's map reads outside of an image
    flow.run(str(static), str(moving), transforms, out_dir=str(out), **options)
    return flow.last_generated_outputs["out_file"]


def inverted(mapping, points):
    """Return what a map brings to points, by its forward field alone."""
    found = np.asarray(mapping.transform_points_inverse(points))
    for _ in range(200):
        off = mapping.transform_points(found) - points
        found = found - 0.5 * off @ mapping.prealign[:3, :3].T
    return found


def test_an_image_is_warped_as_by_its_map(setting, tmp_path):
    out = nib.load(apply(setting, setting.moving_path, out=tmp_path))
    npt.assert_allclose(
        out.get_fdata(), setting.mapping.transform(setting.moving), atol=1e-5
    )
    npt.assert_allclose(out.affine, setting.static_affine, atol=1e-5)
    assert out.get_data_dtype() == np.float32


def test_voxels_outside_of_an_image_get_its_background(setting, write, tmp_path):
    """As if that value were subtracted: DIPY reads 0 outside."""
    ct = np.pad(1000 * setting.moving[2:-2, 2:-2, 2:-2], 2) - 1000
    path = write("ct.nii.gz", ct.astype(np.float32), setting.moving_affine)
    out = nib.load(apply(setting, path, fill=None, out=tmp_path)).get_fdata()
    expected = setting.mapping.transform(ct + 1000) - 1000
    assert np.any(expected == -1000)
    npt.assert_allclose(out, expected, atol=0.01)
    options = {"fill": 7.0, "out_file": "seven.nii.gz", "out": tmp_path}
    out = nib.load(apply(setting, path, **options)).get_fdata()
    npt.assert_allclose(out, setting.mapping.transform(ct - 7) + 7, atol=0.01)


@pytest.mark.parametrize(
    "options", [{"fill": np.nan}, {"fill": "x"}, {"fill": -1.0, "labels": True}]
)
def test_invalid_fill_is_refused(options, setting, write, tmp_path):
    path = setting.moving_path
    if options.pop("labels", False):
        labels = np.ones(setting.moving.shape, np.uint8)
        path = write("labels.nii.gz", labels, setting.moving_affine)
        options["interpolation"] = "nearest"
    with pytest.raises(ValueError, match="Expected fill"):
        apply(setting, path, out=tmp_path / "out", **options)
    assert not list((tmp_path / "out").glob("*"))


def test_the_inverse_transforms_from_static_to_moving(setting, write, tmp_path):
    image = np.random.default_rng(0).random(setting.field.shape[:-1], np.float32)
    path = write("image.nii.gz", image, setting.static_affine)
    out = apply(setting, path, static=setting.moving_path, inverse=True, out=tmp_path)
    there = inverted(
        setting.mapping, grid_points(setting.moving.shape, setting.moving_affine)
    )
    voxels = apply_affine(np.linalg.inv(setting.static_affine), there).T
    expected = map_coordinates(image, voxels, order=1, mode="grid-constant")
    # At the border, beyond which DIPY lets the field fade, points may come from both
    # sides of it.
    last = np.array(image.shape)[:, None] - 1
    inside = np.all((voxels > 1) & (voxels < last - 1), axis=0)
    assert inside.mean() > 0.2
    found = nib.load(out).get_fdata().ravel()
    npt.assert_allclose(found[inside], expected[inside], atol=2e-3)


@pytest.mark.parametrize("format", WRITABLE_FORMATS)
@pytest.mark.parametrize("ndim", [2, 3])
def test_the_inverse_undoes_the_forward_field_alone(
    format, ndim, smooth_field, write, tmp_path
):
    """Static coordinates, brought to the moving grid, lead back by SciPy's sampling."""
    shape, moving_shape = ((24, 26, 22), (27, 25, 24))
    if ndim == 2:
        shape, moving_shape = (24, 26, 1), (27, 25, 1)
    field = smooth_field(shape[:ndim], sigma=4, largest=2)
    static_affine = np.diag([-1.5, 1.2, 2, 1.0])
    moving_affine = np.diag([1.4, -1.3, 1.8, 1.0])
    for grid, size in ((static_affine, shape), (moving_affine, moving_shape)):
        grid[:3, 3] = -grid[:3, :3] @ (np.array(size) - 1) / 2
    prealign = np.eye(4)
    prealign[:2] = [[0.9, -0.3, 0, 1.5], [0.3, 0.95, 0, -2]]
    mapping = displacement_to_mapping(
        field,
        static_affine=static_affine,
        moving_shape=moving_shape,
        moving_affine=moving_affine,
        prealign=prealign,
    )
    path = tmp_path / f"field{FORMATS[format].endings[-1]}"
    save_mapping(path, mapping, format=format)
    ramps = np.moveaxis(np.indices(shape), 0, -1) @ static_affine[:3, :3].T
    ramps = (ramps + static_affine[:3, 3]).astype(np.float32)
    ApplyFlow().run(
        str(write("moving.nii.gz", np.zeros(moving_shape, np.uint8), moving_affine)),
        str(write("ramps.nii.gz", ramps, static_affine)),
        [str(path)],
        inverse=True,
        out_dir=str(tmp_path),
    )
    found = nib.load(tmp_path / "transformed.nii.gz").get_fdata().reshape(-1, 3)

    points = np.indices(moving_shape).reshape(3, -1).T
    points = nib.affines.apply_affine(moving_affine, points)
    to_voxels = np.linalg.inv(static_affine)
    start = nib.affines.apply_affine(to_voxels @ np.linalg.inv(prealign), points)
    # Twice the largest displacement from the border.
    inside = np.all(
        np.abs(start - (np.array(shape) - 1) / 2)[:, :ndim]
        < np.array(shape[:ndim]) / 2 - 4,
        axis=1,
    )
    assert inside.sum() > 100
    voxels = nib.affines.apply_affine(to_voxels, found[inside])
    for d in range(ndim):
        step = map_coordinates(field[..., d], voxels.T[:ndim], order=1, mode="nearest")
        found[inside] += step[:, None] * static_affine[:3, d]
    back = nib.affines.apply_affine(prealign, found[inside])
    errors = np.linalg.norm(back - points[inside], axis=1)
    assert errors.max() < 0.05  # mm; voxels are 1.2 to 2
    assert errors.mean() < 0.01


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
    """Two interpolations of a checkerboard by half a voxel would blur it."""
    image = np.indices(setting.field.shape[:-1]).sum(0) % 2
    path = write("image.nii.gz", image.astype(np.float32), setting.static_affine)
    shift = np.eye(4)
    shift[:3, 3] = setting.static_affine[:3, 0] / 2
    paths = tmp_path / "there.txt", tmp_path / "back.txt"
    for name, affine in zip(paths, (shift, np.linalg.inv(shift))):
        np.savetxt(name, affine)
    out = apply(setting, path, *paths, out=tmp_path)
    npt.assert_allclose(nib.load(out).get_fdata(), image, atol=1e-5)


def test_an_error_names_the_file_that_was_asked_for(setting, tmp_path):
    with pytest.raises(ValueError, match=f"for '{tmp_path}/warped.png'"):
        apply(setting, setting.moving_path, out=tmp_path, out_file="warped.png")


@pytest.mark.parametrize("name", ["points.csv", "POINTS.CSV"])
def test_points_are_transformed_from_moving_to_static(name, setting, tmp_path):
    """Points go in the same direction as images."""
    points = setting.moving_affine[:3, 3] + np.random.default_rng(0).normal(size=(9, 3))
    np.savetxt(tmp_path / name, points, delimiter=",")
    out = apply(setting, tmp_path / name, out=tmp_path / "out")
    expected = inverted(setting.mapping, points)
    npt.assert_allclose(read_points(out), expected, atol=2e-3)
    options = {"static": setting.moving_path, "inverse": True}
    out = apply(setting, tmp_path / name, **options, out=tmp_path / "inverse")
    expected = setting.mapping.transform_points(points)
    npt.assert_allclose(read_points(out), expected, atol=1e-5)


@pytest.mark.parametrize("ending", [".trk", ".trx", ".tck"])
def test_streamlines_are_transformed_by_the_map(ending, setting, tmp_path):
    """Streamlines through random voxels of the moving image."""
    rng = np.random.default_rng(0)
    voxels = [rng.uniform(6, 15, size=(n, 3)) for n in (5, 2, 8)]
    affine = setting.moving_affine
    lines = [points @ affine[:3, :3].T + affine[:3, 3] for points in voxels]
    path = tmp_path / f"lines{ending}"
    write_lines(path, lines, setting)
    out = apply(setting, path, out=tmp_path / "out")
    assert out.name == f"transformed{ending}"
    expected = [inverted(setting.mapping, p) for p in lines]

    reference = str(setting.static_path) if ending == ".tck" else "same"
    result = load_tractogram(str(out), reference, bbox_valid_check=False).streamlines
    assert len(result) == 3
    for one, other in zip(result, expected):
        npt.assert_allclose(one, other, atol=1e-3)
    if ending != ".trx":
        for one, other in zip(nib.streamlines.load(out).streamlines, expected):
            npt.assert_allclose(one, other, atol=1e-3)
    if ending == ".trk":
        header = nib.streamlines.load(out).header
        npt.assert_allclose(header["voxel_to_rasmm"], setting.static_affine, atol=1e-5)
        assert tuple(header["dimensions"]) == setting.field.shape[:-1]


def test_groups_of_streamlines_are_carried_over(setting, tmp_path):
    """Those of TRX, which DIPY's tractograms do not have."""
    from trx import trx_file_memmap as trx

    lines = [np.full((4, 3), 10.0) + i for i in range(4)]
    path = tmp_path / "lines.trx"
    write_lines(path, lines, setting)
    file = trx.load(str(path))
    file.groups = {"left": np.array([0, 2], np.uint32)}
    file.data_per_group = {"left": {"fa": np.array([0.5], np.float32)}}
    trx.save(file, str(path))
    file.close()
    out = trx.load(str(apply(setting, path, out=tmp_path / "out")))
    assert list(out.groups) == ["left"]
    npt.assert_array_equal(out.groups["left"], [0, 2])
    npt.assert_array_equal(out.data_per_group["left"]["fa"], [[0.5]])
    expected = inverted(setting.mapping, np.concatenate(lines))
    npt.assert_allclose(out.streamlines.get_data(), expected, atol=1e-3)
    out.close()


@pytest.mark.parametrize("ending", [".TRK", ".TCK"])
def test_endings_in_upper_case_are_refused_as_such(ending, setting, tmp_path):
    path = tmp_path / "lines.trk"
    write_lines(path, [np.full((4, 3), 10.0)], setting)
    path = path.rename(tmp_path / f"lines{ending}")
    with pytest.raises(ValueError, match="ending in lower case"):
        apply(setting, path, out=tmp_path / "out")


def write_lines(path, lines, setting):
    from dipy.io.stateful_tractogram import Space, StatefulTractogram
    from dipy.io.streamline import save_tractogram

    if path.suffix == ".tck":  # written by nibabel
        nib.streamlines.save(Tractogram(lines, affine_to_rasmm=np.eye(4)), str(path))
        return
    tractogram = StatefulTractogram(lines, str(setting.moving_path), Space.RASMM)
    save_tractogram(tractogram, str(path), bbox_valid_check=False)


def test_bvecs_are_rotated_by_the_affine_part(setting, write, tmp_path):
    bvecs = np.eye(3)
    np.savetxt(tmp_path / "in.bvec", bvecs)
    series = np.repeat(setting.moving[..., None], 3, -1).astype(np.float32)
    path = write("dwi.nii.gz", series, setting.moving_affine)
    apply(setting, path, bvecs=str(tmp_path / "in.bvec"), out=tmp_path)
    rotated = np.loadtxt(tmp_path / "transformed.bvec").T

    def world(bvecs, affine):
        """Return b-vectors of FSL as directions in world coordinates."""
        axes = np.linalg.qr(affine[:3, :3])[0]
        axes *= np.sign(np.sum(axes * affine[:3, :3], axis=0))
        flip = -1 if np.linalg.det(affine[:3, :3]) > 0 else 1
        return (bvecs * [flip, 1, 1]) @ axes.T

    # Grids and affine are almost orthogonal, so that angles are almost kept.
    turn = np.linalg.svd(setting.prealign[:3, :3])
    turned = world(rotated, setting.static_affine) @ (turn[0] @ turn[2]).T
    cosines = np.sum(turned * world(bvecs, setting.moving_affine), axis=1)
    assert np.degrees(np.arccos(np.clip(cosines, -1, 1))).max() < 4

    np.savetxt(tmp_path / "long.bvec", [1, 1.3, 1] * bvecs)
    with pytest.raises(ValueError, match="length 1 .*1 that are not.*1.3 for volume 1"):
        apply(setting, path, bvecs=str(tmp_path / "long.bvec"), out=tmp_path / "long")
    np.savetxt(tmp_path / "few.bvec", bvecs[:2])
    with pytest.raises(ValueError, match="b-vector for each volume"):
        apply(setting, path, bvecs=str(tmp_path / "few.bvec"), out=tmp_path / "few")


def test_results_of_several_files_have_distinct_names(setting, tmp_path):
    np.savetxt(tmp_path / "in" / "points.csv", np.zeros((2, 3)), delimiter=",")
    pattern = tmp_path / "in" / "[mp]o*"
    apply(setting, pattern, out=tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "moving__transformed.nii.gz",
        "points__transformed.csv",
    }


def test_a_2d_field_transforms_slices(scene, write, tmp_path):
    flat = scene(2, False)
    flat.static_affine = flat.moving_affine = np.diag([2.0, 1.5, 1])
    mapping = flat.make_mapping()
    save_mapping(tmp_path / "field.nii.gz", mapping)
    affine = np.diag([2.0, 1.5, 1, 1])
    static = write("static.nii", np.zeros(flat.field.shape[:-1], np.uint8), affine)
    moving = write("moving.nii", flat.moving.astype(np.float32), affine)
    flow = ApplyFlow()
    fields = [str(tmp_path / "field.nii.gz")]
    options = {"fill": 0.0, "out_dir": str(tmp_path / "out")}
    flow.run(str(static), str(moving), fields, **options)
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


def test_an_image_of_another_resolution_is_accepted(setting, write, tmp_path):
    fine = np.repeat(np.repeat(np.repeat(setting.moving, 2, 0), 2, 1), 2, 2)
    affine = setting.moving_affine @ np.diag([0.5, 0.5, 0.5, 1])
    affine[:3, 3] = setting.moving_affine[:3, 3] - affine[:3, :3] @ [0.5, 0.5, 0.5]
    path = write("fine.nii.gz", fine.astype(np.float32), affine)
    out = nib.load(apply(setting, path, out=tmp_path)).get_fdata()
    expected = setting.mapping.transform(setting.moving)
    assert np.corrcoef(out.ravel(), expected.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("name", ["measures.csv", "bundle.trk", "slice.png"])
def test_files_that_are_no_transforms_are_refused(name, setting, tmp_path):
    (tmp_path / name).write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=f"field .* or an affine.*{name}"):
        apply(setting, setting.moving_path, tmp_path / name, out=tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"out_file": "warped.jpg"},
            r"'\.nii', '\.nii\.gz', '\.png', '\.tif'.*warped.jpg",
        ),
        (
            {"strategy": "finite_strain"},
            "Expected reorient.*strategy='finite_strain' al",
        ),
        ({"convention": "fsl", "modulate": True}, "convention='fsl', modulate=True al"),
    ],
)
def test_an_error_names_what_was_asked_for(options, message, setting, tmp_path):
    with pytest.raises(ValueError, match=message):
        apply(setting, setting.moving_path, out=tmp_path, **options)


def test_images_that_are_no_fields_are_refused(setting, tmp_path):
    with pytest.raises(ValueError, match="Expected a field of format"):
        apply(setting, setting.moving_path, setting.static_path, out=tmp_path / "out")


@pytest.mark.parametrize("kind", ["image", "streamlines"])
def test_an_interruption_leaves_no_partial_file(kind, setting, tmp_path, monkeypatch):
    def interrupt(_, path, *args, **kwargs):
        with open(path, "wb") as file:
            interrupt_stream(_, file)

    def interrupt_stream(_, stream):
        stream.write(b"half a file")
        raise KeyboardInterrupt

    moving = setting.moving_path
    if kind == "streamlines":
        moving = tmp_path / "lines.trk"
        write_lines(moving, [np.zeros((2, 3))], setting)
        monkeypatch.setattr("dipy.io.streamline.save_tractogram", interrupt)
    else:
        monkeypatch.setattr("nibabel.Nifti1Image.to_stream", interrupt_stream)
    with pytest.raises(KeyboardInterrupt):
        apply(setting, moving, out=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("ending", [".trk", ".tck"])
def test_tractograms_are_transformed_to_images_of_other_formats(
    ending, setting, tmp_path
):
    """The points are the same as with a NIfTI image."""
    static = nib.MGHImage(
        np.zeros(setting.field.shape[:-1], np.uint8), setting.static_affine
    )
    nib.save(static, tmp_path / "static.mgz")
    lines = [np.random.default_rng(i).normal(size=(6, 3)) * 4 for i in range(3)]
    tractogram = Tractogram(lines, affine_to_rasmm=np.eye(4))
    path = tmp_path / f"bundle{ending}"
    nib.streamlines.save(
        tractogram,
        str(path),
        **(
            {
                "header": {
                    "dimensions": setting.moving.shape,
                    "voxel_to_rasmm": setting.moving_affine.astype(np.float32),
                }
            }
            if ending == ".trk"
            else {}
        ),
    )
    result = [
        apply(setting, path, static=static, out=tmp_path / name)
        for name, static in (("a", None), ("b", tmp_path / "static.mgz"))
    ]
    expected, streamlines = (nib.streamlines.load(p).streamlines for p in result)
    assert np.abs(expected.get_data() - np.concatenate(lines)).max() > 0.5
    npt.assert_allclose(streamlines.get_data(), expected.get_data(), atol=1e-3)


def test_a_series_keeps_its_time_step(setting, write, tmp_path):
    series = np.repeat(setting.moving[..., None].astype(np.float32), 2, axis=-1)
    image = nib.Nifti1Image(series, setting.moving_affine)
    image.header.set_zooms((*image.header.get_zooms()[:3], 2.5))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / "bold.nii.gz")
    out = nib.load(apply(setting, tmp_path / "bold.nii.gz", out=tmp_path / "out"))
    assert out.header.get_zooms()[3] == 2.5
    assert out.header.get_xyzt_units()[1] == "sec"


def test_a_series_of_one_volume_needs_one_b_vector(setting, tmp_path):
    series = setting.moving[..., None].astype(np.float32)
    nib.save(nib.Nifti1Image(series, setting.moving_affine), tmp_path / "dwi.nii.gz")
    np.savetxt(tmp_path / "dwi.bvec", [[0.6], [0.8], [0]])
    options = {"bvecs": str(tmp_path / "dwi.bvec"), "out": tmp_path / "out"}
    apply(setting, tmp_path / "dwi.nii.gz", **options)
    result = np.loadtxt(tmp_path / "out" / "transformed.bvec")
    assert result.shape == (3,)
    assert np.linalg.norm(result) == pytest.approx(1, abs=1e-6)
    np.savetxt(tmp_path / "dwi.bvec", np.eye(3)[:, :2])
    with pytest.raises(ValueError, match="b-vector for each volume .*Received 2"):
        apply(setting, tmp_path / "dwi.nii.gz", **(options | {"out": tmp_path / "b"}))
    assert not (tmp_path / "b" / "transformed.nii.gz").exists()


def test_b_vectors_of_an_earlier_series_do_not_remain_beside_another(setting, tmp_path):
    series = setting.moving[..., None].astype(np.float32)
    nib.save(nib.Nifti1Image(series, setting.moving_affine), tmp_path / "dwi.nii.gz")
    np.savetxt(tmp_path / "dwi.bvec", [[0.6], [0.8], [0]])
    pair, out = (setting, tmp_path / "dwi.nii.gz"), tmp_path / "out"
    apply(*pair, out=out, bvecs=str(tmp_path / "dwi.bvec"))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(FileExistsError, match="remain beside a new transf.*ed.bvec"):
        apply(*pair, out=out, force=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    apply(*pair, out=out, force=True, bvecs=str(tmp_path / "dwi.bvec"))
    apply(*pair, out=out, force=True, out_file="another.nii.gz")
    assert before.keys() | {"another.nii.gz"} == {path.name for path in out.iterdir()}


def test_large_labels_keep_their_values(setting, write, tmp_path):
    values = np.array([0, 2**53 + 1, 2**64 - 1], np.uint64)
    labels = values[np.random.default_rng(0).integers(0, 3, setting.moving.shape)]
    path = tmp_path / "labels.nii.gz"
    nib.save(nib.Nifti1Image(labels, setting.moving_affine, dtype=np.uint64), path)
    out = nib.load(apply(setting, path, interpolation="nearest", out=tmp_path))
    assert out.get_data_dtype() == np.uint64
    assert set(np.unique(np.asanyarray(out.dataobj))) == set(values)


def test_points_and_labels_of_a_slice_in_every_format(smooth_field, write, tmp_path):
    """Labels are moved by the inverse, which was 0 for a single slice earlier."""
    field = smooth_field((24, 26), sigma=4, largest=3)
    affine = np.diag([-1.5, -1.5, 4, 1])
    mapping = displacement_to_mapping(field, static_affine=affine, moving_affine=affine)
    image = write("image.nii.gz", np.zeros((24, 26, 1), np.uint8), affine)
    labels = np.indices((24, 26, 1)).sum(0) // 6 % 2
    path = write("labels.nii.gz", labels.astype(np.uint8), affine)
    points = np.random.default_rng(0).uniform([-24, -27, 0], [-9, -12, 0], (9, 3))
    write_points(tmp_path / "points.csv", points)
    for format in WRITABLE_FORMATS:
        out = tmp_path / format
        saved = tmp_path / f"{format}{FORMATS[format].endings[-1]}"
        save_mapping(saved, mapping, format=format)
        moved = []
        for name, inverse in (("points.csv", False), ("points.csv", True)):
            flow = ApplyFlow(force=True)
            flow.run(
                str(image),
                str(tmp_path / name),
                [str(saved)],
                inverse=inverse,
                out_dir=str(out),
            )
            moved.append(read_points(flow.last_generated_outputs["out_file"]))
        npt.assert_allclose(
            moved[0], mapping.transform_points_inverse(points), atol=0.05
        )
        npt.assert_allclose(moved[1], mapping.transform_points(points), atol=0.01)
        flow = ApplyFlow(force=True)
        flow.run(
            str(image),
            str(path),
            [str(saved)],
            inverse=True,
            interpolation="nearest",
            out_dir=str(out),
        )
        result = nib.load(flow.last_generated_outputs["out_file"]).get_fdata()
        expected = mapping.transform_inverse(labels, interpolation="nearest")
        # Labels near the border come from outside of the grid.
        assert np.mean((result != expected)[4:-4, 4:-4]) < 0.01


def test_absolute_warps_of_fsl_are_applied(setting, tmp_path):
    """Values are ambiguous because the images have opposite orientations."""
    path = tmp_path / "warp.nii.gz"
    save_mapping(path, setting.mapping, format="fsl")
    image = nib.load(path)
    voxels = np.moveaxis(np.indices(setting.field.shape[:-1], float), 0, -1)
    if np.linalg.det(image.affine[:3, :3]) > 0:
        voxels[..., 0] = voxels.shape[0] - 1 - voxels[..., 0]
    positions = image.get_fdata() + voxels * image.header.get_zooms()[:3]
    _save_warp(path, positions, image.affine)
    out = apply(setting, setting.moving_path, path, absolute=True, out=tmp_path / "out")
    npt.assert_allclose(
        nib.load(out).get_fdata(), setting.mapping.transform(setting.moving), atol=2e-3
    )


def _save_warp(path, values, affine):
    """Write a warp as FSL does, whose header tells nothing of the moving image."""
    warp = nib.Nifti1Image(np.float32(values), affine)
    warp.header.set_intent(2006, allow_unknown=True)
    nib.save(warp, path)


@pytest.mark.parametrize("inverse", [False, True])
def test_points_move_through_fields_of_fsl(inverse, setting, tmp_path):
    path = tmp_path / "warp.nii.gz"
    save_mapping(path, setting.mapping, format="fsl")
    image = nib.load(path)
    _save_warp(path, image.get_fdata(), image.affine)
    # At the border, DIPY lets the field fade.
    inner = np.pad(np.ones(np.subtract(setting.field.shape[:-1], 4)), 2)
    points = apply_affine(setting.static_affine, np.argwhere(inner)[::50])
    there = np.asarray(setting.mapping.transform_points(points))
    moving, expected = (points, there) if inverse else (there, points)
    write_points(tmp_path / "points.csv", moving)
    images = setting.static_path, setting.moving_path
    beside, static = images if inverse else images[::-1]
    run = partial(apply, setting, tmp_path / "points.csv", path, static=static)
    out = run(moving_grid_file=beside, inverse=inverse, out=tmp_path / "out")
    npt.assert_allclose(read_points(out), expected, atol=5e-3)
    if not inverse:
        with pytest.raises(ValueError, match="warp.nii.gz.*--moving_grid_file"):
            run(out=tmp_path / "none")


def test_a_grid_beside_an_image_is_refused(setting, tmp_path):
    options = {"moving_grid_file": setting.moving_path, "out": tmp_path / "out"}
    with pytest.raises(ValueError, match="points or a tractogram with moving_grid"):
        apply(setting, setting.moving_path, **options)


def test_bvecs_without_an_image_are_refused(setting, tmp_path):
    np.savetxt(tmp_path / "in.bvec", np.eye(3))
    write_points(tmp_path / "points.csv", np.zeros((1, 3)))
    options = {"bvecs": str(tmp_path / "in.bvec"), "out": tmp_path / "out"}
    with pytest.raises(ValueError, match="a DWI series, with bvecs. .*points.csv"):
        apply(setting, tmp_path / "points.csv", **options)


@pytest.mark.parametrize("direction", ["fwdtransforms", "invtransforms"])
def test_composites_of_ants_are_applied_as_by_ants(direction, scene, write, tmp_path):
    """An affine comes before the field of the inverse, and turns its grid."""
    pair = scene(3, True, shear=0)
    warped = pair.make_mapping().transform(pair.moving).astype(np.float32)
    paths = [
        str(write("static.nii.gz", warped, pair.static_affine)),
        str(write("moving.nii.gz", pair.moving, pair.moving_affine)),
    ]
    fixed, moving = (ants.image_read(path) for path in paths)
    # The affine is given: found from random samples, it sometimes went astray.
    turn = Rotation.from_euler("xyz", [4, -3, 5], degrees=True).as_matrix()
    affine = ants.create_ants_transform(
        matrix=1.05 * turn,
        translation=[0.5, -0.4, 0.3],
        center=ants.get_center_of_mass(fixed),
    )
    ants.write_transform(affine, str(tmp_path / "affine.mat"))
    options = {"type_of_transform": "SyNOnly", "write_composite_transform": True}
    options |= {"outprefix": str(tmp_path / "ants"), "reg_iterations": (9, 5)}
    options["initial_transform"] = str(tmp_path / "affine.mat")
    path = ants.registration(fixed, moving, **options)[direction]
    if direction == "invtransforms":
        fixed, moving, paths = moving, fixed, paths[::-1]
    expected = ants.apply_transforms(fixed, moving, [path]).numpy()
    ApplyFlow().run(
        *paths, [path], any_grid=direction == "invtransforms", out_dir=str(tmp_path)
    )
    result = nib.load(tmp_path / "transformed.nii.gz").get_fdata()
    # Beyond the borders of the image and the field, programs fade in other ways.
    shrunk = np.zeros(moving.shape, np.float32)
    shrunk[(slice(3, -3),) * 3] = 1
    shrunk = moving.new_image_like(shrunk)
    inner = ants.apply_transforms(fixed, shrunk, [path]).numpy() > 0.999
    assert inner.mean() > 0.1 and np.ptp(expected[inner]) > 0.2
    npt.assert_allclose(result[inner], expected[inner], atol=2e-3)
