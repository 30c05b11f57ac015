"""Fields of a single slice, in 2D and 3D, against SimpleITK and ANTs."""

import ants
import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest
import SimpleITK as sitk

from dipy_nn_reg.io.fields import load_mapping, save_mapping
from dipy_nn_reg.mapping.maps import (
    displacement_to_mapping,
    flatten_mapping,
    lift_mapping,
    mapping_to_displacement,
)


@pytest.fixture
def slices(smooth_field):
    """Return a map of one slice in 3D, and a moving slice."""
    field = smooth_field((20, 23), sigma=4, largest=2)
    affine = np.diag([-1.5, -2, 4, 1])
    affine[:3, 3] = [10, 12, 3]
    mapping = displacement_to_mapping(field, static_affine=affine, moving_affine=affine)
    moving = np.random.default_rng(0).random((20, 23), np.float32)
    return mapping, moving, affine


@pytest.mark.parametrize("format", ["dipy", "itk", "afni", "fsl"])
def test_a_single_slice_is_loaded_again_in_both_directions(format, slices, tmp_path):
    mapping, moving, _ = slices
    for one in (mapping, flatten_mapping(mapping)):
        save_mapping(tmp_path / "field.nii.gz", one, format=format)
        again = load_mapping(tmp_path / "field.nii.gz")
        again = lift_mapping(again) if again.dim == 2 else again
        assert tuple(again.codomain_shape) == (20, 23, 1)
        for name in ("transform", "transform_inverse"):
            npt.assert_allclose(
                getattr(again, name)(moving[..., None]),
                getattr(mapping, name)(moving[..., None]),
                atol=0.02,
            )


def inside(mapping, moving):
    """Return voxels that do not depend on how programs read beyond the border."""
    shrunk = np.zeros_like(moving)
    shrunk[2:-2, 2:-2] = 1
    whole = mapping.transform(shrunk[..., None])[..., 0] > 0.999
    whole[[0, -1]] = whole[:, [0, -1]] = False
    return whole


@pytest.mark.parametrize("axes", [2, 3])
def test_simpleitk_and_ants_apply_a_field_of_one_slice(axes, slices, tmp_path):
    """The field has as many axes as the images."""
    mapping, moving, affine = slices
    stored = moving if axes == 2 else moving[..., None]
    paths = [str(tmp_path / f"{name}.nii.gz") for name in ("image", "field")]
    image = nib.Nifti1Image(stored, affine)
    image.set_qform(affine, 1)
    nib.save(image, paths[0])
    saved = flatten_mapping(mapping) if axes == 2 else mapping
    save_mapping(paths[1], saved, format="itk")
    expected = mapping.transform(moving[..., None])[..., 0]
    where = inside(mapping, moving)
    assert where.mean() > 0.3
    field = sitk.ReadImage(paths[1], sitk.sitkVectorFloat64)
    result = sitk.ReadImage(paths[0])
    assert result.GetDimension() == axes
    warped = sitk.Resample(
        result, result, sitk.DisplacementFieldTransform(field), sitk.sitkLinear
    )
    warped = sitk.GetArrayFromImage(warped).T.reshape(moving.shape)
    npt.assert_allclose(warped[where], expected[where], atol=2e-3)
    image = ants.image_read(paths[0], dimension=axes)
    warped = ants.apply_transforms(image, image, [paths[1]], interpolator="linear")
    warped = warped.numpy().reshape(moving.shape)
    npt.assert_allclose(warped[where], expected[where], atol=2e-3)


def test_only_maps_of_one_slice_can_be_flattened():
    with pytest.raises(ValueError, match="one slice"):
        flatten_mapping(displacement_to_mapping(np.zeros((4, 5, 6, 3))))
    across = np.zeros((4, 5, 1, 3))
    across[..., 2] = 1
    with pytest.raises(ValueError, match="across"):
        flatten_mapping(displacement_to_mapping(across))
    flat = displacement_to_mapping(np.zeros((4, 5, 2)))
    assert flatten_mapping(lift_mapping(flat)).dim == 2
    npt.assert_array_equal(
        mapping_to_displacement(flatten_mapping(lift_mapping(flat)))[0], 0
    )
