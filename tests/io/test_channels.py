import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.io.channels import is_several, read_channels

SHAPE = (14, 12, 10)
AFFINE = np.diag([2.0, 2, 2, 1])


@pytest.fixture
def image(rng):
    return gaussian_filter(rng.random(SHAPE), 2).astype(np.float32)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a.nii", "b.nii"], True),
        ((np.zeros((3, 3)), np.zeros((3, 3))), True),
        ([np.zeros(3), np.zeros(3)], False),
        ([[1, 2], [3, 4]], False),
        ([], False),
        (np.zeros((2, 3, 3)), False),
        ("a.nii", False),
    ],
)
def test_lists_of_images_are_told_from_nested_lists(value, expected):
    assert is_several(value) is expected


def test_files_on_other_grids_are_read_on_that_of_the_first_one(image, write):
    first = write("first.nii.gz", image, AFFINE)
    # The same image, stored in another order.
    turned = nib.Nifti1Image(2 * image, AFFINE).as_reoriented([[1, -1], [2, 1], [0, 1]])
    second = first.with_name("second.nii.gz")
    nib.save(turned, second)
    array, affine = read_channels(2, "moving", [first, second], None)
    npt.assert_array_equal(affine, AFFINE)
    npt.assert_allclose(array, np.stack([image, 2 * image], axis=-1), atol=1e-5)


def test_coarse_images_are_interpolated(image, write):
    first = write("first.nii.gz", image, AFFINE)
    ramp = np.indices((7, 6, 5)).sum(axis=0).astype(np.float32)
    coarse = AFFINE @ np.diag([2, 2, 2, 1])
    second = write("second.nii.gz", ramp, coarse)
    array, _ = read_channels(2, "moving", [first, second], None)
    expected = np.indices(SHAPE).sum(axis=0) / 2
    inside = (slice(0, -1),) * 3
    npt.assert_allclose(array[inside][..., 1], expected[inside], atol=1e-4)


def test_arrays_are_on_the_grid_of_the_first_image(image):
    array, affine = read_channels(2, "static", [image, 3 * image], AFFINE)
    assert affine is AFFINE
    npt.assert_array_equal(array, np.stack([image, 3 * image], axis=-1))


def test_one_image_is_read_as_it_is(image, write):
    array, affine = read_channels(1, "static", write("one.nii.gz", image), None)
    npt.assert_array_equal(array, image)
    npt.assert_array_equal(affine, AFFINE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image: image[1:], r"grid of the first one.*\(13, 12, 10\)"),
        (lambda image: image[0], r"as many axes.*\(12, 10\)"),
    ],
)
def test_arrays_of_other_shapes_are_refused(change, message, image):
    with pytest.raises(ValueError, match=message):
        read_channels(2, "moving", [image, change(image)], None)


@pytest.mark.parametrize("axis", [0, 2])
def test_slices_on_other_grids_are_read_on_that_of_the_first_one(axis, rng, write):
    """The second slice begins three pixels further along its first axis."""
    picture = gaussian_filter(rng.random((14, 12)), 2).astype(np.float32)
    further = AFFINE.copy()
    along = 1 if axis == 0 else 0
    further[along, 3] = 6
    images = [np.expand_dims(picture, axis), np.expand_dims(picture, axis)]
    files = [
        write(f"{i}.nii.gz", image, affine)
        for i, (image, affine) in enumerate(zip(images, (AFFINE, further)))
    ]
    array, _ = read_channels(2, "moving", files, None)
    moved = np.squeeze(array[..., 1])
    npt.assert_allclose(moved[3:], picture[:-3], atol=1e-5)


def test_images_apart_are_refused(image, write):
    far = AFFINE.copy()
    far[0, 3] = 1000
    files = [write("here.nii.gz", image, AFFINE), write("there.nii.gz", image, far)]
    with pytest.raises(ValueError, match="one person that overlap"):
        read_channels(2, "moving", files, None)


def test_a_missing_file_is_named(image, tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.nii"):
        read_channels(2, "moving", [image, tmp_path / "nothing.nii"], None)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("value", [0, np.nan])
def test_an_image_of_one_value_is_refused(number, value, image):
    images = [image, image]
    images[number] = np.full(image.shape, value)
    with pytest.raises(ValueError, match="Expected moving images with contrast"):
        read_channels(2, "moving", images, None)


def test_a_file_after_an_array_without_an_affine_is_refused(image):
    """Its place beside the array would be unknown."""
    second = nib.Nifti1Image(image, AFFINE)
    with pytest.raises(ValueError, match="Expected moving_affine with an array first"):
        read_channels(2, "moving", [image, second], None)
    array, _ = read_channels(2, "moving", [image, second], AFFINE)
    npt.assert_allclose(array[..., 1], image, atol=1e-6)
