from dipy.core.gradients import gradient_table
import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

import dipy_nn_reg
from dipy_nn_reg.data.fibres import make_fibres, make_series
from dipy_nn_reg.io.fields import load_mapping
from dipy_nn_reg.workflows import dwi_files
from dipy_nn_reg.workflows.dwi import DwiFlow

SHAPE = (28, 32, 24)
AFFINE = np.diag([-2.0, 2, 2, 1])


@pytest.fixture
def study(write, smooth_field, tmp_path):
    """Return the paths of a series, its gradients and a template, and the series."""
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(8, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    values = np.r_[0, np.full(7, 1000.0), 0]
    bvecs = np.vstack([np.zeros(3), vectors[:7], np.zeros(3)])
    gtab = gradient_table(values, bvecs=bvecs)
    b0, tensors, _ = make_fibres(shape=SHAPE)
    series = 1000 * make_series(b0, tensors, gtab, noise=0.005, seed=0)
    # The sharp edges of a checkerboard would show a second interpolation.
    series[..., 7] = 1000 * (np.indices(SHAPE).sum(axis=0) % 2)
    field = smooth_field(SHAPE, sigma=5, largest=2)
    template, _, _ = make_fibres(shape=SHAPE, displacement=field)
    np.savetxt(tmp_path / "bval", values[None])
    missing = np.where(values[:, None] == 0, np.nan, bvecs)  # as FSL may write them
    missing[-1, 1] = 0  # as others may
    np.savetxt(tmp_path / "bvec", missing.T)
    files = [
        write("template.nii.gz", template, AFFINE),
        write("series.nii.gz", series.astype(np.float32), AFFINE),
        tmp_path / "bval",
        tmp_path / "bvec",
    ]
    return files, series


def run(files, out, *, force=False, **options):
    out.mkdir(exist_ok=True)
    DwiFlow(force=force).run(*map(str, files), out_dir=str(out), **options)


@pytest.mark.slow
def test_a_series_is_registered_and_interpolated_once(study, write, tmp_path):
    files, series = study
    mask = write("mask.nii.gz", np.ones(SHAPE, np.uint8), AFFINE)
    out = tmp_path / "out"
    options = {"mask_file": str(mask), "prealign": "none", "no_report": True}
    run(files, out, tensors=True, **options)
    mapping = load_mapping(out / "field.nii.gz")
    assert np.abs(mapping.backward).max() > 1
    found = nib.load(out / "dwi.nii.gz").get_fdata()
    voxels = np.moveaxis(np.indices(SHAPE, float), 0, -1)
    voxels += mapping.backward @ np.linalg.inv(AFFINE[:3, :3]).T
    options = {"order": 1, "mode": "nearest"}
    inside = np.all((voxels > 1) & (voxels < np.array(SHAPE) - 2), axis=-1)
    for volume in (0, 3, 7):
        once = map_coordinates(
            series[..., volume], np.moveaxis(voxels, -1, 0), **options
        )
        npt.assert_allclose(found[inside, volume], once[inside], atol=0.3)
    bvecs = np.loadtxt(out / "dwi.bvec")
    npt.assert_allclose(bvecs, np.nan_to_num(np.loadtxt(files[3])), atol=1e-6)
    assert (out / "dwi.bval").read_text() == files[2].read_text()
    expected = (series[..., 0] + series[..., 8]) / 2
    npt.assert_allclose(
        nib.load(out / "dwi_image.nii.gz").get_fdata(), expected, rtol=1e-5
    )
    assert nib.load(out / "tensors.nii.gz").shape == (*SHAPE, 1, 6)
    fa = nib.load(out / "fa.nii.gz").get_fdata()
    assert 0.7 < np.percentile(fa, 99) <= 1


def test_the_brain_is_found(study, tmp_path):
    files, series = study
    run(files, tmp_path / "out", no_report=True, no_series=True, prealign="none")
    mask = nib.load(tmp_path / "out" / "dwi_mask.nii.gz").get_fdata()
    assert 0.1 < mask.mean() < 0.9
    image = nib.load(tmp_path / "out" / "dwi_image.nii.gz").get_fdata()
    assert np.all(image[mask == 0] == 0)
    assert not (tmp_path / "out" / "dwi.nii.gz").exists()


def test_distortion_and_map_are_composed(study, write, smooth_field, tmp_path):
    """Beside SciPy: each voxel is read once, where both lead it, and scaled."""
    files, series = study
    field = 2 * smooth_field(SHAPE, sigma=4, largest=1.0)[..., 1]
    fieldmap = write("fieldmap.nii.gz", field, AFFINE)
    mask = write("mask.nii.gz", np.ones(SHAPE, np.uint8), AFFINE)
    out = tmp_path / "out"
    options = {"mask_file": str(mask), "prealign": "none", "no_report": True}
    run(files, out, fieldmap_file=str(fieldmap), direction="j-", **options)
    mapping = load_mapping(out / "field.nii.gz")
    found = nib.load(out / "dwi.nii.gz").get_fdata()
    voxels = np.moveaxis(np.indices(SHAPE, float), 0, -1)
    voxels += mapping.backward @ np.linalg.inv(AFFINE[:3, :3]).T
    inside = np.all((voxels > 3) & (voxels < np.array(SHAPE) - 4), axis=-1)
    at = np.moveaxis(voxels, -1, 0).copy()
    nearest = {"order": 1, "mode": "nearest"}
    change = 1 - map_coordinates(np.gradient(field, axis=1), at, **nearest)
    at[1] -= map_coordinates(field, at, **nearest)
    for volume in (0, 3, 7):
        once = change * map_coordinates(series[..., volume], at, **nearest)
        npt.assert_allclose(found[inside, volume], once[inside], atol=0.3)
    assert np.ptp(change[inside]) > 0.1
    # The image that is registered is corrected as well.
    voxels = np.indices(SHAPE, float)
    voxels[1] -= field
    b0 = (series[..., 0] + series[..., 8]) / 2
    b0 = map_coordinates(b0, voxels, order=1, mode="grid-constant")
    expected = b0 * (1 - np.gradient(field, axis=1))
    image = nib.load(out / "dwi_image.nii.gz").get_fdata()
    npt.assert_allclose(image, expected, atol=0.1)


def test_a_field_of_another_grid_is_refused(study, write, tmp_path):
    files, _ = study
    fieldmap = write("fieldmap.nii.gz", np.zeros((5, 6, 7)), AFFINE)
    with pytest.raises(ValueError, match="grid of the series"):
        run(files, tmp_path / "out", fieldmap_file=str(fieldmap), direction="j")
    with pytest.raises(ValueError, match="direction"):
        run(files, tmp_path / "out", direction="j")
    steep = np.zeros(SHAPE)
    steep[:, 16:] = 40
    fieldmap = write("hz.nii.gz", steep, AFFINE)
    with pytest.raises(ValueError, match="in voxels that does not fold.*hz.* 40 betw"):
        run(files, tmp_path / "out", fieldmap_file=str(fieldmap), direction="j")
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"image": "adc"}, "image"),
        ({"loss": "ssd"}, "loss"),
        ({"smoothness": -1.0}, "smoothness"),
        ({"static_file": 1}, "axes"),
        ({"b0_threshold": -1.0}, "b0_threshold"),
        ({"out_series": "dwi.trk"}, "nii"),
        ({"out_tensors": "tensors.trk"}, "nii"),
        ({"dwi_file": 0}, "four axes"),
        ({"bvals": 3}, "b-values, one for each"),
        ({"prealign": "missing.txt"}, "missing"),
    ],
)
def test_what_cannot_be_used_is_refused(change, message, study, tmp_path):
    """Before anything is written; numbers stand for another file of the study."""
    files, _ = study
    named = dict(zip(("static_file", "dwi_file", "bvals", "bvecs"), map(str, files)))
    change = {n: str(files[c]) if isinstance(c, int) else c for n, c in change.items()}
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises((ValueError, OSError), match=message):
        DwiFlow().run(**{**named, **change}, out_dir=str(out))
    assert not list(out.glob("*"))


