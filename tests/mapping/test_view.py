"""Field of view: faces that are cut, what lies beyond, and how the border goes on."""

import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.mapping.frame import Frame
from dipy_nn_reg.mapping.view import continue_border, find_unseen


def ball(shape, radius=0.4):
    """Return a ball of 1 in a background of 0, with a channel axis."""
    place = (np.indices(shape).T - (np.array(shape) - 1) / 2) / np.array(shape)
    return (np.linalg.norm(place, axis=-1).T < radius).astype(np.float32)[..., None]


def shifted_by(shift):
    affine = np.eye(len(shift) + 1)
    affine[:-1, -1] = shift
    return affine


@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("shape", [(24, 21), (20, 18, 17)])
def test_voxels_beyond_a_cut_face_are_unseen(shape, is_last):
    static, cut = ball(shape), shape[1] // 2
    part = static[:, :cut] if is_last else static[:, cut:]
    to_moving = shifted_by([0, 0 if is_last else -cut, 0][: len(shape)])
    unseen = find_unseen(part, static, to_moving)
    columns = np.arange(shape[1]) >= cut
    expected = np.moveaxis(np.zeros(shape, bool), 1, -1) | (columns == is_last)
    npt.assert_array_equal(unseen, np.moveaxis(expected, -1, 1))


def test_a_view_that_covers_the_grid_or_an_object_in_a_tight_box_changes_nothing():
    static = ball((24, 21, 22))
    assert find_unseen(static, static, np.eye(4)) is None
    assert find_unseen(static[:14], static[:14], np.eye(4)) is None
    low, high = (f(np.argwhere(static[..., 0]), axis=0) for f in (np.min, np.max))
    tight = static[tuple(slice(a, b + 1) for a, b in zip(low, high))]
    # The object of the grid is larger and reaches out of the box on all sides.
    larger = ball((24, 21, 22), radius=0.48)
    assert find_unseen(tight, larger, shifted_by(-low)) is None


def test_only_background_beyond_a_cut_face_does_not_matter():
    static = ball((24, 20))
    half = static[:12]
    static[12:] = 0
    assert find_unseen(half, static, np.eye(3)) is None
    static[20:22, 8:12] = 1
    assert find_unseen(half, static, np.eye(3)).sum() == 12 * 20


def test_the_border_is_continued():
    moving = np.arange(12.0).reshape(4, 3, 1)
    image = np.zeros((6, 3, 1))
    image[1:5] = moving
    unseen = np.zeros((6, 3), bool)
    unseen[5] = True
    result = continue_border(image, unseen, moving, shifted_by([-1, 0]))
    npt.assert_array_equal(result[5, :, 0], [9, 10, 11])
    npt.assert_array_equal(result[:5], image[:5])
    assert not image[5].any()


@pytest.mark.parametrize("as_slice", [False, True])
def test_a_frame_masks_what_has_not_been_seen(as_slice):
    static = np.repeat(np.repeat(ball((12, 11))[..., 0], 2, 0), 2, 1)
    static += 0.1 * static * np.indices(static.shape)[0]
    moving, affine = static[:13], np.eye(3)
    if as_slice:
        moving, static, affine = moving[..., None], static[..., None], np.eye(4)
    options = {"ndim": 2, "num_channels": 1}
    options |= {"moving_affine": affine, "static_affine": affine}
    frame = Frame(moving, static, **options)
    pair = frame.read(masked=True)
    npt.assert_array_equal(pair.annotations.moving_mask[:13], True)
    npt.assert_array_equal(pair.annotations.moving_mask[13:], False)
    assert (pair.moving[13:] == pair.moving[12]).all()
    assert frame.read().annotations.moving_mask is None
    whole = Frame(static, static, **options).read(masked=True)
    assert whole.annotations.as_dict() == {}
