import os
import subprocess
import sys

from nibabel.affines import apply_affine
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation
from scipy.stats import special_ortho_group

from dipy_nn_reg.data.phantoms import make_phantoms
from dipy_nn_reg.mapping.affines import grid_points
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.points import to_moving
from dipy_nn_reg.mapping.prealign import (
    check_prealign,
    estimate_prealign,
    rate_affine,
)
from dipy_nn_reg.mapping.resampling import resample

slow = pytest.mark.slow


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
    ).affine
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


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        pytest.param(lambda i: (i - i.mean()) / i.std(), marks=slow),
        pytest.param(lambda i: (i - i.mean()).astype(np.float64), marks=slow),
        zero_mean_inside,
        lambda image: 1000 * image - 1000,
        pytest.param(lambda image: 255 - 200 * image, marks=slow),
        pytest.param(lambda image: 1e-12 * image, marks=slow),
        pytest.param(lambda i: 1e9 + 1000 * i.astype(np.float64), marks=slow),
    ],
    ids="plain whole float64 inside ct white small offset".split(),
)
def test_images_of_any_range_and_mean_are_aligned(change):
    moving, static, truth = shifted_heads()
    found = estimate_prealign(
        change(moving), change(static), moving_affine=AFFINE, static_affine=AFFINE
    ).affine
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
    ).affine
    points = grid_points(static.shape, AFFINE)[static.ravel() > 0.2]
    error = to_moving(points, [found]) - (points + shifted[:3, 3])
    assert np.linalg.norm(error, axis=1).mean() <= np.linalg.norm(shifted[:3, 3])


def turned_phantoms(seed, ndim):
    """Return an image, its affine, and one by which another image of it is turned."""
    shape = (52, 44, 48)[:ndim]
    (image,), _ = make_phantoms(1, shape=shape, seed=seed)
    rng = np.random.default_rng(seed)
    turn = np.eye(ndim + 1)
    turn[:-1, :-1] = special_ortho_group(ndim, seed=rng).rvs()
    turn[:-1, -1] = rng.uniform(-100, 100, ndim)
    return image, np.diag([*[2.0] * ndim, 1.0]), turn


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=slow) for n in (1, 2))])
@pytest.mark.parametrize("kind", ["auto", "rigid", "similarity", "affine"])
def test_images_are_aligned_however_they_are_turned(seed, ndim, kind):
    """The header turns and shifts one of two images that are equal otherwise."""
    image, affine, turn = turned_phantoms(seed, ndim)
    alignment = estimate_prealign(
        image, image, moving_affine=turn @ affine, static_affine=affine, kind=kind
    )
    points = grid_points(image.shape, affine)[image.ravel() > 0.2]
    error = apply_affine(alignment.affine, points) - apply_affine(turn, points)
    assert np.linalg.norm(error, axis=1).max() < 0.5  # a quarter of a voxel
    assert alignment.kind == ("rigid" if kind == "auto" else kind)


def test_images_of_different_contrast_are_aligned_however_they_are_turned():
    image, affine, turn = turned_phantoms(5, 3)
    other = np.where(image > 0.1, 1.2 - image**2, 0)
    alignment = estimate_prealign(
        other, image, moving_affine=turn @ affine, static_affine=affine
    )
    points = grid_points(image.shape, affine)[image.ravel() > 0.2]
    error = apply_affine(alignment.affine, points) - apply_affine(turn, points)
    assert np.linalg.norm(error, axis=1).max() < 1