def test_tensors_need_six_directions(study, tmp_path):
    """Of seven directions, two are taken for six others."""
    files, _ = study
    bvecs = np.nan_to_num(np.loadtxt(files[3]))
    bvecs[:, 3:8] = bvecs[:, [2]]
    np.savetxt(files[3], bvecs)
    for options in ({"tensors": True}, {"image": "fa"}):
        with pytest.raises(ValueError, match="determine tensors"):
            run(files, tmp_path / "out", **options)
    assert not list((tmp_path / "out").glob("*"))


def test_anisotropy_is_registered_beside_the_b0(study, write, tmp_path, monkeypatch):
    files, series = study
    path = write("template_fa.nii.gz", np.ones(SHAPE), AFFINE)
    given = {}

    def spy(moving, static, **options):
        given.update(options, moving=moving, static=static)
        raise KeyboardInterrupt

    monkeypatch.setattr(dipy_nn_reg, "register", spy, raising=False)
    with pytest.raises(KeyboardInterrupt):
        run(files, tmp_path / "out", static_fa=str(path), prealign="none")
    (b0, anisotropy), (template, other) = given["moving"], given["static"]
    assert other == path and template.shape == b0.shape == anisotropy.shape == SHAPE
    assert 0.7 < np.percentile(anisotropy, 99) <= 1 < b0.max()
    assert not list((tmp_path / "out").glob("*"))
    with pytest.raises(ValueError, match="image='b0' with static_fa"):
        run(files, tmp_path / "out", static_fa=str(path), image="fa")


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("warp_image", marks=pytest.mark.slow),
        pytest.param("warp_quantity", marks=pytest.mark.slow),
        "write_image",
    ],
)
def test_an_interruption_leaves_all_earlier_results(
    place, study, write, tmp_path, monkeypatch
):
    files, _ = study
    mask = write("mask.nii.gz", np.ones(SHAPE, np.uint8), AFFINE)
    out = tmp_path / "out"
    options = {"mask_file": str(mask), "prealign": "none", "tensors": True}
    run(files, out, **options)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert before.keys() > {"dwi.nii.gz", "fa.nii.gz", "field.nii.gz", "report.html"}

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(dwi_files, place, interrupt)
    files[0] = write("other.nii.gz", nib.load(files[0]).get_fdata()[::-1], AFFINE)
    with pytest.raises(KeyboardInterrupt):
        run(files, out, force=True, **options)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize(
    "name, damaged",
    [
        ("dwi.nii.gz", False),
        ("tensors.nii.gz", False),
        ("fa.nii.gz", False),
        ("fa.nii.gz", True),
    ],
)
def test_data_of_earlier_results_are_neither_left_nor_removed(
    name, damaged, study, tmp_path
):
    files, _ = study
    out, left = tmp_path / "out", tmp_path / "out" / name
    options = {"no_series": True, "no_report": True, "prealign": "none"}
    run(files, out, **options)
    nib.save(nib.Nifti1Image(np.ones((*SHAPE, 1, 6), np.float32), AFFINE), left)
    if damaged:
        left.write_bytes(b"earlier")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(FileExistsError, match=f"remain beside a new wa.*{left.name}"):
        run(files, out, force=True, **options)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_images_on_another_grid_belong_to_something_else(study, tmp_path):
    """Such as the tensors that DIPY has fitted to the series."""
    files, _ = study
    for name in ("warped.nii.gz", "fa.nii.gz"):
        affine = AFFINE if name == "warped.nii.gz" else np.eye(4)
        image = nib.Nifti1Image(np.ones((*SHAPE, 3), np.float32), affine)
        nib.save(image, tmp_path / name)
    before = (tmp_path / "fa.nii.gz").read_bytes()
    options = {"no_series": True, "no_report": True, "prealign": "none"}
    run(files, tmp_path, force=True, **options)
    assert (tmp_path / "fa.nii.gz").read_bytes() == before


