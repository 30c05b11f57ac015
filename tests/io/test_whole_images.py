"""Damaged files, compared with gzip, and headers that ask for too much."""

import bz2
import gzip
import re
import struct
import tracemalloc
import zlib

import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.io.fields import load_mapping, save_mapping
from dipy_nn_reg.io.nifti import read_image, read_labels
from dipy_nn_reg.mapping.maps import displacement_to_mapping

AFFINE = np.diag([2.0, 2, 2, 1])


def unpacks(path, content, expected):
    """Return whether the library itself accepts a stream."""
    unpack = bz2.decompress if path.suffix == ".bz2" else gzip.decompress
    try:
        result = unpack(content)
    except (EOFError, OSError, ValueError, zlib.error):
        return False
    assert result == expected  # a padding bit, or the time in the header
    return True


def as_values(result):
    """Return the result of a reader as an array."""
    return result.backward if hasattr(result, "backward") else np.asarray(result.data)


@pytest.fixture(params=["image", "labels", "field"])
def case(request, rng, tmp_path):
    """Return the path of a small file and a function that reads it."""
    path = tmp_path / f"{request.param}.nii.gz"
    if request.param == "field":
        field = rng.normal(size=(5, 6, 7, 3)).astype(np.float32) / 9
        save_mapping(path, displacement_to_mapping(field, static_affine=AFFINE))
        return path, load_mapping
    data = rng.random((7, 8, 9), np.float32)
    if request.param == "labels":
        data = np.digitize(data, [0.3, 0.6]).astype(np.uint8)
    nib.save(nib.Nifti1Image(data, AFFINE), path)
    return path, read_labels if request.param == "labels" else read_image


def test_every_flipped_byte_is_detected(case, rng):
    path, read = case
    content, expected = path.read_bytes(), as_values(case[1](path))
    whole, harmless = gzip.decompress(content), 0
    for at in rng.integers(len(content), size=300):
        flipped = bytearray(content)
        flipped[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        if unpacks(path, flipped, whole):
            harmless += 1
            npt.assert_array_equal(as_values(read(path)), expected)
        else:
            with pytest.raises(ValueError, match=re.escape(str(path))):
                read(path)
    assert harmless < 60


def test_every_truncated_file_is_refused(case, rng):
    path, read = case
    content = path.read_bytes()
    for cut in [*range(1, 26), *rng.integers(26, len(content), size=25)]:
        path.write_bytes(content[:-cut])
        with pytest.raises(ValueError, match="damaged|Expected a NIfTI image"):
            read(path)


def test_bytes_after_the_stream_are_refused(case):
    path, read = case
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(ValueError, match="damaged|Expected a NIfTI image"):
        read(path)


@pytest.mark.parametrize("name", ["i.mgz", "i.img.gz", "i.nii.bz2", "i.nii.zst"])
def test_other_compressed_formats_are_checked_to_the_end(name, rng, tmp_path):
    data = rng.random((7, 8, 9), np.float32)
    path = tmp_path / name
    if name.endswith(".zst"):
        pytest.importorskip("backports.zstd")
    kind = nib.Nifti1Pair if ".img" in name else nib.Nifti1Image
    kind = nib.MGHImage if name.endswith(".mgz") else kind
    image = kind(data, AFFINE)
    if kind is not nib.MGHImage:
        image.set_sform(AFFINE, 1)
    nib.save(image, path)
    npt.assert_array_equal(read_image(path).data, data)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match="damaged|Expected a NIfTI image"):
        read_image(path)
    if name.endswith(".zst"):
        return  # nibabel writes no checksum
    whole = (
        bz2.decompress(content) if name.endswith(".bz2") else gzip.decompress(content)
    )
    for at in rng.integers(len(content) // 2, len(content), size=40):
        flipped = bytearray(content)
        flipped[at] ^= 16
        path.write_bytes(flipped)
        if not unpacks(path, flipped, whole):
            with pytest.raises(ValueError, match="damaged|Expected a NIfTI image"):
                read_image(path)


def header_of(shape, *, dtype=np.float32):
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    header.set_sform(AFFINE, 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    return header


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_a_header_that_asks_for_too_much_uses_no_memory(pack, tmp_path):
    ending = {bytes: "", gzip.compress: ".gz", bz2.compress: ".bz2"}[pack]
    path = tmp_path / f"image.nii{ending}"
    path.write_bytes(pack(header_of((1300, 1000, 1000)).binaryblock + bytes(6000)))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="asks for 5200000352 bytes"):
            read_image(path)
        assert tracemalloc.get_traced_memory()[1] < 2e7
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("offset", "format", "value"),
    [
        (70, "<h", 999),  # datatype
        (108, "<f", 1e30),  # vox_offset
        (108, "<f", np.inf),
        (108, "<f", np.nan),
        (108, "<f", -400),
        (112, "<f", np.inf),  # scl_slope
        (116, "<f", np.nan),  # scl_inter
        (40, "<h", -3),  # dim
        (40, "<h", 8),
        (40, "<h", 0),
        (42, "<h", -4),
        (44, "<h", 0),
        (44, "<h", 32767),
        (256, "<f", 1e30),  # quaternion
        (0, "<i", 347),
        (344, "<i", 0),  # magic
    ],
)
def test_a_bad_header_is_refused_or_changes_nothing(
    offset, format, value, ending, rng, tmp_path
):
    data = rng.random((4, 5, 6), np.float32)
    image = nib.Nifti1Image(data, AFFINE)
    image.set_qform(AFFINE, 1)
    path = tmp_path / f"image{ending}"
    nib.save(image, path)
    content = path.read_bytes()
    content = bytearray(gzip.decompress(content) if ending == ".nii.gz" else content)
    struct.pack_into(format, content, offset, value)
    if offset == 256:
        struct.pack_into("<h", content, 254, 0)  # leaves only the qform
    path.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
    try:
        result = read_image(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        npt.assert_array_equal(result.data, data)


def test_surfaces_and_parcels_are_refused(tmp_path):
    path = tmp_path / "surface.gii"
    nib.save(nib.GiftiImage(), path)
    with pytest.raises(ValueError, match="Expected a NIfTI image"):
        read_image(path)
    axis = nib.cifti2.ScalarAxis(["a", "b"])
    mask = nib.cifti2.BrainModelAxis.from_mask(np.ones((2, 2, 2)), affine=AFFINE)
    cifti = nib.Cifti2Image(np.zeros((2, 8), np.float32), (axis, mask))
    nib.save(cifti, tmp_path / "parcels.dscalar.nii")
    with pytest.raises(ValueError, match="Expected a NIfTI image.*Cifti2Image"):
        read_image(tmp_path / "parcels.dscalar.nii")
