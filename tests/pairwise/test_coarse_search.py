from keras import ops
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.pairwise.coarse_search import search_displacement


def texture(rng, shape, sigma=3):
    image = gaussian_filter(rng.random(shape), sigma)
    return ((image - image.min()) / np.ptp(image)).astype(np.float32)


def search(moving, static, level, **masks):
    moving, static = (
        ops.convert_to_tensor(i[None, ..., None]) for i in (moving, static)
    )
    masks = Annotations(**masks).map(
        lambda mask, place: ops.convert_to_tensor(mask[None, ..., None])
    )
    return search_displacement(moving, static, level, masks)


@pytest.mark.parametrize("contrast", [1, -1])
@pytest.mark.parametrize(
    ("shape", "level", "motion"),
    [((64, 71), 4, (8, -4)), ((40, 33), 2, (0, 4)), ((40, 45, 38), 4, (-4, 8, 0))],
    ids=str,
)
def test_a_motion_larger_than_the_structures_is_found(
    shape, level, motion, contrast, rng
):
    """The motion is a whole number of coarse voxels."""
    static = texture(rng, shape, sigma=0.75 * level)
    moving = contrast * np.roll(static, motion, range(len(shape)))
    found = search(moving, static, level)
    assert found.shape == (1, *[-(-n // level) for n in shape], len(shape))
    assert found.dtype == np.float32
    inside = (0, *[slice(3, -3)] * len(shape))
    error = found[inside] - np.divide(motion, level)
    assert np.linalg.norm(error, axis=-1).mean() < 0.3


def test_two_halves_with_opposite_motion(rng):
    static = texture(rng, (64, 96))
    moving = static.copy()
    moving[:, :48] = np.roll(static, 8, 0)[:, :48]
    moving[:, 48:] = np.roll(static, -8, 0)[:, 48:]
    found = search(moving, static, 4)[0, 4:-4]
    npt.assert_allclose(found[:, 3:8].mean((0, 1)), [2, 0], atol=0.3)
    npt.assert_allclose(found[:, -8:-3].mean((0, 1)), [-2, 0], atol=0.3)


def search_with_and_without(name, rng):
    """Search in images of which one half differs, without and with a mask of it."""
    static = texture(rng, (64, 64))
    moving = np.roll(static, 8, 0)
    moving[:, 32:] = texture(rng, (64, 32))
    mask = np.ones(static.shape, np.float32)
    mask[:, 32:] = 0
    return (search(moving, static, 4, **m)[0, 4:-4] for m in ({}, {name: mask}))


def test_voxels_outside_a_mask_are_ignored(rng):
    without, with_mask = search_with_and_without("mask", rng)
    npt.assert_allclose(with_mask[:, 2:6].mean((0, 1)), [2, 0], atol=0.3)
    # Outside of the mask the field is only smoothed.
    assert np.abs(without[:, -3:]).mean() > 5 * np.abs(with_mask[:, -3:]).mean()


@pytest.mark.parametrize("shape", [(32, 40), (24, 24, 28)])
def test_flat_and_equal_images_do_not_move(shape, rng):
    flat = np.full(shape, 0.5, np.float32)
    npt.assert_array_equal(search(flat, flat, 2), 0)
    image = texture(rng, shape)
    npt.assert_array_equal(search(image, image, 2), 0)


def test_images_of_two_channels(rng):
    static = np.stack([texture(rng, (64, 60)) for _ in range(2)], axis=-1)[None]
    moving = np.roll(static, -8, 1)
    found = search_displacement(*map(ops.convert_to_tensor, (moving, static)), 4)
    npt.assert_allclose(found[0, 4:-4, 2:-2].mean((0, 1)), [-2, 0], atol=0.2)


def test_a_displacement_out_of_the_moving_mask_is_not_sought(rng):
    without, with_mask = search_with_and_without("moving_mask", rng)
    npt.assert_allclose(with_mask[:, 1:5].mean((0, 1)), [2, 0], atol=0.3)
    # Neither drawn across the border of the mask nor pushed away from it.
    assert np.abs(with_mask[:, 2:7, 1]).mean() < 0.3
    assert np.abs(without[:, 9:]).mean() > 2 * np.abs(with_mask[:, -3:, 1]).mean()


@pytest.mark.parametrize("shape", [(64, 64), (32, 48, 32)])
def test_what_the_moving_mask_leaves_out_is_not_drawn_into_it(shape, rng):
    moving, static = (texture(rng, shape) for _ in range(2))
    half = shape[1] // 2
    moving[:, :half] = static[:, :half]
    mask = np.ones(shape, np.float32)
    mask[:, half:] = 0
    found = search(moving, static, 4, moving_mask=mask)[0]
    assert np.abs(found[:, half // 4 :]).mean() < 0.05
