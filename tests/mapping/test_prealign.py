import numpy as np
import pytest
from scipy.linalg import expm
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.data.phantoms import make_phantoms
from dipy_nn_reg.mapping.affines import grid_points
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.prealign import check_prealign, estimate_prealign
from dipy_nn_reg.mapping.resampling import resample, to_moving


@pytest.mark.parametrize("kind", ["rigid", "affine"])
@pytest.mark.parametrize("shape", [(40, 36), (24, 22, 20), (40, 36, 1)])
def test_a_known_affine_is_found(kind, shape, rng):
    """The images show smooth noise in a ball; the affine makes the static image."""
    ndim = 2 if shape[-1] == 1 else len(shape)
    size = len(shape) + 1
    static_affine = np.diag([1.5, -1.2, 1.4, 1][: size - 1] + [1.0])
    static_affine[:-1, -1] = -static_affine[:-1, :-1] @ ((np.array(shape) - 1) / 2)
    # Both images cover the same box around the origin of the world.
    turn = np.zeros((size - 1, size - 1))
    turn[0, 1], turn[1, 0] = 0.12, -0.12
    truth = np.eye(size)
    truth[:-1, :-1] = expm(turn)
    if kind == "affine":
        truth[0, 0] *= 1.06
    truth[:2, -1] = 2.0, -1.5
    moving = gaussian_filter(rng.random(shape), [2] * ndim + [0] * (size - 1 - ndim))
    moving = (moving - moving.min()) / np.ptp(moving)
    grid = np.moveaxis(np.indices(shape), 0, -1) - (np.array(shape) - 1) / 2
    radius = np.linalg.norm(grid[..., :ndim], axis=-1)
    moving = moving * (radius < 0.35 * min(shape[:ndim]))
    static = resample(
        moving,
        static_affine,
        lambda points: to_moving(points, [truth]),
        Grid(shape, static_affine),
    )
    found = estimate_prealign(
        moving,
        static,
        moving_affine=static_affine,
        static_affine=static_affine,
        kind=kind,
    )
    points = grid_points(shape, static_affine)
    points = points[static.ravel() > 0]
    error = to_moving(points, [found]) - to_moving(points, [truth])
    assert np.linalg.norm(error, axis=1).mean() < 0.5  # a third of a voxel


AFFINE = np.diag([2.0, 2, 2, 1])
SHIFT = np.array([8.0, -6, 4])  # mm


def shifted_heads():
    """Return two heads, and the affine from the static to the moving one."""
    (image,), _ = make_phantoms(1, shape=(40, 40, 40), seed=0)
    image = np.pad(image[6:-6, 6:-6, 6:-6], 6)
    truth = np.eye(4)
    truth[:3, 3] = SHIFT
    grid = Grid(image.shape, AFFINE)
    static = resample(image, AFFINE, lambda x: to_moving(x, [truth]), grid)
    return image, static, truth


def zero_mean_inside(image):
    inside = image > 0.05
    return np.where(inside, (image - image[inside].mean()) / image[inside].std(), 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: (image - image.mean()) / image.std(),
        lambda image: ((image - image.mean()) / image.std()).astype(np.float64),
        zero_mean_inside,
        lambda image: 1000 * image - 1000,
        lambda image: 255 - 200 * image,
        lambda image: 1e-12 * image,
        lambda image: 1e9 + 1000 * image.astype(np.float64),
    ],
    ids="plain whole float64 inside ct white small offset".split(),
)
def test_images_of_any_range_and_mean_are_aligned(change):
    moving, static, truth = shifted_heads()
    found = estimate_prealign(
        change(moving), change(static), moving_affine=AFFINE, static_affine=AFFINE
    )
    points = grid_points(static.shape, AFFINE)[static.ravel() > 0.2]
    error = to_moving(points, [found]) - to_moving(points, [truth])
    assert np.linalg.norm(error, axis=1).mean() < 0.2


def test_the_alignment_of_a_part_is_no_worse_than_its_header():
    """The centre of mass of a corner of a head is not that of the head."""
    moving, _, _ = shifted_heads()
    static = moving[:20, :20, :20]
    shifted = AFFINE.copy()
    shifted[:3, 3] = [2.0, -2.0, 2.0]
    found = estimate_prealign(
        moving, static, moving_affine=shifted, static_affine=AFFINE, kind="rigid"
    )
    points = grid_points(static.shape, AFFINE)[static.ravel() > 0.2]
    error = to_moving(points, [found]) - (points + shifted[:3, 3])
    assert np.linalg.norm(error, axis=1).mean() <= np.linalg.norm(shifted[:3, 3])


@pytest.mark.parametrize("prealign", ["syn", np.eye(3), np.zeros((4, 4))])
def test_invalid_alignments_are_refused(prealign):
    with pytest.raises(ValueError, match="Expected prealign"):
        check_prealign(prealign, ndim=3)
