"""Averages of groups: of intensities, shapes and labels."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.cohort.averages import (
    mean_image,
    mean_shape,
    mean_stretch,
    scaled,
    velocity_of_shape,
    vote,
)
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.mapping.points import to_moving
from dipy_nn_reg.transform import integrate


@pytest.mark.parametrize(("offset", "factor"), [(0, 1), (-1000, 3), (7, 5e-3)])
def test_scaled_images_do_not_depend_on_their_unit(offset, factor, image, open_images):
    first, second = open_images([image, offset + factor * image])
    values, background, scale = scaled(second)
    np.testing.assert_allclose(values, scaled(first)[0], atol=2e-3)
    np.testing.assert_allclose(
        background + scale * values, second.data, atol=2e-3 * factor
    )


@pytest.mark.parametrize("average", ["mean", "median"])
def test_dark_objects_are_averaged_as_bright_ones_are(average, image, open_images, rng):
    """Sections on white: noise of the background says nothing on the scale."""
    noise = [rng.normal(0, s, image.shape) for s in (0.01, 1.0)]
    moved = np.roll(image, 4, axis=0)
    bright = [200 * one + n for one, n in zip((image, moved), noise)]
    options = {"weights": [1.0, 1.0], "average": average, "sharpen": 0.0}
    means = []
    for arrays in (bright, [255 - one for one in bright]):
        images = open_images(arrays)
        means.append(mean_image(images, [[], []], images[0].grid, **options))
    np.testing.assert_allclose(means[1], 255 - means[0], atol=1)
    np.testing.assert_allclose(means[0], 100 * (image + moved), atol=4)


@pytest.mark.parametrize("average", ["mean", "median"])
def test_the_mean_of_equal_images_is_that_image(average, image, open_images):
    images = open_images([100 + 40 * image] * 3)
    options = {"weights": [1.0, 2, 3], "average": average, "sharpen": 0.0}
    mean = mean_image(images, [[], [], []], images[0].grid, **options)
    np.testing.assert_allclose(mean, images[0].data, atol=1e-3)


def test_weights_and_medians(image, open_images):
    other = np.roll(image, 4, axis=0)
    images = open_images([image, image, other])
    grid, none = images[0].grid, [[], [], []]
    options = {"average": "mean", "sharpen": 0.0}
    mean = mean_image(images, none, grid, weights=[1.0, 2, 5], **options)
    np.testing.assert_allclose(mean, (3 * image + 5 * other) / 8, atol=5e-3)
    options = {"average": "median", "sharpen": 0.0, "weights": [1.0] * 3}
    median = mean_image(images, none, grid, **options)
    np.testing.assert_allclose(median, image, atol=5e-3)


def test_sharpening_adds_the_difference_from_a_blurred_image(image, open_images):
    images = open_images([image])
    options = {"weights": [1.0], "average": "mean"}
    plain, sharp = (
        mean_image(images, [[]], images[0].grid, sharpen=s, **options) for s in (0, 0.5)
    )
    expected = plain + 0.5 * (plain - gaussian_filter(plain, 1.0))
    np.testing.assert_allclose(sharp, expected, atol=1e-4)


def test_opposite_velocities_leave_the_shape(smooth_field):
    grid = Grid((18, 20, 16), np.diag([2.0, 2, 2, 1]))
    velocity = smooth_field(grid.shape, sigma=4, largest=2.0)
    maps = [
        displacement_to_mapping(integrate(s * velocity), static_affine=grid.affine)
        for s in (1, -1)
    ]
    length = np.linalg.norm(velocity, axis=-1).mean()
    assert (
        mean_shape(
            [velocity_of_shape(m, grid) for m in maps], grid, [1.0, 1.0]
        ).velocity
        < 0.05 * length
    )


def test_the_mean_velocity_is_undone(smooth_field):
    grid = Grid((18, 20, 16), np.diag([2.0, 2, 2, 1]))
    velocity = smooth_field(grid.shape, sigma=4, largest=2.0)
    mapping = displacement_to_mapping(integrate(velocity), static_affine=grid.affine)
    still = displacement_to_mapping(0 * velocity, static_affine=grid.affine)
    correction = mean_shape(
        [velocity_of_shape(m, grid) for m in (mapping, still)], grid, [3.0, 1.0]
    )
    length = 0.75 * np.linalg.norm(velocity, axis=-1).mean()
    assert correction.velocity == pytest.approx(length, rel=0.05)
    expected = displacement_to_mapping(
        integrate(-0.75 * velocity), static_affine=grid.affine
    )
    points = Grid((4, 4, 4), np.diag([2.0, 2, 2, 1]) + 12 * np.eye(4, k=3)).points()
    found = to_moving(points, correction.maps)
    assert np.abs(found - to_moving(points, [expected])).max() < 0.2


@pytest.mark.parametrize("shape", [(18, 20, 16), (24, 26, 1)])
def test_roughness_that_maps_have_in_common_is_no_shape(shape):
    """It is measured, and not undone; a shift is undone."""
    grid = Grid(shape, np.eye(4))
    rough = np.zeros((*shape, 3))
    rough[..., 0] = 0.1 * (-1.0) ** np.indices(shape).sum(0)
    correction = mean_shape([rough], grid, [1.0])
    assert correction.velocity == pytest.approx(0.1)
    points = grid.points()
    assert np.abs(to_moving(points, correction.maps) - points)[:, 0].mean() < 0.005
    shift = np.full((*shape, 3), [0.5, -0.25, 0])
    (undone,) = mean_shape([shift], grid, [1.0]).maps
    moved = to_moving(points, [undone]) - points
    np.testing.assert_allclose(moved, -shift.reshape(-1, 3), atol=1e-5)


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
    assert mean_shape([velocity_of_shape(mapping, grid)], grid, [1.0]).velocity < 1e-3


def test_labels_are_voted(open_images):
    arrays = np.zeros((3, 6, 5, 4), np.int16)
    arrays[:2, 1], arrays[2, 1], arrays[2, 2] = 300, 4, 4
    images = open_images(arrays.astype(np.float32))
    labels, none = list(arrays), [[], [], []]
    won = vote(labels, images, none, images[0].grid, [1.0, 1, 1])
    assert np.all(won[1] == 300) and not np.any(np.delete(won, 1, axis=0))
    heavy = vote(labels, images, none, images[0].grid, [1.0, 1, 3])
    assert np.all(heavy[1:3] == 4)


def test_votes_keep_labels_of_files_of_several_types(open_images):
    images = open_images(np.zeros((3, 2, 3, 4), np.float32) + np.arange(4))
    grid, none = images[0].grid, [[], [], []]
    shape = images[0].data.shape
    labels = [np.full(shape, 7, np.uint8), *[np.full(shape, 1024, np.int16)] * 2]
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        won = vote([labels[i] for i in order], images, none, grid, [1.0, 1, 1])
        assert np.all(won == 1024)
    large = 2**60 + 1  # which no float64 holds
    labels = [np.full(shape, large, dtype) for dtype in (np.int64, np.uint64, np.int64)]
    assert np.all(vote(labels, images, none, grid, [1.0, 1, 1]) == large)
