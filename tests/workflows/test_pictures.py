"""Commands on pictures, against SciPy and SimpleITK."""

import nibabel as nib
import numpy as np
import numpy.testing as npt
from PIL import Image
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates
import SimpleITK as sitk

from dipy_nn_reg.io.fields import load_mapping
from dipy_nn_reg.workflows.apply import ApplyFlow
from dipy_nn_reg.workflows.evaluate import EvaluateFlow
from dipy_nn_reg.workflows.register import RegisterFlow
from dipy_nn_reg.workflows.report import ReportFlow

# Rows and columns of the static and of the moving picture: landscape and portrait.
STATIC, MOVING = (28, 36), (40, 32)
FEW = [3, 5, 3]


def draw(shape, center):
    """Return a stained section on white, of shape (rows, columns, 3)."""
    rows, columns = np.indices(shape)
    rows, columns = rows - center[0], columns - center[1]
    section = (rows / 9) ** 2 + (columns / 12) ** 2 < 1
    nuclei = ((rows - 3) / 3) ** 2 + ((columns + 4) / 4) ** 2 < 1
    absorbed = section[..., None] * [30, 90, 50] + nuclei[..., None] * [120, 60, 10]
    return np.uint8(255 - gaussian_filter(absorbed.astype(float), (1, 1, 0)))


@pytest.fixture
def pair(tmp_path):
    """Return paths of a static and a moving picture."""
    paths = [tmp_path / "in" / name for name in ("static.png", "über [1].tif")]
    paths[0].parent.mkdir()
    Image.fromarray(draw(STATIC, (14, 18))).save(paths[0], dpi=(300, 300))
    Image.fromarray(draw(MOVING, (21, 15))).save(paths[1], dpi=(72, 72))
    return paths


def register(static, moving, out, **options):
    options = {"no_report": True, "level_iters": FEW} | options
    RegisterFlow().run(str(static), [str(moving)], out_dir=str(out), **options)


def warp_colours(moving, mapping):
    """Return the colours of a picture, warped by SciPy, of shape (rows, columns, 3)."""
    rows, columns = np.indices(STATIC)
    world = np.stack([-columns, -rows, 0 * rows], axis=-1).reshape(-1, 3).astype(float)
    x, y, _ = -mapping.transform_points(world).T
    warped = [
        map_coordinates(
            colour.astype(float), [y, x], order=1, mode="grid-constant", cval=255
        )
        for colour in np.moveaxis(np.asarray(Image.open(moving)), -1, 0)
    ]
    return np.stack(warped, axis=-1).reshape(*STATIC, 3)


@pytest.mark.parametrize(
    "name",
    [
        "warped.png",
        pytest.param("warped.tif", marks=pytest.mark.slow),
        pytest.param("warped.nii.gz", marks=pytest.mark.slow),
    ],
)
def test_the_warped_picture_has_all_colours(name, pair, tmp_path):
    out = tmp_path / "out"
    register(*pair, out, out_warped=name)
    prealign = np.loadtxt(out / "prealign.txt")
    assert np.linalg.norm(prealign[:2, 3]) > 5
    mapping = load_mapping(out / "field.nii.gz", prealign=prealign)
    if name.endswith(".nii.gz"):
        stored = nib.load(out / name)
        assert int(stored.header["datatype"]) == 128
        data = np.asarray(stored.dataobj)[:, :, 0].T
        warped = np.stack([data[c] for c in "RGB"], axis=-1)
        npt.assert_array_equal(stored.affine, np.diag([-1, -1, 1, 1]))
    else:
        warped = np.asarray(Image.open(out / name))
    assert warped.dtype == np.uint8
    npt.assert_allclose(warped, warp_colours(pair[1], mapping), atol=0.6)
    static = draw(STATIC, (14, 18)).astype(float)
    assert np.abs(warped - static).mean() < 4 < np.abs(255 - static).mean()


