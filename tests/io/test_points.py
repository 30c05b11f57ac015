import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import gaussian_filter
import SimpleITK as sitk

from dipy_nn_reg.io.fields import save_mapping
from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.io.points import (
    read_affine,
    read_bvecs,
    read_map,
    read_streamlines,
    write_map,
)
from dipy_nn_reg.mapping.maps import displacement_to_mapping


def test_invalid_affines_are_refused(tmp_path):
    np.savetxt(tmp_path / "affine.txt", np.eye(4))
    npt.assert_array_equal(read_affine(tmp_path / "affine.txt"), np.eye(4))
    np.savetxt(tmp_path / "affine.txt", np.zeros((4, 4)))
    with pytest.raises(ValueError, match="its last row"):
        read_affine(tmp_path / "affine.txt")
    with pytest.raises(FileNotFoundError, match="nothing.txt"):
        read_affine(tmp_path / "nothing.txt")


def test_empty_and_damaged_tractograms_are_refused(tmp_path):
    image = tmp_path / "image.nii"
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4)), image)
    empty = nib.streamlines.Tractogram([], affine_to_rasmm=np.eye(4))
    nib.streamlines.save(empty, str(tmp_path / "empty.tck"))
    with pytest.raises(ValueError, match="There are none in.*empty.tck"):
        read_streamlines(tmp_path / "empty.tck", image)
    (tmp_path / "broken.trk").write_bytes(b"no tractogram")
    with pytest.raises(ValueError, match="Expected a tractogram.*broken.trk"):
        read_streamlines(tmp_path / "broken.trk", image)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("ending", [".trk", ".tck"])
def test_streamlines_that_are_not_finite_are_refused(value, ending, tmp_path):
    image = tmp_path / "image.nii"
    nib.save(nib.Nifti1Image(np.zeros((9, 9, 9), np.float32), np.eye(4)), image)
    lines = [np.ones((4, 3), np.float32), np.ones((3, 3), np.float32)]
    lines[1][1, 2] = value
    path = tmp_path / f"bundle{ending}"
    tractogram = nib.streamlines.Tractogram(lines, affine_to_rasmm=np.eye(4))
    if ending == ".trk":
        header = {"dimensions": (9, 9, 9), "voxel_to_rasmm": np.eye(4)}
        with np.errstate(invalid="ignore"):
            nib.streamlines.save(tractogram, str(path), header=header)
    else:
        nib.streamlines.save(tractogram, str(path))
    # A .tck separates streamlines by NaN and ends by inf.
    with pytest.raises(ValueError, match=f"bundle{ending}"):
        if len(read_streamlines(path, image).streamlines) != 2:
            pytest.skip("the value is part of the format")


def test_b_vectors_are_read_from_rows_or_columns(rng, tmp_path):
    for n in (1, 2, 3, 7):
        vectors = rng.normal(size=(n, 3)).round(4)
        np.savetxt(tmp_path / "rows.bvec", vectors.T)  # as FSL
        npt.assert_array_equal(read_bvecs(tmp_path / "rows.bvec"), vectors)
        if n != 3:
            np.savetxt(tmp_path / "columns.txt", vectors)
            npt.assert_array_equal(read_bvecs(tmp_path / "columns.txt"), vectors)
        np.save(tmp_path / "rows.npy", vectors.T)
        npt.assert_array_equal(read_bvecs(tmp_path / "rows.npy"), vectors)
    for text in ("", "1 2\n3 4\n", "a b c\nd e f"):
        (tmp_path / "bad.bvec").write_text(text)
        with pytest.raises(ValueError, match="b-vectors"):
            read_bvecs(tmp_path / "bad.bvec")


@pytest.fixture
def pair_of_images(scene, tmp_path):
    """Return two images and the file of the field between them."""
    pair = scene(3, False)
    images = {}
    for name, data, affine in (
        ("static", pair.field[..., 0], pair.static_affine),
        ("moving", pair.moving.astype(np.float32), pair.moving_affine),
    ):
        path = tmp_path / f"{name}.nii.gz"
        image = nib.Nifti1Image(data, affine)
        image.set_sform(affine, 1)
        nib.save(image, path)
        images[name] = read_image(path)
    save_mapping(tmp_path / "field.nii.gz", pair.make_mapping())
    return images, tmp_path / "field.nii.gz"


