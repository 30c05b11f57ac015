from keras import ops
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg.transform.sampling import (
    displaced,
    locate,
    read_linear,
    read_nearest,
    read_with_slopes,
    repeat_border,
    surround_by_zeros,
    voxel_grid,
)

SHAPES = [(6, 7), (5, 4, 6), (1, 7)]
MODES = {"zero": "grid-constant", "repeat": "nearest"}


def scipy_sample(images, positions, **options):
    """Sample images with channels at positions, a list with an array for each axis."""
    values = [
        [
            map_coordinates(image[..., c], np.stack(where), **options)
            for c in range(image.shape[-1])
        ]
        for image, *where in zip(images, *positions)
    ]
    return np.moveaxis(values, 1, -1)


@pytest.fixture
def make(rng):
    """Return a maker of images, and of positions within and beyond their border."""

    def make(shape):
        images = rng.random((2, *shape, 3), dtype=np.float32)
        positions = [rng.uniform(-3, n + 2, (2, 40)).astype(np.float32) for n in shape]
        return images, positions

    return make


@pytest.mark.parametrize("border", MODES)
@pytest.mark.parametrize("shape", SHAPES)
def test_linear_interpolation_agrees_with_scipy(shape, border, make):
    images, positions = make(shape)
    tensors = [ops.convert_to_tensor(axis) for axis in positions]
    image = ops.convert_to_tensor(images)
    offsets = locate(image, tensors, border)
    actual = ops.convert_to_numpy(read_linear(image, tensors, border, offsets))
    expected = scipy_sample(images, positions, order=1, mode=MODES[border])
    npt.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_slopes_are_differences_between_neighbouring_voxels(shape, make, rng):
    images, positions = make(shape)
    # Both ends of a small difference lie between the same voxels.
    positions = [np.floor(p) + rng.uniform(0.1, 0.9, p.shape) for p in positions]
    inside = [
        np.clip(p, 0.1, n - 1.1) if n > 1 else 0 * p for p, n in zip(positions, shape)
    ]
    tensors = [ops.convert_to_tensor(p.astype(np.float32)) for p in inside]
    image = ops.convert_to_tensor(images)
    offsets = locate(image, tensors, "repeat")
    values, slopes = read_with_slopes(image, tensors, "repeat", offsets)
    expected = scipy_sample(images, inside, order=1, mode="nearest")
    npt.assert_allclose(ops.convert_to_numpy(values), expected, atol=1e-5)
    for axis, slope in enumerate(slopes):
        ends = [
            scipy_sample(
                images,
                [p + step * (a == axis) for a, p in enumerate(inside)],
                order=1,
                mode="nearest",
            )
            for step in (-0.05, 0.05)
        ]
        npt.assert_allclose(
            ops.convert_to_numpy(slope), (ends[1] - ends[0]) / 0.1, atol=1e-4
        )


@pytest.mark.parametrize(
    ("border", "fill"), [("zero", None), ("zero", 7.0), ("repeat", None)]
)
@pytest.mark.parametrize("shape", SHAPES)
def test_nearest_interpolation_agrees_with_scipy(shape, border, fill, make):
    images, positions = make(shape)
    tensors = [ops.convert_to_tensor(axis) for axis in positions]
    actual = read_nearest(ops.convert_to_tensor(images), tensors, border, fill)
    expected = scipy_sample(
        images, positions, order=0, mode=MODES[border], cval=fill or 0.0
    )
    npt.assert_array_equal(ops.convert_to_numpy(actual), expected)


@pytest.mark.parametrize("border", MODES)
@pytest.mark.parametrize("shape", SHAPES)
def test_located_voxel_is_below_each_position(shape, border, make):
    images, positions = make(shape)
    tensors = [ops.convert_to_tensor(axis) for axis in positions]
    actual = ops.convert_to_numpy(
        locate(ops.convert_to_tensor(images), tensors, border)
    )
    margin = 1 if border == "zero" else 0
    padded = [n + 2 * margin for n in shape]
    item, *index = np.unravel_index(actual, (2, *padded))
    npt.assert_array_equal(item, np.broadcast_to([[0], [1]], item.shape))
    for voxel, position, n in zip(index, positions, padded):
        position = np.clip(position + margin, 0, n - 1)
        npt.assert_array_equal(voxel, np.minimum(np.floor(position), max(n - 2, 0)))


@pytest.mark.parametrize("shape", SHAPES)
def test_grid_and_displaced_voxels(shape, rng):
    grid = np.moveaxis(np.indices(shape), 0, -1)
    npt.assert_array_equal(ops.convert_to_numpy(voxel_grid(shape)), grid)
    displacement = rng.normal(size=(2, *shape, len(shape))).astype(np.float32)
    actual = displaced(ops.convert_to_tensor(displacement))
    for axis, positions in enumerate(actual):
        npt.assert_allclose(
            ops.convert_to_numpy(positions), (grid + displacement)[..., axis], rtol=1e-6
        )


@pytest.mark.parametrize("shape", SHAPES)
def test_margins_agree_with_numpy(shape, rng):
    images = rng.random((2, *shape, 3), dtype=np.float32)
    image = ops.convert_to_tensor(images)
    same = [(0, 0), *[(2, 2)] * len(shape), (0, 0)]
    expected = np.pad(images, same, mode="edge")
    npt.assert_array_equal(ops.convert_to_numpy(repeat_border(image, 2)), expected)
    margins = (2, 0, 1)[: len(shape)]
    expected = np.pad(images, [(0, 0), *[(m, m) for m in margins], (0, 0)])
    actual = surround_by_zeros(image, margins)
    npt.assert_array_equal(ops.convert_to_numpy(actual), expected)