@pytest.mark.parametrize("small", ["moving", "static"])
def test_the_half_of_an_image_is_aligned(small):
    """The header is 15 degrees and 10 mm off."""
    image, affine, turn = turned_phantoms(4, 3)
    turn[:3, :3] = Rotation.from_euler("y", 15, degrees=True).as_matrix()
    turn[:3, 3] = 6, -8, 0
    images = {"moving": image, "static": image}
    images[small] = image[: image.shape[0] // 2]
    alignment = estimate_prealign(
        **images, moving_affine=turn @ affine, static_affine=affine
    )
    points = grid_points(image.shape, affine)[image.ravel() > 0.2]
    error = apply_affine(alignment.affine, points) - apply_affine(turn, points)
    assert np.linalg.norm(error, axis=1).mean() < 0.1
    assert alignment.kind == "rigid"


def test_images_that_are_aligned_stay_as_they_are():
    image, affine, _ = turned_phantoms(6, 3)
    noise = np.random.default_rng(0).normal(size=image.shape)
    alignment = estimate_prealign(
        image + 0.02 * noise, image, moving_affine=affine, static_affine=affine
    )
    np.testing.assert_array_equal(alignment.affine, np.eye(4))
    assert alignment.kind == "none" and alignment.runner_up < 0.9


@pytest.mark.parametrize("ndim", [2, 3])
def test_images_of_much_noise_are_not_moved_off_their_voxels(ndim, rng):
    """Between voxels, interpolation averages the noise, which raises the information.

    For that reason, samples at voxels alone would move by almost half a voxel.
    """
    image, affine, _ = turned_phantoms(6, ndim)
    moving, static = (image + 0.1 * rng.normal(size=image.shape) for _ in range(2))
    found = estimate_prealign(
        moving, static, moving_affine=affine, static_affine=affine, kind="rigid"
    ).affine
    points = grid_points(image.shape, affine)[image.ravel() > 0.2]
    error = apply_affine(found, points) - points
    assert np.linalg.norm(error, axis=1).mean() < 0.2  # a tenth of a voxel


def test_a_symmetric_object_is_not_turned():
    """Turned by a multiple of 90 degrees, the square fits as well."""
    image = np.zeros((40, 40))
    image[12:28, 12:28] = 1
    moving = np.roll(image, (3, -2), (0, 1))
    alignment = estimate_prealign(
        moving, image, moving_affine=np.eye(3), static_affine=np.eye(3), kind="rigid"
    )
    np.testing.assert_allclose(alignment.affine[:2, :2], np.eye(2), atol=0.02)
    np.testing.assert_allclose(alignment.affine[:2, 2], [3, -2], atol=0.5)


@pytest.mark.parametrize("masked", ["moving", "static"])
def test_what_lies_outside_a_mask_does_not_count(masked):
    """A bright bar, as large as the object, lies elsewhere in one of the images."""
    image, affine, _ = turned_phantoms(7, 2)
    image = np.pad(image, 30)
    spoilt, mask = image.copy(), np.ones(image.shape)
    spoilt[:25] = 3
    mask[:28] = 0
    shift = np.eye(3)
    shift[:2, 2] = 8, -6
    images = {"moving": image, "static": image, masked: spoilt}
    alignment = estimate_prealign(
        images["moving"],
        images["static"],
        moving_affine=shift @ affine,
        static_affine=affine,
        kind="rigid",
        **{"mask" if masked == "static" else "moving_mask": mask},
    )
    np.testing.assert_allclose(alignment.affine, shift, atol=0.5)


@pytest.mark.parametrize(
    ("scales", "kind"),
    [((1, 1), "rigid"), ((1.15, 1.15), "similarity"), ((1.2, 0.95), "affine")],
)
def test_the_kind_of_fewest_parameters_is_chosen(scales, kind):
    image, affine, _ = turned_phantoms(8, 2)
    moved = np.diag([*scales, 1.0])
    moved[:2, 2] = 9, -7
    alignment = estimate_prealign(
        image, image, moving_affine=moved @ affine, static_affine=affine
    )
    assert alignment.kind == kind
    np.testing.assert_allclose(alignment.affine[:2, :2], moved[:2, :2], atol=0.02)


def test_an_implausible_affine_is_not_chosen():
    """One image is stretched by more than two people differ."""
    image, affine, _ = turned_phantoms(8, 2)
    stretch = np.diag([1.5, 1, 1])
    grids = {"moving_affine": stretch @ affine, "static_affine": affine}
    assert estimate_prealign(image, image, **grids).kind != "affine"
    found = estimate_prealign(image, image, **grids, kind="affine").affine
    np.testing.assert_allclose(found[:2, :2], stretch[:2, :2], atol=0.03)


def test_the_runner_up_is_another_alignment_than_the_one_that_is_kept():
    """Kept by the headers, it is rated as any affine is; a wrong one is worse."""
    image, affine, _ = turned_phantoms(3, 2)
    rating = rate_affine(
        image, image, np.eye(3), moving_affine=affine, static_affine=affine
    )
    alignment = estimate_prealign(
        image, image, moving_affine=affine, static_affine=affine
    )
    assert alignment.kind == "none"
    ratio = rating.rival / rating.information
    assert alignment.runner_up == pytest.approx(ratio)
    turn = np.diag([-1.0, -1, 1])
    turn[:2, 2] = apply_affine(affine, np.array(image.shape) - 1)
    wrong = rate_affine(image, image, turn, moving_affine=affine, static_affine=affine)
    assert wrong.rival > 1.2 * wrong.information


def test_the_alignment_is_told_in_one_line():
    image, affine, turn = turned_phantoms(2, 3)
    alignment = estimate_prealign(
        image, image, moving_affine=turn @ affine, static_affine=affine
    )
    angle = np.degrees(Rotation.from_matrix(turn[:3, :3]).magnitude())
    assert "rigid" in str(alignment) and "\n" not in str(alignment)
    assert f"turned by {angle:.1f} degrees" in str(alignment)
    assert f"of {alignment.starts} starts" in str(alignment)


@pytest.mark.parametrize("prealign", ["syn", np.eye(3), np.zeros((4, 4))])
def test_invalid_alignments_are_refused(prealign):
    with pytest.raises(ValueError, match="Expected prealign"):
        check_prealign(prealign, ndim=3)


@pytest.mark.parametrize("shape", [(40, 36), (36, 40, 34)])
def test_a_mask_of_few_voxels_aligns_nothing(shape, dipy_log):
    (moving, static), _ = make_phantoms(2, shape=shape, seed=1)
    mask = np.zeros(shape, bool)
    mask[tuple(slice(n // 2, n // 2 + 4) for n in shape)] = True
    ndim = len(shape)
    affines = {"moving_affine": np.eye(ndim + 1), "static_affine": np.eye(ndim + 1)}
    found = estimate_prealign(moving, static, **affines, kind="auto", mask=mask)
    assert found.kind == "none"
    np.testing.assert_array_equal(found.affine, np.eye(ndim + 1))
    assert "too few" in dipy_log.text
    dipy_log.clear()  # a kind that was asked for is estimated without a warning
    estimate_prealign(moving, static, **affines, kind="rigid", mask=mask)
    assert "too few" not in dipy_log.text


# The second alignment begins during the first one, and ends after it.
TWO_ALIGNMENTS = """
from threading import Event, Thread
from time import sleep
import numpy as np
from threadpoolctl import threadpool_info
from dipy_nn_reg.mapping.prealign import estimate as module, estimate_prealign

def threads():
    return [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]

def slowly(*arguments):
    begun.set()
    sleep(next(waits))
    return align(*arguments)

x, y = np.indices((28, 26))
image = np.exp(-((x - 11) ** 2 / 20 + (y - 12) ** 2 / 40))
images = image, image[::-1]
begun, waits, align = Event(), iter((0.3, 0.9)), module._align
module._align = slowly
affines = {"moving_affine": np.eye(3), "static_affine": np.eye(3)}
run = lambda: estimate_prealign(*images, **affines)
before, first, second = threads(), Thread(target=run), Thread(target=run)
first.start()
begun.wait()
second.start()
first.join()
second.join()
assert threads() == before, (before, threads())
"""


def test_alignments_in_threads_leave_the_threads_of_blas_as_they_were():
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", TWO_ALIGNMENTS]
    subprocess.run(command, check=True, env=environment)