def test_a_field_on_another_grid_is_refused(pair_of_images):
    images, field = pair_of_images
    read_map(field, **images)
    for change in (np.eye(4), np.diag([1, 1, 1.2, 1])):
        change[0, 3] = 30
        moved = images["static"]._replace(affine=change @ images["static"].affine)
        with pytest.raises(ValueError, match=r"on the grid of the static.*voxels away"):
            read_map(field, **(images | {"static": moved}))
    with pytest.raises(ValueError, match="of size"):
        read_map(field, **(images | {"static": images["moving"]}))


def test_fields_of_slices_have_as_many_axes_as_their_files(slice_files, tmp_path):
    for axes, components in ((2, 2), (3, 3)):
        image, mapping = slice_files(axes)
        path = tmp_path / f"field_{axes}.nii"
        write_map(path, mapping, image, image, format="itk")
        assert nib.load(path).shape[3:] == (1, components)
        again = read_map(path, image, image)
        npt.assert_allclose(
            again.transform(image.data), mapping.transform(image.data), atol=1e-4
        )


@pytest.fixture
def slice_files(smooth_field, tmp_path):
    """Return a function that makes an image of one slice and a map on it."""

    def make(axes):
        data = np.random.default_rng(0).random((12, 14), np.float32)
        affine = np.diag([-1.5, -2, 1, 1])
        path = tmp_path / "slice.nii.gz"
        image = nib.Nifti1Image(data if axes == 2 else data[..., None], affine)
        image.set_sform(affine, 1)
        nib.save(image, path)
        field = smooth_field((12, 14), sigma=3, largest=1)
        mapping = displacement_to_mapping(
            field, static_affine=affine, moving_affine=affine
        )
        return read_image(path), mapping

    return make


def test_simpleitk_warps_images_in_micrometres_as_we_do(smooth_field, tmp_path):
    """SimpleITK converts the images to mm, but not the field, which is in mm."""
    affine = np.diag([-25.0, -25, 30, 1])
    path, field = (str(tmp_path / f"{name}.nii.gz") for name in ("image", "field"))
    data = gaussian_filter(np.random.default_rng(0).random((20, 22, 18)), 2)
    data = np.float32((data - data.min()) / np.ptp(data))
    image = nib.Nifti1Image(data, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    image.header.set_xyzt_units("micron")
    nib.save(image, path)
    image = read_image(path)
    grids = {"static_affine": image.affine, "moving_affine": image.affine}
    displacement = smooth_field(data.shape, sigma=4, largest=2)
    displacement *= np.hanning(20)[:, None, None, None]
    mapping = displacement_to_mapping(displacement, **grids)
    write_map(field, mapping, image, image, format="itk")
    static = sitk.ReadImage(path, sitk.sitkFloat32)
    result = sitk.ReadImage(field, sitk.sitkVectorFloat64)
    npt.assert_allclose(result.GetSpacing(), static.GetSpacing(), rtol=1e-5)
    transform = sitk.DisplacementFieldTransform(result)
    warped = sitk.GetArrayFromImage(sitk.Resample(static, static, transform)).T
    expected = mapping.transform(image.data)
    inner = (slice(4, -4),) * 3
    assert np.abs(expected - data)[inner].max() > 0.02
    npt.assert_allclose(warped[inner], expected[inner], atol=1e-3)


def test_b_vectors_that_are_missing_are_zero(tmp_path):
    """FSL has NaN for volumes without weighting; one NaN in a vector stays."""
    (tmp_path / "bvecs").write_text("nan 0 nan\nnan 1 0\nnan 0 1\n")
    found = read_bvecs(tmp_path / "bvecs")
    npt.assert_array_equal(found, [[0, 0, 0], [0, 1, 0], [np.nan, 0, 1]])
