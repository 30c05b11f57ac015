import gzip
import time

import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.io.nifti import array_and_affine, read_image, read_labels
from dipy_nn_reg.io.nifti_writing import write_image

AFFINE = np.diag([2.0, 2, 3, 1])


def save(path, data, affine=AFFINE, code="scanner"):
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine, code)
    image.set_qform(affine, code)
    nib.save(image, path)
    return path


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((4, 5), (4, 5, 1)), ((4, 5, 6), (4, 5, 6)), ((4, 5, 6, 1), (4, 5, 6))],
)
def test_images_have_three_axes(shape, expected, rng, tmp_path):
    data = rng.random(shape, np.float32)
    image = read_image(save(tmp_path / "image.nii.gz", data))
    npt.assert_array_equal(image.data, data.reshape(expected))
    npt.assert_array_equal(image.affine, AFFINE)
    assert image.data.flags.c_contiguous  # files are in the other order


def test_series_are_read_only_on_request(rng, tmp_path):
    path = save(tmp_path / "image.nii", rng.random((4, 5, 6, 7), np.float32))
    assert read_image(path, series=True).data.shape == (4, 5, 6, 7)
    with pytest.raises(ValueError, match=r"of 2 or 3 axes.*\(4, 5, 6, 7\)"):
        read_image(path)


def test_other_files_than_images_are_refused(tmp_path):
    path = tmp_path / "image.nii.gz"
    with pytest.raises(FileNotFoundError, match="no file"):
        read_image(path)
    path.write_text("not an image")
    with pytest.raises(ValueError, match="Expected a NIfTI image"):
        read_image(path)


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
def test_truncated_files_are_refused(name, rng, tmp_path):
    path = save(tmp_path / name, rng.random((20, 20, 20), np.float32))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="cut short or damaged"):
        read_image(path)


@pytest.mark.parametrize(
    ("affine", "code", "message"),
    [
        (AFFINE, 0, "an sform or a qform"),
        (np.diag([1.0, 0, 1, 1]), 1, "can be inverted"),
        (np.diag([1.0, np.nan, 1, 1]), 1, "finite values"),
    ],
)
def test_a_header_without_a_valid_affine_is_refused(affine, code, message, tmp_path):
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), AFFINE)
    image.set_qform(AFFINE, 0)
    image.header["sform_code"] = code
    for row, name in zip(affine, ("srow_x", "srow_y", "srow_z")):
        image.header[name] = row
    with open(tmp_path / "image.nii", "wb") as file:
        image.header.write_to(file)
        file.write(bytes(4 + 4 * 4**3))
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / "image.nii")


def test_infinite_values_are_refused(tmp_path):
    data = np.zeros((4, 4, 4), np.float32)
    data[1, 2, 3] = np.inf
    with pytest.raises(ValueError, match="finite values"):
        read_image(save(tmp_path / "image.nii", data))


def test_nan_is_replaced_by_the_background_of_its_volume(tmp_path, dipy_log):
    data = np.full((6, 6, 6, 2), -1000, np.float32)
    data[..., 1] = 7
    data[2:4, 2:4, 2:4] = 40
    expected = data.copy()
    data[:2, 3, 3] = np.nan
    path = save(tmp_path / "series.nii.gz", data)
    npt.assert_array_equal(read_image(path, series=True).data, expected)
    messages = {record.getMessage() for record in dipy_log.records}
    assert {message.split(" of /")[0] for message in messages} == {
        "2 of 216 values of volume 0",
        "2 of 216 values of volume 1",
    }
    path = save(path, data[..., 0])
    npt.assert_array_equal(read_image(path).data, expected[..., 0])
    with pytest.raises(ValueError, match="nan everywhere"):
        read_image(save(path, np.full((4, 4, 4), np.nan, np.float32)))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mgz"])
def test_images_of_nibabel_are_read_as_they_are_in_memory(name, rng, tmp_path):
    """Voxels changed after loading are taken from memory, not from the file."""
    data, affine = rng.random((4, 5, 6), dtype=np.float32), np.diag([2.0, 3, 1, 1])
    kind = nib.MGHImage if name.endswith("mgz") else nib.Nifti1Image
    nib.save(kind(data, affine), tmp_path / name)
    loaded = nib.load(tmp_path / name)
    changed = kind(2 * data, loaded.affine, loaded.header, file_map=loaded.file_map)
    for source, expected in ((loaded, data), (changed, 2 * data)):
        array, found = array_and_affine(source)
        npt.assert_array_equal(array, expected)
        npt.assert_array_equal(found, affine)


