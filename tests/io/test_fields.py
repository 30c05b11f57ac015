"""Fields in files, read by the programs of their formats."""

import ants
from dipy.align import read_mapping
from dipy.io.image import save_nifti
from dipy.workflows.align import ApplyTransformFlow
from fsl.data.image import Image as FslImage
from fsl.transform.fnirt import readFnirt
from fsl.transform.nonlinear import applyDeformation
import nibabel as nib
from nitransforms.io import afni, itk
import numpy as np
import numpy.testing as npt
import pytest
import SimpleITK as sitk

from dipy_nn_reg.io import fields
from dipy_nn_reg.io.field_formats import FORMATS, WRITABLE_FORMATS
from dipy_nn_reg.io.fields import load_mapping, save_mapping
from dipy_nn_reg.mapping.maps import displacement_to_mapping


@pytest.fixture
def solid(request, scene):
    # ITK does not support sheared grids.
    return scene(3, request.param, shear=0)


PREALIGNED = pytest.mark.parametrize(
    "solid", [False, True], ids=["plain", "prealigned"], indirect=True
)


def write(path, array, affine):
    nib.save(nib.Nifti1Image(array.astype(np.float32), affine), path)


def write_all(folder, scene, mapping, *, format):
    """Write a field and images on the moving and the static grid."""
    save_mapping(folder / "field.nii.gz", mapping, format=format)
    write(folder / "moving.nii.gz", scene.moving, scene.moving_affine)
    write(folder / "static.nii.gz", scene.field[..., 0], scene.static_affine)


def inside(mapping, moving):
    """Return voxels that do not depend on a border, where all programs agree."""
    shrunk = np.zeros_like(moving)
    shrunk[(slice(2, -2),) * moving.ndim] = 1
    whole = mapping.transform(shrunk) > 0.999
    whole[0] = whole[-1] = whole[:, 0] = whole[:, -1] = False
    whole[..., 0] = whole[..., -1] = False
    assert whole.mean() > 0.1
    return whole


@pytest.mark.parametrize("format", WRITABLE_FORMATS)
def test_a_saved_map_is_loaded_again(format, pair, tmp_path):
    mapping = pair.make_mapping()
    path = tmp_path / f"field{FORMATS[format].endings[-1]}"
    save_mapping(path, mapping, format=format)
    again = load_mapping(path)
    npt.assert_allclose(
        again.transform(pair.moving), mapping.transform(pair.moving), atol=2e-5
    )
    assert tuple(again.domain_shape) == pair.moving.shape
    static = np.random.default_rng(3).random(pair.field.shape[:-1])
    # Formats of other programs do not store the inverse: it is recomputed.
    npt.assert_allclose(
        again.transform_inverse(static), mapping.transform_inverse(static), atol=1e-3
    )


@pytest.mark.parametrize("format", [f for f in WRITABLE_FORMATS if not FORMATS[f].save])
def test_files_store_float32_on_the_static_grid(format, scene, tmp_path):
    pair = scene(3, True)
    save_mapping(tmp_path / "field.nii.gz", pair.make_mapping(), format=format)
    file = nib.load(tmp_path / "field.nii.gz")
    assert file.get_data_dtype() == np.float32
    expected = pair.static_affine
    if format == "dipy":  # as DIPY itself writes it
        expected = np.linalg.inv(expected)
    npt.assert_allclose(file.affine, expected, rtol=1e-5, atol=1e-5)


def test_dipy_reads_our_field(scene, tmp_path):
    pair = scene(3, True)
    mapping = pair.make_mapping()
    paths = [str(tmp_path / f"{name}.nii.gz") for name in ("field", "moving", "static")]
    save_mapping(paths[0], mapping)
    write(paths[1], pair.moving, pair.moving_affine)
    write(paths[2], np.zeros(pair.field.shape[:-1]), pair.static_affine)
    again = read_mapping(*paths, prealign=np.linalg.inv(pair.prealign))
    npt.assert_allclose(
        again.transform(pair.moving), mapping.transform(pair.moving), atol=1e-5
    )


