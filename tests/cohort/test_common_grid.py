"""Grids of groups: that of all images, or a new one that has room for all."""

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dipy_nn_reg.cohort.averages import mean_image
from dipy_nn_reg.cohort.common_grid import common_grid


def test_one_grid_is_kept_and_several_make_a_new_one(image, open_images):
    images = open_images([image, image])
    grid, shifts = common_grid(images)
    assert grid.shape == image.shape and np.all(grid.affine == images[0].affine)
    assert all(np.all(shift == np.eye(4)) for shift in shifts)
    coarse, _ = common_grid(images, voxel_size=4.0)
    assert coarse.shape == (9, 10, 8)


@pytest.mark.parametrize("is_dark", [False, True])
def test_images_on_several_grids_meet_in_the_middle_of_a_new_one(
    is_dark, image, open_images
):
    image = 1 - image if is_dark else image
    affine = np.diag([2.0, 2, 2, 1])
    moved = affine.copy()
    moved[:3, 3] += [30, -20, 10]
    images = open_images([image, image], [affine, moved])
    grid, shifts = common_grid(images)
    assert nib.aff2axcodes(grid.affine) == ("R", "A", "S")
    np.testing.assert_allclose(shifts[1][:3, 3] - shifts[0][:3, 3], [30, -20, 10])
    # Both centres of mass come to the middle of the new grid.
    options = {"weights": [1.0, 1.0], "average": "mean", "sharpen": 0.0}
    mean = mean_image(images, [[s] for s in shifts], grid, **options)
    mean = np.abs(mean - is_dark)
    index = np.indices(mean.shape).reshape(3, -1)
    center = index @ mean.ravel() / mean.sum()
    np.testing.assert_allclose(center, (np.array(mean.shape) - 1) / 2, atol=0.1)


@pytest.mark.parametrize("across", [0, 1, 2])
@pytest.mark.parametrize("degrees", [0, 20])
def test_the_grid_of_slices_lies_in_their_plane(across, degrees, image, open_images):
    """Slices of several sizes and heights, in a plane that is turned or not."""
    turn = Rotation.from_euler("xyz"[across - 1], degrees, degrees=True).as_matrix()
    arrays, affines = [], []
    for i, sign in enumerate((1, -1)):
        sizes = np.full(3, 1.5)
        sizes[across] = (4.0, 3.0)[i]
        affine = np.eye(4)
        affine[:3, :3] = turn * sizes
        affine[:3, across] *= sign  # slices may be stored from either side
        affine[:3, 3] = 7 * i
        array = np.take(image, [8], axis=across)
        arrays.append(np.roll(array, i, axis=across - 1))
        affines.append(affine)
    images = open_images(arrays, affines)
    for ordered in (images, images[::-1]):
        grid, shifts = common_grid(ordered)
        expected = turn * np.where(np.arange(3) == across, 3.0, 1.5)
        np.testing.assert_allclose(grid.affine[:3, :3], expected, atol=1e-6)
        assert grid.shape == arrays[0].shape
        options = {"weights": [1.0, 1.0], "average": "mean", "sharpen": 0.0}
        mean = mean_image(ordered, [[s] for s in shifts], grid, **options)
        assert mean.sum() == pytest.approx(np.mean([a.sum() for a in arrays]), rel=0.02)
        center = np.indices(mean.shape).reshape(3, -1) @ mean.ravel() / mean.sum()
        np.testing.assert_allclose(center, (np.array(mean.shape) - 1) / 2, atol=0.3)