def test_arrays_are_returned_as_they_are():
    array, affine = np.zeros((3, 4)), np.eye(3)
    assert array_and_affine(array) == (array, None)
    assert array_and_affine(array, affine) == (array, affine)
    image = nib.Nifti1Image(np.ones((3, 4, 5)), np.diag([2, 2, 2, 1]))
    assert array_and_affine(image, affine)[1] is affine


def test_images_of_nibabel_are_in_mm_and_without_nan(dipy_log):
    data = np.zeros((3, 4, 5), np.float32)
    data[1, 1, 1] = np.nan
    image = nib.Nifti1Image(data, np.eye(4))
    image.header.set_xyzt_units("meter")
    array, affine = array_and_affine(image)
    npt.assert_array_equal(affine, np.diag([1000, 1000, 1000, 1]))
    assert not np.isnan(array).any()
    assert "1 of 60" in dipy_log.text and np.isnan(data).sum() == 1


def test_labels_may_be_floats_but_not_fractions(rng, tmp_path):
    labels = rng.integers(0, 5, (4, 4, 4))
    path = save(tmp_path / "labels.nii", labels.astype(np.float32))
    npt.assert_array_equal(read_labels(path).data, labels)
    assert read_labels(path).data.dtype.kind == "i"
    with pytest.raises(ValueError, match="fractions"):
        read_labels(save(path, labels / np.float32(2)))


@pytest.mark.parametrize("dtype", [np.int16, np.int64])
def test_written_images_have_the_header_of_their_grid(dtype, rng, tmp_path):
    image = read_image(save(tmp_path / "image.nii", rng.random((4, 5, 6), np.float32)))
    labels = rng.integers(0, 9, (4, 5, 6)).astype(dtype)
    path = tmp_path / "written.nii.gz"
    write_image(path, labels, image.affine, header=image.header)
    written = nib.load(path)
    npt.assert_array_equal(written.affine, AFFINE)
    npt.assert_array_equal(np.asanyarray(written.dataobj), labels)
    assert written.get_data_dtype() == dtype
    assert written.header["sform_code"] == written.header["qform_code"] == 1
    assert written.header.get_xyzt_units()[0] == "unknown"  # as in the image
    assert [path.name for path in tmp_path.glob("*written*")] == ["written.nii.gz"]


def test_other_endings_than_those_of_nifti_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"'\.nii\.gz'.*image\.png"):
        write_image(tmp_path / "image.png", np.zeros((2, 2, 2)), AFFINE)


def test_a_compressed_image_holds_the_bytes_of_the_plain_one(rng, tmp_path):
    """Python's own gzip unpacks it; two runs at different times write equal bytes."""
    image = rng.random((4, 5, 6, 3), np.float32)
    for name in ("plain.nii", "one.nii.gz", "other.nii.gz"):
        write_image(tmp_path / name, image, AFFINE, intent="vector", extension="text")
        time.sleep(1.1 if name == "one.nii.gz" else 0)
    one, other = ((tmp_path / f"{n}.nii.gz").read_bytes() for n in ("one", "other"))
    assert gzip.decompress(one) == (tmp_path / "plain.nii").read_bytes()
    assert one == other
    # Magic number, deflate, no name; no time (RFC 1952).
    assert one[:8] == b"\x1f\x8b\x08\x00" + bytes(4)


def test_compression_is_faster_than_that_of_zlib(rng, tmp_path):
    """It takes about an eighth of the time, for smooth values as those of fields."""
    image = rng.random((100, 100, 200), np.float32).cumsum(0)
    times = []
    for write in (
        lambda: gzip.compress(image.tobytes(), 1),
        lambda: write_image(tmp_path / "image.nii.gz", image, AFFINE),
    ):
        start = time.thread_time()
        write()
        times.append(time.thread_time() - start)
    assert times[1] < times[0] / 2, times
