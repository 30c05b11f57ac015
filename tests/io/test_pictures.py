"""Pictures against Pillow's own arrays and SimpleITK's readers."""

from zlib import crc32

import numpy as np
import numpy.testing as npt
from PIL import Image
import pytest
import SimpleITK as sitk

from dipy_nn_reg.io.colours import RGB
from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.io.pictures import check_picture, read_picture, write_picture

ROWS, COLUMNS = 7, 5


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def colours(rng):
    """Return pixels of shape (rows, columns, 3)."""
    return rng.integers(0, 256, (ROWS, COLUMNS, 3), dtype=np.uint8)


def world_of_itk(image, index):
    """Return where ITK places a pixel, in RAS+."""
    return np.array([-1, -1]) * image.TransformContinuousIndexToPhysicalPoint(index)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "ä b.TIFF", "a[1].PNG"])
def test_columns_and_rows_are_x_and_y_as_in_itk(name, colours, tmp_path):
    Image.fromarray(colours).save(tmp_path / name)
    data, affine, header = read_picture(tmp_path / name)
    assert data.dtype == RGB
    assert data.shape == (COLUMNS, ROWS, 1)
    npt.assert_array_equal(data["G"][:, :, 0].T, colours[..., 1])
    theirs = sitk.ReadImage(str(tmp_path / name))
    npt.assert_array_equal(sitk.GetArrayFromImage(theirs), colours)
    ours = affine @ [3, 2, 0, 1]
    npt.assert_allclose(ours, [*world_of_itk(theirs, (3.0, 2.0)), 0, 1])
    assert header.get_data_shape() == (COLUMNS, ROWS)


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        ("uint8", "a.png"),
        ("uint16", "a.png"),
        ("uint8", "a.tif"),
        ("int8", "a.tif"),
        ("uint16", "a.tif"),
        ("int16", "a.tif"),
        ("int32", "a.tif"),
        ("uint32", "a.tif"),
        ("float32", "a.tif"),
    ],
)
def test_numbers_are_those_that_itk_wrote(dtype, name, rng, tmp_path):
    low, high = (
        (-9, 9)
        if dtype == "float32"
        else np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], float)
    )
    values = rng.uniform(low, high, (ROWS, COLUMNS)).astype(dtype)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / name))
    data, _, _ = read_picture(tmp_path / name)
    npt.assert_array_equal(data[:, :, 0].T, values)
    assert data.dtype == ("int32" if dtype == "int16" else dtype)


def test_bits_and_palettes_and_transparency(colours, tmp_path):
    bits = colours[..., 0] > 99
    palette = Image.fromarray(colours).quantize(4)
    alpha = np.full((ROWS, COLUMNS), 255, np.uint8)
    alpha[0], alpha[1] = 0, 51
    over_white = colours.astype(float)
    over_white[0] = 255
    over_white[1] = 0.2 * colours[1] + 0.8 * 255
    half = Image.fromarray(np.dstack([colours[..., 0], alpha]), "LA")
    for name, picture, expected in (
        ("bits.png", Image.fromarray(bits), 255.0 * bits),
        ("palette.png", palette, np.asarray(palette.convert("RGB"))),
        ("alpha.png", Image.fromarray(np.dstack([colours, alpha])), over_white),
        ("alpha.tif", Image.fromarray(np.dstack([colours, alpha])), over_white),
        ("half.png", half, over_white[..., 0]),
    ):
        picture.save(tmp_path / name)
        data, _, _ = read_picture(tmp_path / name)
        if expected.ndim == 3:
            data = np.stack([data[c] for c in "RGB"], axis=-1)
        assert np.abs(data[:, :, 0].swapaxes(0, 1) - expected).max() <= 1, name


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_orientation_of_a_camera_is_that_of_viewers(name, tmp_path):
    """A picture of code 6 is shown after a turn by 90 degrees clockwise."""
    rows = np.zeros((16, 24), np.uint8)
    rows[:8] = 200  # the top, which is on the right after the turn
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(rows).save(tmp_path / name, exif=exif)
    data, _, _ = read_picture(tmp_path / name)
    assert data.shape == (16, 24, 1)
    npt.assert_allclose(data[8:], 200, atol=2)
    npt.assert_allclose(data[:8], 0, atol=2)


