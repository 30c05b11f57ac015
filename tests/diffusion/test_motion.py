import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from dipy_nn_reg.data.distortions import distort
from dipy_nn_reg.diffusion.correction import correct_distortion
from dipy_nn_reg.diffusion.distortion import (
    estimate_distortion,
    estimate_distortion_and_motion,
)


def rigid(shape, degrees, shift, sizes):
    """Return a rotation about the centre, and a shift, from voxels to voxels."""
    ndim = len(shape)
    turn = Rotation.from_rotvec(np.radians(degrees) * np.array([0.5, -0.5, 0.707]))
    if ndim == 2:
        turn = Rotation.from_rotvec([0, 0, np.radians(degrees)])
    motion, scale = np.eye(ndim + 1), np.diag(sizes)
    linear = np.linalg.inv(scale) @ turn.as_matrix()[:ndim, :ndim] @ scale
    center = (np.array(shape) - 1) / 2
    motion[:-1, :-1], motion[:-1, -1] = linear, center - linear @ center + shift
    return motion


def moved(image, motion, **options):
    """Return an image of what ``motion`` moves: voxel ``x`` comes to ``motion @ x``."""
    back = np.linalg.inv(motion)
    return affine_transform(image, back[:-1, :-1], back[:-1, -1], **options)


@pytest.fixture
def make_moved(make_distorted):
    """Return a maker of a pair, whose second image shows a head that moved."""

    def make(shape, axis, motion):
        still = make_distorted(shape, axis=axis, seed=2)
        image = np.maximum(moved(still.image, motion, order=3), 0)
        field = moved(still.field, motion, order=1, mode="nearest")
        return still._replace(down=distort(image, field, axis=axis, sign=-1))

    return make


@pytest.mark.parametrize(
    ("shape", "axis", "sizes", "shift"),
    [
        ((64, 64), 1, (1, 1), (1.5, 0)),
        ((48, 56), 0, (1, 1.2), (0, -1.5)),
        ((32, 40, 28), 1, (1, 1, 1.4), (1.2, 0, -0.8)),
    ],
)
def test_a_known_motion_is_found_beside_the_field(
    shape, axis, sizes, shift, make_moved
):
    motion = rigid(shape, 2, shift, sizes)
    pair = make_moved(shape, axis, motion)
    field, found = estimate_distortion_and_motion(
        pair.up, pair.down, axis=axis, voxel_sizes=sizes
    )
    # Rigid where voxels have their size.
    linear = np.diag(sizes) @ found[:-1, :-1] @ np.diag(1 / np.array(sizes))
    npt.assert_allclose(linear @ linear.T, np.eye(len(shape)), atol=1e-6)
    middle = np.append((np.array(shape) - 1) / 2, 1)
    across = np.arange(len(shape)) != axis
    npt.assert_allclose(
        (found @ middle)[:-1][across], (motion @ middle)[:-1][across], atol=0.15
    )
    errors = np.abs(field - pair.field)[pair.inside]
    without = estimate_distortion(pair.up, pair.down, axis=axis)
    before = np.abs(without - pair.field)[pair.inside]
    assert errors.mean() < 0.1
    assert errors.mean() < 0.5 * before.mean()

    first = correct_distortion(pair.up, field, axis=axis)
    second = correct_distortion(pair.down, field, axis=axis, sign=-1, motion=found)
    left = np.abs(first - second)[pair.inside].mean()
    assert left < 0.1 * np.abs(pair.up - pair.down)[pair.inside].mean()


@pytest.mark.parametrize(("shape", "axis"), [((48, 40), 0), ((24, 32, 28), 2)])
def test_no_motion_is_found_where_there_is_none(shape, axis, make_distorted):
    pair = make_distorted(shape, axis=axis, seed=2, largest=3.0)
    field, motion = estimate_distortion_and_motion(pair.up, pair.down, axis=axis)
    middle = np.append((np.array(shape) - 1) / 2, 1)
    npt.assert_allclose(motion @ middle, middle, atol=0.1)
    angle = np.arccos(np.clip((np.trace(motion[:2, :2])) / 2, -1, 1))
    assert np.degrees(angle) < 1
    assert np.abs(field - pair.field)[pair.inside].mean() < 0.1


@pytest.mark.parametrize("axis", [0, 1])
def test_a_shift_along_the_axis_is_left_to_the_field(axis):
    image = np.zeros((40, 36), np.float32)
    image[12:26, 12:24] = np.random.default_rng(0).random((14, 12)) + 1
    up, down = (np.roll(image, shift, axis) for shift in (1, -1))
    field, motion = estimate_distortion_and_motion(up, down, axis=axis, smoothness=10)
    npt.assert_allclose(field[14:24, 14:22], 1, atol=0.1)
    npt.assert_allclose(motion, np.eye(3), atol=0.05)


def test_empty_images_do_not_move():
    empty = np.zeros((20, 20))
    field, motion = estimate_distortion_and_motion(empty, empty, axis=0)
    npt.assert_array_equal(field, 0)
    npt.assert_array_equal(motion, np.eye(3))


@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 0), (1, np.nan), 1.0])
def test_invalid_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match="Expected"):
        estimate_distortion_and_motion(
            np.ones((20, 20)), np.ones((20, 20)), axis=0, voxel_sizes=sizes
        )


def test_the_motion_of_a_slice_stays_in_its_plane(make_distorted):
    pair = make_distorted((48, 40), axis=1, seed=2)
    up, down = pair.up[..., None], np.roll(pair.down, 2, 0)[..., None]
    field, motion = estimate_distortion_and_motion(up, down, axis=1)
    assert np.abs(field[..., 0] - pair.field)[pair.inside].mean() < 0.1
    npt.assert_allclose(motion[2], [0, 0, 1, 0], atol=1e-6)
    npt.assert_allclose((motion @ [23.5, 19.5, 0, 1])[0], 25.5, atol=0.1)
