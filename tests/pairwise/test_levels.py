from keras import ops
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.pairwise.levels import (
    PairTensors,
    best_end,
    iterations_for,
    levels_of,
)


def test_levels_on_which_images_are_too_small_are_left_out():
    assert levels_of((100, 200), (1, 2, 3, 4)) == [(8, 1), (4, 2), (2, 3), (1, 4)]
    assert levels_of((30, 200), (1, 2, 3, 4)) == [(2, 3), (1, 4)]
    assert levels_of((5, 5, 5), (1, 2)) == [(1, 2)]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((160, 192, 160), [25, 25, 9, 5]),
        ((80, 96, 80), [25, 25, 25, 9]),
        ((128, 128), [25, 25, 25, 25]),
        ((1000, 1000, 1000), [5, 5, 5, 5]),
    ],
)
def test_large_images_take_fewer_iterations(shape, expected):
    """Six million voxels are updated on each level, 5 to 25 times each."""
    assert iterations_for(shape) == expected


@pytest.mark.parametrize(
    ("shape", "stride", "expected"),
    [
        ((80, 96, 80), 1, [20, 5]),
        ((80, 96, 80), 2, [20, 5]),
        ((160, 192, 160), 4, [20, 5, 5]),
        ((48, 64, 48), 2, [20, 20]),
        ((512, 512), 8, [20, 20, 20, 11]),
    ],
)
def test_a_model_leaves_few_iterations(shape, stride, expected):
    assert iterations_for(shape, stride) == expected


def test_a_pair_is_swapped_with_its_annotations(rng):
    arrays = [rng.random((1, 4, 4, 1)) for _ in range(2)]
    masks = {"mask": rng.random((1, 4, 4, 1))}
    pair = PairTensors(*arrays, "moving fill", "static fill", Annotations(**masks))
    swapped = pair.swapped()
    assert swapped.moving is pair.static and swapped.static is pair.moving
    assert swapped.moving_fill == "static fill"
    assert swapped.annotations.moving_mask is masks["mask"]
    assert pair.shape == (4, 4)


@pytest.mark.parametrize("diverged", [float("nan"), float("-inf")])
def test_an_end_that_diverged_is_not_the_best(diverged):
    assert best_end([("a", diverged), ("b", 0.9), ("c", 0.5)]) == "c"
    assert best_end([("a", 0.5), ("b", diverged)]) == "a"
    assert best_end([("a", diverged), ("b", diverged)]) == "a"


def test_annotations_follow_an_image_that_is_warped():
    """Points turn by a right angle, and fibres with the image, the other way."""
    shape = (1, 5, 5, 5)
    x, y, z = np.indices(shape[1:], np.float32)
    # Voxel (x, y) is read at (y, 4 - x).
    displacement = np.stack([y - x, 4 - x - y, 0 * z], axis=-1)[None]
    image = np.random.default_rng(0).random((*shape, 1)).astype(np.float32)
    fibres = np.zeros((*shape, 6), np.float32)
    fibres[..., 0] = 1  # along the first axis
    annotations = Annotations(moving_mask=image, mask=image, moving_orientations=fibres)
    fills = np.zeros((2, 1, 1), np.float32)
    pair = PairTensors(image, image, *fills, annotations)
    warped = pair.warped(ops.convert_to_tensor(displacement))
    turned = np.swapaxes(image[:, :, ::-1], 1, 2)
    npt.assert_allclose(ops.convert_to_numpy(warped.moving), turned, atol=1e-6)
    npt.assert_allclose(
        ops.convert_to_numpy(warped.annotations.moving_mask), turned, atol=1e-6
    )
    assert warped.annotations.mask is image
    inner = ops.convert_to_numpy(warped.annotations.moving_orientations)
    npt.assert_allclose(
        inner[:, 1:-1, 1:-1, 1:-1],
        np.broadcast_to([0, 0, 1, 0, 0, 0], (1, 3, 3, 3, 6)),
        atol=1e-5,
    )