def test_pixels_of_a_microscope_have_their_size(colours, tmp_path):
    """0.5 x 1 micrometres; 72 and 300 dots per inch are hints for printers."""
    picture = Image.fromarray(colours)
    options = {"resolution_unit": 3, "x_resolution": 20000, "y_resolution": 10000}
    picture.save(tmp_path / "fine.tif", **options)
    picture.save(tmp_path / "print.tif", dpi=(300, 300))
    picture.save(tmp_path / "print.jpg", dpi=(72, 72))
    fine = read_image(tmp_path / "fine.tif")
    theirs = sitk.ReadImage(str(tmp_path / "fine.tif"))
    npt.assert_allclose(theirs.GetSpacing(), [0.0005, 0.001])
    npt.assert_allclose(np.diag(fine.affine), [-0.0005, -0.001, 0.0005, 1], rtol=1e-6)
    npt.assert_allclose(fine.header.get_zooms(), [0.0005, 0.001], rtol=1e-6)
    for name in ("print.tif", "print.jpg"):
        image = read_image(tmp_path / name)
        npt.assert_array_equal(image.affine, np.diag([-1, -1, 1, 1]))
        # Such a picture takes the place of another one of its size.
        npt.assert_array_equal(image.placed_on(fine.grid).affine, fine.affine)
    assert fine.placed_on(image.grid) is fine


def test_16_bit_colours_are_read_with_8_bits_and_a_warning(rng, tmp_path, dipy_log):
    values = rng.integers(0, 2**16, (ROWS, COLUMNS, 3), dtype=np.uint16)
    for name in ("a.png", "a.tif"):
        image = sitk.GetImageFromArray(values, isVector=True)
        sitk.WriteImage(image, str(tmp_path / name))
        dipy_log.clear()
        data, _, _ = read_picture(tmp_path / name)
        npt.assert_array_equal(data["B"][:, :, 0].T, values[..., 2] >> 8)
        assert "16 bits" in dipy_log.text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p, c: c.convert("CMYK").save(p("a.jpg")), "CMYK.*Convert it to RGB"),
        (lambda p, c: c.convert("LAB").save(p("a.tif")), "LAB"),
        (
            lambda p, c: c.save(p("a.tif"), save_all=True, append_images=[c, c]),
            "3 pages.*NIfTI",
        ),
        (lambda p, c: c.save(p("a.png"), format="BMP"), "PNG, JPEG or TIFF"),
        (lambda p, c: p("a.png").write_bytes(b""), "whole picture"),
    ],
)
def test_other_pictures_are_refused(make, message, colours, tmp_path):
    make(tmp_path.joinpath, Image.fromarray(colours))
    (path,) = tmp_path.iterdir()
    with pytest.raises(ValueError, match=message) as caught:
        read_image(path)
    assert path.name in str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_half_a_file_is_refused(name, rng, tmp_path):
    pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="whole picture"):
        read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("dtype", "name", "stored"),
    [
        ("uint8", "a.png", "uint8"),
        ("uint16", "a.png", "uint16"),
        ("uint16", "a.tiff", "uint16"),
        ("int16", "a.tif", "int32"),
        ("float32", "a.tif", "float32"),
        ("float64", "a.tif", "float32"),
    ],
)
def test_written_numbers_are_read_by_itk(dtype, name, stored, rng, tmp_path):
    values = (rng.random((COLUMNS, ROWS, 1)) * 200).astype(dtype)
    write_picture(tmp_path / name, values, np.diag([-1.0, -1, 1, 1]))
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name)))
    assert theirs.dtype == stored
    npt.assert_array_equal(theirs, values[:, :, 0].T.astype(stored))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_size_of_fine_pixels_is_written_and_other_places_are_warned_of(
    colours, tmp_path, dipy_log
):
    data = colours.swapaxes(0, 1)[:, :, None]
    affine = np.diag([-0.0005, -0.001, 0.0005, 1])
    write_picture(tmp_path / "a.tif", data, affine)
    assert "where it is" not in dipy_log.text
    again = read_image(tmp_path / "a.tif", series=True)
    npt.assert_array_equal(again.data, data)
    npt.assert_allclose(again.affine, affine, rtol=1e-6)
    write_picture(tmp_path / "a.png", data, np.diag([2.0, 2, 2, 1]))
    assert "where it is" in dipy_log.text


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "message"),
    [
        ("a.png", (5, 7, 3), "uint8", "one slice"),
        ("a.png", (5, 7, 1), "float32", "uint8, uint16"),
        ("a.png", (5, 7, 1), "int16", "int16 for"),
        ("a.tif", (5, 7, 1), "int64", "int64 for"),
    ],
)
def test_images_that_no_picture_holds_are_refused(name, shape, dtype, message):
    with pytest.raises(ValueError, match=message):
        check_picture(name, shape, np.dtype(dtype))


def test_grey_values_of_16_bits_stay_beside_a_transparent_one(tmp_path):
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    path = tmp_path / "grey.png"
    Image.fromarray(values).save(path)
    # A chunk of PNG that makes the value 2000 transparent, before the pixels.
    content, chunk = path.read_bytes(), b"tRNS" + (2000).to_bytes(2, "big")
    chunk = (2).to_bytes(4, "big") + chunk + crc32(chunk).to_bytes(4, "big")
    at = content.index(b"IDAT") - 4
    path.write_bytes(content[:at] + chunk + content[at:])
    found = read_image(path).data
    expected = np.where(values == 2000, 65535, values)
    npt.assert_array_equal(np.sort(found, axis=None), np.sort(expected, axis=None))