def test_our_reader_reads_a_field_of_dipy(scene, tmp_path):
    from dipy.align import write_mapping

    pair = scene(3, False)
    mapping = pair.make_mapping()
    write_mapping(mapping, str(tmp_path / "field.nii.gz"))
    again = load_mapping(
        tmp_path / "field.nii.gz",
        moving_shape=pair.moving.shape,
        moving_affine=pair.moving_affine,
    )
    npt.assert_allclose(
        again.transform(pair.moving), mapping.transform(pair.moving), atol=1e-5
    )


def test_dipy_apply_transform_agrees_with_our_warped_image(scene, tmp_path):
    pair = scene(3, False)
    grid = {"static_affine": pair.static_affine, "moving_affine": pair.static_affine}
    mapping = displacement_to_mapping(pair.field, **grid)
    moving = np.random.default_rng(1).random(pair.field.shape[:-1]).astype(np.float32)
    static, moved, field = (str(tmp_path / f"{name}.nii.gz") for name in "smf")
    save_nifti(static, np.zeros_like(moving), pair.static_affine)
    save_nifti(moved, moving, pair.static_affine)
    save_mapping(field, mapping)
    flow = ApplyTransformFlow()
    flow.run(
        static, moved, field, transform_type="diffeomorphic", out_dir=str(tmp_path)
    )
    result = nib.load(flow.last_generated_outputs["out_file"]).get_fdata()
    npt.assert_allclose(result, mapping.transform(moving), atol=1e-5)


@PREALIGNED
def test_simpleitk_reads_our_field(solid, tmp_path):
    mapping = solid.make_mapping()
    write_all(tmp_path, solid, mapping, format="itk")
    field = sitk.ReadImage(str(tmp_path / "field.nii.gz"), sitk.sitkVectorFloat64)
    moving, static = (
        sitk.ReadImage(str(tmp_path / f"{name}.nii.gz"), sitk.sitkFloat32)
        for name in ("moving", "static")
    )
    warped = sitk.Resample(
        moving, static, sitk.DisplacementFieldTransform(field), sitk.sitkLinear, 0.0
    )
    warped = sitk.GetArrayFromImage(warped).T
    where = inside(mapping, solid.moving)
    expected = mapping.transform(solid.moving)
    assert np.ptp(expected[where]) > 0.1
    npt.assert_allclose(warped[where], expected[where], atol=1e-3)


@PREALIGNED
def test_ants_reads_our_field(solid, tmp_path):
    mapping = solid.make_mapping()
    write_all(tmp_path, solid, mapping, format="itk")
    warped = ants.apply_transforms(
        fixed=ants.image_read(str(tmp_path / "static.nii.gz")),
        moving=ants.image_read(str(tmp_path / "moving.nii.gz")),
        transformlist=[str(tmp_path / "field.nii.gz")],
        interpolator="linear",
    ).numpy()
    where = inside(mapping, solid.moving)
    expected = mapping.transform(solid.moving)
    npt.assert_allclose(warped[where], expected[where], atol=1e-3)


@PREALIGNED
def test_fslpy_reads_our_field(solid, tmp_path):
    mapping = solid.make_mapping()
    write_all(tmp_path, solid, mapping, format="fsl")
    moving, static = (
        FslImage(str(tmp_path / f"{name}.nii.gz")) for name in ("moving", "static")
    )
    field = readFnirt(
        str(tmp_path / "field.nii.gz"), moving, static, defType="relative"
    )
    warped = applyDeformation(moving, field, ref=static, order=1, mode="constant")
    where = inside(mapping, solid.moving)
    expected = mapping.transform(solid.moving)
    npt.assert_allclose(warped[where], expected[where], atol=1e-3)


@pytest.mark.parametrize(
    ("format", "reader"),
    [("itk", itk.ITKDisplacementsField), ("afni", afni.AFNIDisplacementsField)],
)
@PREALIGNED
def test_nitransforms_reads_our_field(format, reader, solid, tmp_path):
    mapping = solid.make_mapping()
    save_mapping(tmp_path / "field.nii.gz", mapping, format=format)
    result = reader.from_image(nib.load(tmp_path / "field.nii.gz")).get_fdata()
    voxels = np.moveaxis(np.indices(result.shape[:-1], dtype=float), 0, -1)
    affine = solid.static_affine
    points = (voxels @ affine[:3, :3].T + affine[:3, 3]).reshape(-1, 3)
    expected = np.asarray(mapping.transform_points(points)) - points
    npt.assert_allclose(result, expected.reshape(result.shape), atol=1e-4)


