"""Labels and masks that keep their own header, against nibabel's reorientation."""

from itertools import permutations, product

import nibabel as nib
from nibabel.affines import apply_affine
from nibabel.orientations import apply_orientation, inv_ornt_aff
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from dipy_nn_reg.io.labels import read_labels_on, read_mask_on
from dipy_nn_reg.io.nifti import Image, read_labels

SHAPE = (7, 6, 5)
ORDERS = [
    np.column_stack([axes, flips])
    for axes in permutations(range(3))
    for flips in product((1, -1), repeat=3)
]


@pytest.fixture(params=[SHAPE, (7, 6, 1), (1, 6, 7), (6, 1, 6)], ids=str)
def image(request):
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", [20, -15, 40], degrees=True).as_matrix()
    affine[:3, :3] = turn * [1.5, 2, 3]
    affine[:3, 3] = [-40, 33, 12]
    return Image(np.zeros(request.param, np.float32), affine, None, "image.nii")


def save(path, data, affine, unit="mm"):
    image = nib.Nifti1Image(data, affine, dtype=data.dtype)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


@pytest.mark.parametrize("order", ORDERS, ids=lambda o: "".join(map(str, o.ravel())))
def test_another_storage_order_is_undone_exactly(order, image, rng, tmp_path):
    labels = rng.integers(0, 2**40, image.data.shape)
    stored = apply_orientation(labels, order)
    affine = image.affine @ inv_ornt_aff(order, labels.shape)
    path = save(tmp_path / "labels.nii", stored, affine)
    result = read_labels_on(path, image)
    assert result.dtype == labels.dtype
    npt.assert_array_equal(result, labels)
    path = save(path, np.where(stored > 2**39, 0.25, 0).astype(np.float32), affine)
    npt.assert_array_equal(read_mask_on(path, image), labels > 2**39)


@pytest.mark.parametrize(("unit", "mm"), [("micron", 1e-3), ("meter", 1e3)])
def test_units_are_converted(unit, mm, image, rng, tmp_path):
    labels = rng.integers(0, 9, image.data.shape).astype(np.uint8)
    affine = np.diag([1 / mm] * 3 + [1]) @ image.affine
    path = save(tmp_path / "labels.nii.gz", labels, affine, unit)
    npt.assert_array_equal(read_labels_on(path, image), labels)


def test_labels_of_two_axes_and_images_of_series_are_supported(rng, tmp_path):
    image = Image(np.zeros((7, 6, 1)), np.eye(4), None, "image.nii")
    labels = rng.integers(0, 9, (7, 6)).astype(np.uint8)
    path = save(tmp_path / "labels.nii", labels, np.diag([1, 1, 4, 1]))
    npt.assert_array_equal(read_labels_on(path, image)[..., 0], labels)
    series = Image(np.zeros((7, 6, 1, 9)), np.eye(4), None, "series.nii")
    npt.assert_array_equal(read_labels_on(path, series)[..., 0], labels)


def test_another_grid_is_read_at_the_nearest_voxel(rng, tmp_path, dipy_log):
    image = Image(np.zeros((9, 8, 7)), np.diag([1.5, 1.5, 2, 1]), None, "image.nii")
    affine = np.diag([0.7, -0.8, 1.1, 1])
    affine[:3, :3] = (
        Rotation.from_euler("z", 10, degrees=True).as_matrix() @ affine[:3, :3]
    )
    affine[:3, 3] = [1, 9, 2]
    labels = rng.integers(1, 9, (14, 15, 9)).astype(np.int16)
    path = save(tmp_path / "labels.nii", labels, affine)
    affine = nib.load(path).affine
    voxels = np.moveaxis(np.indices(image.data.shape, float), 0, -1)
    at = apply_affine(np.linalg.inv(affine) @ image.affine, voxels)
    expected = map_coordinates(
        labels, np.moveaxis(at, -1, 0), order=0, mode="grid-constant", prefilter=False
    )
    npt.assert_array_equal(read_labels_on(path, image), expected)
    back = apply_affine(np.linalg.inv(image.affine) @ affine, np.argwhere(labels))
    outside = np.any((back < -0.5) | (back >= np.array((9, 8, 7)) - 0.5), axis=1)
    assert f"{100 * outside.mean():.3g} % of the labelled voxels" in dipy_log.text


