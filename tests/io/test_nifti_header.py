"""Places of images according to nibabel, ITK and FSL."""

from fsl.data.image import Image as FslImage
import nibabel as nib
from nibabel.affines import apply_affine, voxel_sizes
import numpy as np
import numpy.testing as npt
import pytest
from scipy.spatial.transform import Rotation
import SimpleITK as sitk

from dipy_nn_reg.io.nifti import read_image, read_labels
from dipy_nn_reg.io.nifti_writing import write_image

AFFINE = np.diag([2.0, 2, 3, 1])
LPS = np.array([-1, -1, 1])


def oblique():
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [20, -15, 40], degrees=True).as_matrix()
    affine[:3, :3] *= [1.5, -2, 3]
    affine[:3, 3] = [-40, 33, 12]
    return affine


def save(path, data, sform, qform, codes=(1, 1), unit="mm"):
    image = nib.Nifti1Image(data, sform)
    image.set_qform(qform, codes[1])
    image.set_sform(sform, codes[0])
    image.header.set_xyzt_units(unit, "sec")
    nib.save(image, path)
    return path


def where_itk_sees(path, voxel):
    """Return the world coordinates of a voxel by ITK, in mm (RAS+)."""
    image = sitk.ReadImage(str(path))
    point = image.TransformContinuousIndexToPhysicalPoint(np.array(voxel, float))
    return LPS[: len(point)] * point


@pytest.mark.parametrize(
    ("unit", "mm"), [("unknown", 1), ("mm", 1), ("meter", 1000), ("micron", 1e-3)]
)
@pytest.mark.parametrize("codes", [(1, 1), (0, 1), (2, 0)])
def test_units_agree_with_itk(unit, mm, codes, tmp_path, dipy_log):
    affine = oblique()
    data = np.zeros((4, 5, 6), np.float32)
    path = save(tmp_path / "image.nii.gz", data, affine, affine, codes, unit)
    for image in (read_image(path), read_labels(path)):
        result = apply_affine(image.affine, [3, 1, 4])
        npt.assert_allclose(result, where_itk_sees(path, [3, 1, 4]), rtol=1e-5)
        npt.assert_allclose(result, mm * apply_affine(affine, [3, 1, 4]), rtol=1e-5)
    assert ("converted to mm" in dipy_log.text) == (mm != 1)
    out = tmp_path / "written.nii.gz"
    write_image(out, data, image.affine, header=image.header)
    npt.assert_allclose(where_itk_sees(out, [3, 1, 4]), result, rtol=1e-5)
    npt.assert_allclose(nib.load(out).affine, image.affine, rtol=1e-5)
    written = nib.load(out).header
    assert written.get_xyzt_units() == ("mm" if unit != "unknown" else unit, "sec")


def test_an_invalid_unit_counts_as_mm(tmp_path):
    path = save(tmp_path / "image.nii", np.zeros((4, 5, 6), np.float32), AFFINE, AFFINE)
    content = bytearray(path.read_bytes())
    content[123] = 7 + 56
    path.write_bytes(content)
    image = read_image(path)
    npt.assert_array_equal(image.affine, AFFINE)
    write_image(tmp_path / "out.nii", image.data, AFFINE, header=image.header)
    assert nib.load(tmp_path / "out.nii").header.get_xyzt_units() == ("unknown",) * 2


@pytest.mark.parametrize("code", [1, 2, 4])
def test_a_warning_names_the_affine_that_each_program_uses(code, tmp_path, dipy_log):
    elsewhere = AFFINE.copy()
    elsewhere[:3, 3] = [10, 20, 30]
    data = np.zeros((4, 5, 6), np.float32)
    path = save(tmp_path / "image.nii", data, AFFINE, elsewhere, (code, 1))
    npt.assert_array_equal(read_image(path).affine, nib.load(path).affine)
    assert (
        str(path) in dipy_log.text
        and "sform" in dipy_log.text
        and "qform" in dipy_log.text
    )
    npt.assert_allclose(FslImage(str(path)).voxToWorldMat, AFFINE)
    itk = "sform" if np.allclose(where_itk_sees(path, [0, 0, 0]), 0) else "qform"
    assert f"uses the {itk}" in dipy_log.text


@pytest.mark.parametrize(("distance", "warned"), [(0.02, False), (0.3, True)])
def test_small_disagreement_of_affines_causes_no_warning(
    distance, warned, tmp_path, dipy_log
):
    near = AFFINE.copy()
    near[0, 3] = 2 * distance
    data = np.zeros((4, 5, 6), np.float32)
    read_image(save(tmp_path / "image.nii", data, AFFINE, near))
    assert ("sform" in dipy_log.text) == warned


