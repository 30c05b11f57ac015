import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.regridding import read_on_grid


def stored(image, affine, orientation):
    """Return an image stored in another order of its axes, by nibabel."""
    one = nib.Nifti1Image(image, affine)
    change = nib.orientations.ornt_transform(
        nib.io_orientation(affine), nib.orientations.axcodes2ornt(orientation)
    )
    one = one.as_reoriented(change)
    return np.asarray(one.dataobj), one.affine


@pytest.mark.parametrize("orientation", ["PIR", "LIA", "SAL", "LPS"])
def test_the_order_of_the_axes_does_not_change_the_result(orientation, rng):
    """Images are smoothed across thick slices, along whichever axis that is."""
    image = gaussian_filter(rng.random((30, 30, 30)), 1.0).astype(np.float32)
    affine, thick = np.eye(4), np.diag([1.0, 1, 6, 1])
    thick[2, 3] = 2.5
    grid = Grid((30, 30, 5), thick)
    expected = read_on_grid(image, affine, [], grid)
    found = read_on_grid(*stored(image, affine, orientation), [], grid)
    npt.assert_allclose(found, expected, atol=1e-5)
    # The mean of the six slices in each thick one, except at the ends.
    means = image.reshape(30, 30, 5, 6).mean(-1)
    inner = (slice(4, -4), slice(4, -4), slice(1, -1))
    assert np.corrcoef(found[inner].ravel(), means[inner].ravel())[0, 1] > 0.98


def test_channels_are_smoothed_separately(rng):
    images = rng.random((16, 16, 16, 2)).astype(np.float32)
    grid = Grid((8, 8, 8), np.diag([2.0, 2, 2, 1]))
    found = read_on_grid(images, np.eye(4), [], grid)
    for channel in range(2):
        npt.assert_allclose(
            found[..., channel],
            read_on_grid(images[..., channel], np.eye(4), [], grid),
            atol=1e-6,
        )


@pytest.mark.parametrize("ratio", [1e20, 1e-20])
def test_extreme_voxel_sizes_take_little_time_and_memory(ratio, rng):
    image = rng.random((8, 9, 7)).astype(np.float32)
    small = np.diag([ratio, ratio, ratio, 1])
    found = read_on_grid(image, small, [], Grid((8, 9, 7), np.eye(4)))
    assert found.shape == (8, 9, 7) and np.isfinite(found).all()
