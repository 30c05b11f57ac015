"""Averages of groups: of intensities, shapes and labels."""

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.cohort.averages import (
    common_grid,
    mean_image,
    mean_shape,
    mean_stretch,
    scaled,
    vote,
)
from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.mapping.resampling import to_moving
from dipy_nn_reg.transform import integrate


@pytest.fixture
def image(blobs, rng):
    """Return a volume with a background of 0."""
    return sum(blobs(rng, 3, (18, 20, 16)))


def open_images(write, arrays, affines=None):
    affines = affines or [None] * len(arrays)
    paths = [
        write(f"{i}.nii.gz", a, affine)
        for i, (a, affine) in enumerate(zip(arrays, affines))
    ]
    return [read_image(path) for path in paths]


@pytest.mark.parametrize(("offset", "factor"), [(0, 1), (-1000, 3), (7, 5e-3)])
def test_scaled_images_do_not_depend_on_their_unit(offset, factor, image, write):
    first, second = open_images(write, [image, offset + factor * image])
    values, background, scale = scaled(second)
    np.testing.assert_allclose(values, scaled(first)[0], atol=2e-3)
    np.testing.assert_allclose(
        background + scale * values, second.data, atol=2e-3 * factor
    )


@pytest.mark.parametrize("average", ["mean", "median"])
def test_the_mean_of_equal_images_is_that_image(average, image, write):
    images = open_images(write, [100 + 40 * image] * 3)
    options = {"weights": [1.0, 2, 3], "average": average, "sharpen": 0.0}
    mean = mean_image(images, [[], [], []], images[0].grid, **options)
    np.testing.assert_allclose(mean, images[0].data, atol=1e-3)


def test_weights_and_medians(image, write):
    other = np.roll(image, 4, axis=0)
    images = open_images(write, [image, image, other])
    grid, none = images[0].grid, [[], [], []]
    options = {"average": "mean", "sharpen": 0.0}
    mean = mean_image(images, none, grid, weights=[1.0, 2, 5], **options)
    np.testing.assert_allclose(mean, (3 * image + 5 * other) / 8, atol=5e-3)
    options = {"average": "median", "sharpen": 0.0, "weights": [1.0] * 3}
    median = mean_image(images, none, grid, **options)
    np.testing.assert_allclose(median, image, atol=5e-3)


def test_sharpening_adds_the_difference_from_a_blurred_image(image, write):
    images = open_images(write, [image])
    options = {"weights": [1.0], "average": "mean"}
    plain, sharp = (
        mean_image(images, [[]], images[0].grid, sharpen=s, **options) for s in (0, 0.5)
    )
    expected = plain + 0.5 * (plain - gaussian_filter(plain, 1.0))
    np.testing.assert_allclose(sharp, expected, atol=1e-4)


def test_one_grid_is_kept_and_several_make_a_new_one(image, write):
    images = open_images(write, [image, image])
    grid, shifts = common_grid(images)
    assert grid.shape == image.shape and np.all(grid.affine == images[0].affine)
    assert all(np.all(shift == np.eye(4)) for shift in shifts)
    coarse, _ = common_grid(images, voxel_size=4.0)
    assert coarse.shape == (9, 10, 8)

    moved = np.array(images[0].affine)
    moved[:3, 3] += [30, -20, 10]
    images = open_images(write, [image, image], [images[0].affine, moved])
    grid, shifts = common_grid(images)
    assert nib.aff2axcodes(grid.affine) == ("R", "A", "S")
    np.testing.assert_allclose(shifts[1][:3, 3] - shifts[0][:3, 3], [30, -20, 10])
    # Both centres of mass come to the middle of the new grid.
    options = {"weights": [1.0, 1.0], "average": "mean", "sharpen": 0.0}
    mean = mean_image(images, [[s] for s in shifts], grid, **options)
    index = np.indices(mean.shape).reshape(3, -1)
    center = index @ mean.ravel() / mean.sum()
    np.testing.assert_allclose(center, (np.array(mean.shape) - 1) / 2, atol=0.1)