def test_an_invalid_qform_is_ignored(tmp_path):
    data = np.zeros((4, 5, 6), np.float32)
    path = save(tmp_path / "image.nii", data, AFFINE, AFFINE)
    content = bytearray(path.read_bytes())
    content[256:268] = np.full(3, 5, "<f4").tobytes()
    path.write_bytes(content)
    npt.assert_array_equal(read_image(path).affine, AFFINE)


def test_a_warning_names_other_voxel_sizes_in_fsl(tmp_path, dipy_log):
    data = np.zeros((8, 8, 8), np.float32)
    path = save(tmp_path / "image.nii", data, np.diag([2.2, 2.2, 2.2, 1]), AFFINE)
    image = nib.load(path)
    image.header["qform_code"] = 0
    image.header["pixdim"][1:4] = 2
    nib.save(image, tmp_path / "other.nii")
    assert FslImage(str(tmp_path / "other.nii")).pixdim == (2, 2, 2)
    npt.assert_allclose(read_image(tmp_path / "other.nii").affine[0, 0], 2.2)
    assert "2.2 x 2.2 x 2.2 mm" in dipy_log.text and "2 x 2 x 2 mm" in dipy_log.text


def test_no_warning_of_an_axis_that_a_header_lacks(tmp_path, dipy_log):
    affine = np.diag([2.0, 2, 2, 1])
    image = nib.Nifti1Image(np.arange(64, dtype=np.uint8).reshape(8, 8), affine)
    nib.save(image, tmp_path / "slice.nii")
    assert nib.load(tmp_path / "slice.nii").header["dim"][0] == 2
    npt.assert_array_equal(read_image(tmp_path / "slice.nii").affine, affine)
    assert not dipy_log.text
    image.header["pixdim"][2] = 3
    nib.save(image, tmp_path / "other.nii")
    read_image(tmp_path / "other.nii")
    assert "2 x 2 mm" in dipy_log.text and "2 x 3 mm" in dipy_log.text


@pytest.mark.parametrize("codes", [(1, 1), (0, 1), (1, 0), (2, 4)])
def test_programs_agree_on_the_place_of_a_written_file(codes, tmp_path):
    affine, elsewhere = oblique(), oblique()
    elsewhere[:3, 3] += 9
    data = np.zeros((30, 40, 50), np.float32)
    image = read_image(save(tmp_path / "i.nii", data, affine, elsewhere, codes))
    out = tmp_path / "out.nii.gz"
    for header in (None, image.header):
        write_image(out, data, image.affine, header=header)
        for voxel in ([0, 0, 0], [29, 39, 49]):
            world = apply_affine(image.affine, voxel)
            npt.assert_allclose(where_itk_sees(out, voxel), world, atol=1e-3)
            npt.assert_allclose(
                apply_affine(FslImage(str(out)).voxToWorldMat, voxel), world, atol=1e-3
            )
        written = nib.load(out).header
        npt.assert_allclose(written.get_qform(), written.get_sform(), atol=1e-4)
        npt.assert_allclose(written.get_zooms(), voxel_sizes(image.affine), rtol=1e-6)


def test_a_sheared_grid_is_not_misplaced_by_itk(tmp_path):
    sheared = AFFINE.copy()
    sheared[0, 1] = 0.6
    data = np.zeros((30, 40, 50), np.float32)
    image = read_image(save(tmp_path / "i.nii", data, sheared, sheared))
    write_image(tmp_path / "out.nii", data, image.affine, header=image.header)
    npt.assert_allclose(nib.load(tmp_path / "out.nii").affine, sheared, rtol=1e-6)
    with pytest.raises(RuntimeError, match="orthonormal"):  # ITK refuses
        sitk.ReadImage(str(tmp_path / "out.nii"))


def test_images_of_two_axes_by_itk_are_slices(rng, tmp_path):
    image = sitk.GetImageFromArray(rng.random((5, 7), np.float32))
    image.SetSpacing([0.5, 0.25])
    image.SetOrigin([4, -6])
    path = tmp_path / "image.nii.gz"
    sitk.WriteImage(image, str(path))
    result = read_image(path)
    assert result.data.shape == (7, 5, 1)
    npt.assert_allclose(
        apply_affine(result.affine, [6, 1, 0])[:2], where_itk_sees(path, [6, 1])
    )
    out = tmp_path / "out.nii.gz"
    write_image(out, result.data, result.affine, header=result.header)
    again = sitk.ReadImage(str(out))[:, :, 0]
    assert again.GetSpacing() == image.GetSpacing()
    assert again.GetOrigin() == image.GetOrigin()
    assert again.GetDirection() == image.GetDirection()
    npt.assert_array_equal(sitk.GetArrayFromImage(again), sitk.GetArrayFromImage(image))