def test_labels_inside_of_the_image_cause_no_warning(rng, tmp_path, dipy_log):
    image = Image(np.zeros((9, 8, 7)), np.eye(4), None, "image.nii")
    labels = np.zeros((30, 30, 30), np.uint8)
    labels[9:12, 9:12, 9:12] = 5
    affine = np.diag([0.5, 0.5, 0.5, 1])
    result = read_labels_on(save(tmp_path / "labels.nii", labels, affine), image)
    assert set(np.unique(result)) == {0, 5}
    assert "outside" not in dipy_log.text


@pytest.mark.parametrize("read", [read_labels_on, read_mask_on])
def test_labels_outside_of_the_image_are_refused(read, tmp_path):
    image = Image(np.zeros((4, 4, 4)), np.eye(4), None, "image.nii")
    labels = np.ones((4, 4, 4), np.uint8)
    affine = np.eye(4)
    affine[0, 3] = 1000
    path = save(tmp_path / "labels.nii", labels, affine)
    with pytest.raises(ValueError, match=r"\(-0\.5, .*image\.nii|image\.nii.*999\.5"):
        read(path, image)
    with pytest.raises(ValueError, match="which is 0"):
        read(save(path, np.zeros_like(labels), np.eye(4)), image)


def test_masks_may_contain_fractions_negatives_and_nan(tmp_path, dipy_log):
    image = Image(np.zeros((2, 2, 2)), np.eye(4), None, "image.nii")
    values = np.array([0, 0.001, 1, -1, np.nan, 7, 0.5, 0], np.float32)
    path = save(tmp_path / "mask.nii", values.reshape(2, 2, 2), np.eye(4))
    npt.assert_array_equal(read_mask_on(path, image).ravel(), [0, 1, 1, 0, 0, 1, 1, 0])
    assert "1 of 8 values" in dipy_log.text
    path = save(path, np.full((2, 2, 2), np.inf, np.float32), np.eye(4))
    with pytest.raises(ValueError, match="finite"):
        read_mask_on(path, image)
    path = save(path, np.full((2, 2, 2), np.nan, np.float32), np.eye(4))
    with pytest.raises(ValueError, match="which is 0"):
        read_mask_on(path, image)


LARGE = [
    (np.float64, [3e9, -3e9, 2.0**53], np.int64),
    (np.float32, [2.0**40], np.int64),
    (np.float64, [2.0**63, 0], np.uint64),
    (np.uint32, [4_000_000_000], np.uint32),
    (np.uint64, [2**64 - 1, 2**53 + 1], np.uint64),
    (np.int64, [-(2**53) - 1, 2**53 + 1], np.int64),
    (np.int8, [-7], np.int8),
]


@pytest.mark.parametrize(("dtype", "values", "expected"), LARGE)
@pytest.mark.parametrize("shift", [0, 0.4])
def test_labels_keep_their_values(dtype, values, expected, shift, tmp_path):
    image = Image(np.zeros((4, 4, 4)), np.eye(4), None, "image.nii")
    labels = np.zeros((4, 4, 4), dtype)
    labels[: len(values), 1, 2] = values
    affine = np.eye(4)
    affine[0, 3] = shift
    path = save(tmp_path / "labels.nii.gz", labels, affine)
    assert read_labels(path).data.dtype == expected
    result = read_labels_on(path, image)
    assert result.dtype == expected
    assert [int(v) for v in result[: len(values), 1, 2]] == [int(v) for v in values]


@pytest.mark.parametrize("value", [2.0**64, -(2.0**64), 1e300])
def test_labels_beyond_64_bits_are_refused(value, tmp_path):
    labels = np.full((2, 2, 2), value)
    with pytest.raises(ValueError, match="64 bits"):
        read_labels(save(tmp_path / "labels.nii", labels, np.eye(4)))


def test_nan_counts_as_background_of_labels(tmp_path, dipy_log):
    labels = np.array([np.nan, 3, 0, 2], np.float32).reshape(2, 2, 1)
    result = read_labels(save(tmp_path / "labels.nii", labels, np.eye(4)))
    npt.assert_array_equal(result.data.ravel(), [0, 3, 0, 2])
    assert "1 of 4 values" in dipy_log.text
