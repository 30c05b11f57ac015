"""Field of view: faces that are cut, what lies beyond, and how the border goes on."""

import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from dipy_nn_reg import register
from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.data.phantoms import make_phantoms
from dipy_nn_reg.mapping.frame import Frame
from dipy_nn_reg.mapping.maps import (
    displacement_to_mapping,
    mapping_to_displacement,
)
from dipy_nn_reg.mapping.view import (
    continue_border,
    find_unseen,
    limit_to_views,
    shown_part,
    view_of,
)
from dipy_nn_reg.quality.applied import apply_map


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


def textured(shape, rng):
    """Return a ball whose intensities vary, in a background of 0."""
    texture = gaussian_filter(rng.normal(size=shape), 2)
    return ball(shape) * (1 + 2 * texture / np.abs(texture).max())[..., None]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("is_last", [False, True])
def test_an_image_that_was_cut_and_padded_shows_what_was_not_cut(axis, is_last, rng):
    image = np.moveaxis(textured((30, 33, 28), rng), 0, axis)
    cut = image.shape[axis] // 2 + 2
    padded = np.moveaxis(image.copy(), axis, 0)
    padded[slice(cut, None) if is_last else slice(cut)] = 0
    padded = np.moveaxis(padded, 0, axis)
    expected = [(-np.inf, np.inf)] * 3
    expected[axis] = (-np.inf, cut - 0.5) if is_last else (cut - 0.5, np.inf)
    npt.assert_array_equal(view_of(padded), expected)
    part = shown_part(padded)
    assert part[axis] == (slice(0, cut) if is_last else slice(cut, image.shape[axis]))
    unseen = np.moveaxis(find_unseen(padded, image, np.eye(4)), axis, 0)
    assert unseen[cut:].all() == is_last and unseen[:cut].any() != is_last
    border = continue_border(padded, np.moveaxis(unseen, 0, axis), padded, np.eye(4))
    border = np.moveaxis(border, axis, 0)
    last = border[cut - 1 if is_last else cut]
    npt.assert_array_equal(border[-1 if is_last else 0], last)


def test_objects_with_rounded_or_plain_faces_are_not_cut(rng):
    """Whatever their size: caps of small balls are large, and boxes are flat."""
    for radius in (0.1, 0.2, 0.3, 0.45):
        for shape in ((24, 21), (30, 31, 29)):
            assert np.all(np.isinf(view_of(ball(shape, radius))))
    box = np.zeros((20, 21, 22, 1))
    box[5:12, 4:16, 6:18] = 1 + 0.01 * rng.normal(size=(7, 12, 12, 1))
    assert np.all(np.isinf(view_of(box)))
    assert shown_part(box) == tuple(map(slice, [0] * 3, (20, 21, 22)))
    stroke = np.zeros((20, 21, 1))  # in 2D, nothing tells a stroke from a cut
    stroke[5, 4:16] = rng.uniform(0.5, 1, (12, 1))
    assert np.all(np.isinf(view_of(stroke)))


@pytest.mark.parametrize("shape", [(36, 40, 32), (18, 20, 16)])
def test_an_object_that_fades_is_not_cut(shape, rng):
    """The first plane that is not blank is wide and textured, as that of a cut."""
    image = gaussian_filter(rng.random(shape), 1.5)
    for axis, size in enumerate(shape):
        window = np.hanning(size) ** 0.3
        image = image * window.reshape([-1 if a == axis else 1 for a in range(3)])
    assert not image[0].any() and image[1].any()
    assert np.all(np.isinf(view_of(image[..., None] / image.max())))


@pytest.mark.parametrize(
    "padded", [pytest.param("moving", marks=pytest.mark.slow), "static"]
)
def test_a_field_is_found_in_a_padded_part_as_well_as_in_the_part_alone(
    padded, smooth_field
):
    (image,), _ = make_phantoms(1, shape=(40, 44, 38), seed=4)
    field = smooth_field(image.shape, sigma=6, largest=2.5)
    voxels = np.moveaxis(np.indices(image.shape), 0, -1)
    static = map_coordinates(image, np.moveaxis(voxels + field, -1, 0), order=1)
    images = {"moving": image, "static": static}
    part = np.where(voxels[..., 2] < 22, images[padded], 0)
    errors = []
    for one in (part, part[..., :22]):
        pair = {**images, padded: one}
        mapping, _ = register(**pair, prealign=None, level_iters=[20, 20])
        found = mapping_to_displacement(mapping)[0][..., :17, :]
        error = np.linalg.norm(found - field[..., :17, :], axis=-1)
        errors.append(error[static[..., :17] > 0.1].mean())
    assert errors[0] < 1.1 * errors[1]


def test_masks_of_the_user_do_not_count_what_is_not_shown(rng):
    image = textured((30, 33, 28), rng)
    part = np.where(np.arange(28)[:, None] < 16, image, 0)
    ones = np.ones(image.shape[:-1], np.uint8)
    for moving, static, name in ((part, image, "moving_mask"), (image, part, "mask")):
        masks = Annotations(mask=ones, moving_mask=ones)
        *_, found = limit_to_views(moving, static, moving, np.eye(4), masks)
        mask = getattr(found, name)
        assert mask[..., :16].all() and not mask[..., 16:].any()
        assert sum(np.all(m) for m in found.as_dict().values()) == 1


def test_what_a_padded_image_does_not_show_is_not_covered(rng):
    image = textured((30, 33, 28), rng)[..., 0]
    part = np.where(np.arange(28) < 16, image, 0)
    still = displacement_to_mapping(np.zeros((*image.shape, 3)))
    covered = apply_map(still, part, image).covered
    assert covered[..., :16].all() and not covered[..., 16:].any()
    assert apply_map(still, image, part).covered.all()