@pytest.mark.parametrize("shape", [(1, 6, 7), (5, 1, 7), (5, 6, 1), (5, 1, 1)])
def test_one_slice_along_any_axis_keeps_its_header(shape, rng, tmp_path):
    data = rng.random(shape, np.float32)
    path = save(tmp_path / "image.nii.gz", data, oblique(), oblique())
    image = read_image(path)
    npt.assert_array_equal(image.data, data)
    npt.assert_allclose(image.affine, oblique(), rtol=1e-6)
    write_image(tmp_path / "out.nii", data, image.affine, header=image.header)
    assert nib.load(tmp_path / "out.nii").shape == shape


@pytest.mark.parametrize("shape", [(33000, 2, 1), (2, 40000, 3)])
@pytest.mark.parametrize("kind", [nib.MGHImage, nib.Nifti2Image])
def test_long_axes_are_written_as_nifti_2(shape, kind, rng, tmp_path):
    data = rng.random(shape, np.float32)
    path = tmp_path / ("image.mgz" if kind is nib.MGHImage else "image.nii.gz")
    image = kind(data, AFFINE)
    if kind is nib.Nifti2Image:
        image.set_sform(AFFINE, 1)
    nib.save(image, path)
    image = read_image(path)
    npt.assert_array_equal(image.data, data)
    write_image(tmp_path / "out.nii.gz", data, image.affine, header=image.header)
    written = nib.load(tmp_path / "out.nii.gz")
    assert isinstance(written, nib.Nifti2Image)
    npt.assert_array_equal(np.asanyarray(written.dataobj), data)
    npt.assert_allclose(written.affine, AFFINE)


@pytest.mark.parametrize("unit", ["sec", "msec", "unknown"])
def test_the_time_step_of_a_series_is_kept(unit, rng, tmp_path):
    series = nib.Nifti1Image(rng.random((4, 5, 6, 3), np.float32), AFFINE)
    series.set_sform(AFFINE, 1)
    series.header.set_zooms((2, 2, 3, 2.5))
    series.header.set_xyzt_units("micron", unit)
    nib.save(series, tmp_path / "series.nii")
    result = read_image(tmp_path / "series.nii", series=True)
    assert result.data.shape == (4, 5, 6, 3)
    data = np.zeros((3, 4, 2, 3), np.float32)
    write_image(tmp_path / "out.nii", data, oblique(), series=result.header)
    header = nib.load(tmp_path / "out.nii").header
    assert header.get_zooms()[3] == 2.5
    assert header.get_xyzt_units() == ("mm", unit)
    npt.assert_allclose(header.get_zooms()[:3], voxel_sizes(oblique()), rtol=1e-6)


def test_the_time_step_of_freesurfer_is_in_ms(rng, tmp_path):
    image = nib.MGHImage(rng.random((4, 5, 6, 3), np.float32), AFFINE)
    image.header.set_zooms((2, 2, 3, 2500))
    nib.save(image, tmp_path / "series.mgz")
    result = read_image(tmp_path / "series.mgz", series=True)
    write_image(tmp_path / "out.nii", result.data, AFFINE, series=result.header)
    header = nib.load(tmp_path / "out.nii").header
    assert header.get_zooms()[3] == 2500
    assert header.get_xyzt_units() == ("mm", "msec")


def test_analyze_images_without_mat_file_are_refused(rng, tmp_path):
    data = rng.random((4, 5, 6), np.float32)
    nib.save(nib.AnalyzeImage(data, AFFINE), tmp_path / "image.hdr")
    with pytest.raises(ValueError, match=r"Analyze 7\.5.*left from right"):
        read_image(tmp_path / "image.hdr")
    nib.save(nib.Spm99AnalyzeImage(data, oblique()), tmp_path / "spm.img")
    npt.assert_allclose(read_image(tmp_path / "spm.img").affine, oblique(), atol=1e-4)
    (tmp_path / "spm.mat").unlink()
    with pytest.raises(ValueError, match="without SPM's .mat"):
        read_image(tmp_path / "spm.img")