def test_simpleitk_reads_a_2d_field(scene, tmp_path):
    pair = scene(2, False)
    pair.static_affine, pair.moving_affine = (
        np.diag([1.5, 2, 1]),
        np.diag([1.2, 1.1, 1]),
    )
    mapping = pair.make_mapping()
    save_mapping(tmp_path / "field.nii.gz", mapping, format="itk")
    field = sitk.ReadImage(str(tmp_path / "field.nii.gz"), sitk.sitkVectorFloat64)
    field = field[:, :, 0] if field.GetDimension() == 3 else field
    assert field.GetDimension() == field.GetNumberOfComponentsPerPixel() == 2
    moving = sitk.GetImageFromArray(pair.moving.T)
    moving.SetSpacing([1.2, 1.1])
    moving.SetDirection([-1, 0, 0, -1])  # from RAS+ to LPS+
    grid = sitk.Image(field)  # SimpleITK empties the field itself.
    transform = sitk.DisplacementFieldTransform(field)
    warped = sitk.Resample(moving, grid, transform, sitk.sitkLinear, 0.0)
    where = inside(mapping, pair.moving)
    expected = mapping.transform(pair.moving)
    npt.assert_allclose(
        sitk.GetArrayFromImage(warped).T[where], expected[where], atol=1e-3
    )


def test_a_field_of_fsl_needs_the_moving_grid(tmp_path):
    field = np.zeros((5, 6, 7, 3), np.float32)
    write(tmp_path / "field.nii.gz", field, np.eye(4))
    with pytest.raises(ValueError, match="moving_shape and moving_affine"):
        load_mapping(tmp_path / "field.nii.gz")
    grid = {"moving_shape": (8, 7, 6), "moving_affine": np.eye(4)}
    mapping = load_mapping(tmp_path / "field.nii.gz", **grid)
    assert tuple(mapping.domain_shape) == (8, 7, 6)


@pytest.mark.parametrize(
    ("shape", "dtype", "format"),
    [
        ((5, 5, 5), np.float32, None),
        ((5, 5, 5, 4), np.float32, None),
        ((5, 5, 5, 3, 2), np.float32, "itk"),
        ((5, 5, 5, 1, 3), np.int16, None),
    ],
)
def test_images_that_are_no_fields_are_refused(shape, dtype, format, tmp_path):
    path = tmp_path / "image.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros(shape, dtype), np.eye(4)), path)
    with pytest.raises(ValueError, match="Expected a field of format"):
        load_mapping(path, format=format)


def test_unknown_formats_are_refused(scene, tmp_path):
    with pytest.raises(ValueError, match=r"format.*'dipy'.*'elastix'"):
        save_mapping(
            tmp_path / "f.nii", scene(2, False).make_mapping(), format="elastix"
        )


@pytest.mark.parametrize("format", WRITABLE_FORMATS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["forward", "backward"])
def test_maps_that_are_not_finite_are_not_saved(name, value, format, tmp_path):
    mapping = displacement_to_mapping(np.zeros((5, 6, 7, 3)))
    getattr(mapping, name)[2, 3, 4] = value
    with pytest.raises(ValueError, match="Expected a map of finite values"):
        save_mapping(tmp_path / "field.nii.gz", mapping, format=format)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("old", ["save_field", "load_field"])
def test_names_before_the_first_version_warn(old):
    new = old.replace("field", "mapping")
    with pytest.warns(DeprecationWarning, match=f"{old} is now {new}; .*version 0.2"):
        assert getattr(fields, old) is getattr(fields, new)
    with pytest.raises(ImportError, match="nothing"):
        from dipy_nn_reg.io.fields import nothing  # noqa: F401