def test_a_series_may_have_the_name_of_an_output_that_is_not_written(study, tmp_path):
    files, _ = study
    for i, name in ((1, "dwi.nii.gz"), (2, "dwi.bval"), (3, "dwi.bvec")):
        files[i] = files[i].rename(tmp_path / name)
    options = {"no_series": True, "no_report": True, "prealign": "none"}
    for _ in range(2):
        run(files, tmp_path, force=True, **options)
    assert (tmp_path / "field.nii.gz").exists()


@pytest.mark.slow
def test_fibres_are_registered_to_the_tensors_of_the_template(study, write, tmp_path):
    files, _ = study
    out = tmp_path / "out"
    mask = write("mask.nii.gz", np.ones(SHAPE, np.uint8), AFFINE)
    options = {"prealign": "none", "no_report": True, "no_series": True}
    options["mask_file"] = str(mask)
    run(files, out, tensors=True, **options)
    alone = load_mapping(out / "field.nii.gz").backward
    tensors = nib.load(out / "tensors.nii.gz")
    # A template whose fibres lie elsewhere pulls them there.
    moved = np.roll(tensors.get_fdata(dtype=np.float32), 2, axis=0)
    path = write("tensors.nii.gz", moved, tensors.affine)
    out = tmp_path / "together"
    run(files, out, static_tensors=str(path), **options)
    together = load_mapping(out / "field.nii.gz").backward
    assert np.abs(together - alone).mean() > 0.1