def test_itk_applies_the_field_to_the_pictures(pair, tmp_path):
    out = tmp_path / "out"
    moving = pair[1].with_suffix(".png")  # without a resolution for printers
    Image.open(pair[1]).save(moving)
    names = {"out_warped": "warped.png", "field_format": "itk"}
    register(pair[0], moving, out, **names)
    images = [sitk.ReadImage(str(path)) for path in (pair[0], moving)]
    field = sitk.ReadImage(str(out / "field.nii.gz"), sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(field)
    theirs = sitk.GetArrayFromImage(
        sitk.Resample(images[1], images[0], transform, sitk.sitkLinear, 255)
    )
    ours = np.asarray(Image.open(out / "warped.png"))
    npt.assert_allclose(ours.astype(float), theirs, atol=1)


@pytest.mark.parametrize("field_format", ["dipy", "itk", "afni", "fsl"])
def test_fields_apply_to_any_picture_of_the_same_size(field_format, pair, tmp_path):
    out = tmp_path / "out"
    register(*pair, out, field_format=field_format, out_warped="warped.png")
    labels = (np.asarray(Image.open(pair[1]))[..., 1] < 200).astype(np.uint8)
    labelled = tmp_path / "in" / "labels.TIF"
    Image.fromarray(labels).save(labelled)
    again = tmp_path / "in" / "static.jpg"
    Image.fromarray(draw(STATIC, (14, 18))).save(again)
    transforms = [str(out / "field.nii.gz")]
    for moving, name, options in (
        (pair[1], "again.png", {}),
        (labelled, "labels.png", {"interpolation": "nearest"}),
    ):
        options |= {"out_dir": str(out), "out_file": name}
        ApplyFlow().run(str(again), str(moving), transforms, **options)
    first, second = (Image.open(out / n) for n in ("warped.png", "again.png"))
    close = {"atol": 1 if field_format == "dipy" else 2}
    npt.assert_allclose(np.array(first, float), np.array(second, float), **close)
    assert set(np.unique(Image.open(out / "labels.png"))) == {0, 1}


def test_a_field_of_microscopic_pixels_applies_to_a_picture_without_their_size(
    pair, tmp_path
):
    sizes = {"resolution_unit": 3, "x_resolution": 20000, "y_resolution": 20000}
    fine = [path.with_suffix(".fine.tif") for path in pair]
    for path, one in zip(pair, fine):
        Image.open(path).save(one, **sizes)
    out = tmp_path / "out"
    register(*fine, out, out_warped="warped.tif")
    names = {"out_dir": str(out), "out_file": "again.png"}
    ApplyFlow().run(str(pair[0]), str(pair[1]), [str(out / "field.nii.gz")], **names)
    first, again = (Image.open(out / n) for n in ("warped.tif", "again.png"))
    assert float(first.info["dpi"][0]) == pytest.approx(25.4 / 0.0005, rel=1e-4)
    npt.assert_allclose(np.array(again, float), np.array(first, float), atol=1)
    static = draw(STATIC, (14, 18)).astype(float)
    assert np.abs(np.array(first) - static).mean() < 4


def test_pictures_are_evaluated_and_shown(pair, tmp_path):
    out = tmp_path / "out"
    EvaluateFlow().run(str(pair[0]), [str(pair[1])], out_dir=str(out))
    ReportFlow().run(str(pair[0]), [str(pair[1])], out_dir=str(out))
    assert {path.name for path in out.iterdir()} == {"metrics.csv", "report.html"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out_warped": "warped.jpg"}, "out_warped to end with.*warped.jpg"),
        ({"fill": 300.0}, "fill from 0 to 255"),
        ({"fill": -1.0, "out_warped": "warped.png"}, "fill from 0 to 255"),
    ],
)
def test_outputs_that_cannot_hold_colours_are_refused(
    options, message, pair, tmp_path, monkeypatch
):
    monkeypatch.setattr("dipy_nn_reg.register", None, raising=False)
    with pytest.raises(ValueError, match=message):
        register(*pair, tmp_path / "out", **options)
    assert not list((tmp_path / "out").glob("*"))