def test_opposite_velocities_leave_the_shape(smooth_field):
    grid = Grid((18, 20, 16), np.diag([2.0, 2, 2, 1]))
    velocity = smooth_field(grid.shape, sigma=4, largest=2.0)
    maps = [
        displacement_to_mapping(integrate(s * velocity), static_affine=grid.affine)
        for s in (1, -1)
    ]
    length = np.linalg.norm(velocity, axis=-1).mean()
    assert mean_shape(maps, grid, [1.0, 1.0]).velocity < 0.05 * length


def test_the_mean_velocity_is_undone(smooth_field):
    grid = Grid((18, 20, 16), np.diag([2.0, 2, 2, 1]))
    velocity = smooth_field(grid.shape, sigma=4, largest=2.0)
    mapping = displacement_to_mapping(integrate(velocity), static_affine=grid.affine)
    still = displacement_to_mapping(0 * velocity, static_affine=grid.affine)
    correction = mean_shape([mapping, still], grid, [3.0, 1.0])
    length = 0.75 * np.linalg.norm(velocity, axis=-1).mean()
    assert correction.velocity == pytest.approx(length, rel=0.05)
    expected = displacement_to_mapping(
        integrate(-0.75 * velocity), static_affine=grid.affine
    )
    points = Grid((4, 4, 4), np.diag([2.0, 2, 2, 1]) + 12 * np.eye(4, k=3)).points()
    found = to_moving(points, correction.maps)
    assert np.abs(found - to_moving(points, [expected])).max() < 0.2


def test_the_mean_stretch_is_undone_and_turns_are_not():
    grid = Grid((11, 11, 11), np.eye(4))
    turned, larger = np.eye(4), np.diag([1.2, 1.2, 1.2, 1])
    turned[:2, :2] = [[0, -1], [1, 0]]
    assert mean_stretch([turned], grid, [1.0]).stretch < 1e-10
    correction = mean_stretch([larger, np.eye(4)], grid, [1.0, 1.0])
    assert correction.stretch == pytest.approx(np.sqrt(1.2) - 1)
    (undone,) = correction.maps
    np.testing.assert_allclose(undone[:3, :3], np.eye(3) / np.sqrt(1.2))
    np.testing.assert_allclose(undone @ [5, 5, 5, 1], [5, 5, 5, 1])


def test_an_affine_and_a_field_that_undo_each_other_are_no_shape():
    grid = Grid((18, 20, 16), np.diag([2.0, 2, 2, 1]))
    larger = np.diag([1.05, 1.05, 1.05, 1])
    # Turned as well, which is no change of shape.
    turned = np.eye(4)
    turned[:2, :2] = [[0, -1], [1, 0]]
    center = np.array([17.0, 19, 15])
    larger[:3, 3], turned[:3, 3] = -0.05 * center, center - turned[:3, :3] @ center
    voxels = np.moveaxis(np.indices(grid.shape), 0, -1)
    smaller = (1 / 1.05 - 1) * (voxels - center / 2)
    mapping = displacement_to_mapping(
        smaller.astype(np.float32),
        static_affine=grid.affine,
        prealign=turned @ larger,
    )
    assert mean_shape([mapping], grid, [1.0]).velocity < 1e-3


def test_labels_are_voted(write):
    arrays = np.zeros((3, 6, 5, 4), np.int16)
    arrays[:2, 1], arrays[2, 1], arrays[2, 2] = 300, 4, 4
    images = open_images(write, arrays.astype(np.float32))
    labels, none = list(arrays), [[], [], []]
    won = vote(labels, images, none, images[0].grid, [1.0, 1, 1])
    assert np.all(won[1] == 300) and not np.any(np.delete(won, 1, axis=0))
    heavy = vote(labels, images, none, images[0].grid, [1.0, 1, 3])
    assert np.all(heavy[1:3] == 4)
