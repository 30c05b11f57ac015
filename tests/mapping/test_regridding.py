import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest
from scipy.linalg import expm
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.mapping.regridding import read_on_grid, working_grid


def stored(image, affine, orientation):
    """Store an image in another order of its axes, as nibabel does."""
    one = nib.Nifti1Image(image, affine)
    change = nib.orientations.ornt_transform(
        nib.io_orientation(affine), nib.orientations.axcodes2ornt(orientation)
    )
    one = one.as_reoriented(change)
    return np.asarray(one.dataobj), one.affine


@pytest.mark.parametrize("orientation", ["PIR", "LIA", "SAL", "LPS"])
def test_the_order_in_which_an_image_is_stored_changes_nothing(orientation, rng):
    """Thick slices average along the direction across them, whichever axis that is."""
    image = gaussian_filter(rng.random((30, 30, 30)), 1.0).astype(np.float32)
    affine, grid = np.eye(4), np.diag([1.0, 1, 6, 1])
    grid[2, 3] = 2.5
    expected = read_on_grid(image, affine, [], (30, 30, 5), grid)
    found = read_on_grid(*stored(image, affine, orientation), [], (30, 30, 5), grid)
    npt.assert_allclose(found, expected, atol=1e-5)
    # As the mean of the six slices that each thick one covers, but for the ends.
    means = image.reshape(30, 30, 5, 6).mean(-1)
    inner = (slice(4, -4), slice(4, -4), slice(1, -1))
    assert np.corrcoef(found[inner].ravel(), means[inner].ravel())[0, 1] > 0.98


def test_channels_are_smoothed_one_by_one(rng):
    images = rng.random((16, 16, 16, 2)).astype(np.float32)
    grid = (8, 8, 8), np.diag([2.0, 2, 2, 1])
    found = read_on_grid(images, np.eye(4), [], *grid)
    for channel in range(2):
        npt.assert_allclose(
            found[..., channel],
            read_on_grid(images[..., channel], np.eye(4), [], *grid),
            atol=1e-6,
        )


@pytest.mark.parametrize("size", [0.8, 1.1, 1.2, 1.6, 2.0])
@pytest.mark.parametrize("ndim", [2, 3])
def test_the_voxels_that_are_there_make_no_other_grid(size, ndim, rng):
    """Also with what the float32 of an oblique header rounds."""
    for _ in range(20):
        skew = rng.uniform(-0.5, 0.5, (3, 3))
        affine = np.eye(4)
        affine[:3, :3] = (expm(skew - skew.T) * size).astype(np.float32)
        shape = (60, 51, 1 if ndim == 2 else 47)
        found_shape, found = working_grid(shape, affine, size)
        assert found_shape == shape
        npt.assert_array_equal(found, affine)


def test_an_axis_that_has_such_voxels_stays_as_it_is():
    shape, affine = working_grid((20, 21, 22), np.diag([2.0, 1.0, 4.0, 1]), 2.0)
    assert shape == (20, 11, 44)
    npt.assert_allclose(np.diag(affine), [2, 2, 2, 1])
    assert affine[0, 3] == 0


def test_a_grid_that_no_memory_holds_is_refused():
    with pytest.raises(ValueError, match="voxel_size near"):
        working_grid((20, 20, 20), np.diag([1e20, 1, 1, 1]), 1.0)


@pytest.mark.parametrize("ratio", [1e20, 1e-20])
def test_voxels_of_absurd_size_take_neither_time_nor_memory(ratio, rng):
    image = rng.random((8, 9, 7)).astype(np.float32)
    small = np.diag([ratio, ratio, ratio, 1])
    found = read_on_grid(image, small, [], (8, 9, 7), np.eye(4))
    assert found.shape == (8, 9, 7) and np.isfinite(found).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_keep_their_thickness(axis):
    shape, sizes = [20, 20, 20], [2.0, 2.0, 2.0, 1]
    shape[axis], sizes[axis] = 1, 5.0
    found_shape, found = working_grid(tuple(shape), np.diag(sizes), 4.0)
    assert sorted(found_shape) == [1, 10, 10]
    npt.assert_allclose(
        nib.affines.voxel_sizes(found), [5 if n == 1 else 4 for n in shape]
    )
